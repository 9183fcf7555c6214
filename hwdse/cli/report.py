"""``hwdse report`` and ``hwdse pick``: from records alone."""

from __future__ import annotations

from pathlib import Path

from hwdse.records import SweepRecord, TrialResult
from hwdse.reports import pick, write_report
from hwdse.storage import StorageError, write

from .show import print_json, print_table, print_text, telling


def run(folder: Path, formats: tuple[str, ...], json: bool) -> None:
    """Writes the report."""
    with telling(json) as say:
        say("report", 0, 1)
        page = write_report(folder, formats=formats)
    if json:
        files = {"report": page, "figures": folder / "figures", "trials": folder / "trials.csv", "front": folder / "front.csv"}
        print_json({name: str(path) for name, path in files.items()})
        return
    print_text(f"Wrote {page}, {folder / 'figures'}, {folder / 'trials.csv'}, {folder / 'front.csv'}")


def run_pick(folder: Path, maxima: list[str], minima: list[str], output: Path | None, json: bool) -> None:
    """Prints the pick, its neighbours and its widths."""
    record = SweepRecord.load(folder)
    found = pick(record, maxima, minima)
    source = folder / "allocations" / f"{found.trial.number}.json"
    if output is not None:
        try:
            write(output, source.read_bytes())
        except FileNotFoundError:
            raise StorageError(f"the run has no {source}; it was deleted, or the run is from another machine.") from None
    if json:
        others = {"cheaper": found.cheaper, "better": found.better, "runner_up": found.runner_up}
        print_json(
            {
                "trial": found.trial.to_dict(),
                **{name: None if t is None else t.to_dict() for name, t in others.items()},
                "inside": found.inside,
                "measured": found.measured,
                "explanation": found.explanation,
                "allocation": str(source),
                "checkpoint": str(folder / "checkpoints" / f"{found.trial.number}.pt"),
            }
        )
        return
    print_text(found.explanation)
    print_text()
    trials = [("pick", found.trial), ("next cheaper", found.cheaper), ("next better", found.better), ("runner-up inside", found.runner_up)]
    metrics = [m for m in record.costs if m.on in (None, found.trial.knobs.get("accelerator")) or any(x.metric == m for x in found.limits)]
    print_table(
        ["", "trial", record.score.name, *(m.key for m in metrics), "allocator "],
        [_row(record, name, t, [m.key for m in metrics]) for name, t in trials if t is not None],
    )
    if found.trial.allocation is not None:
        print_text()
        print_table(["layer", "widths"], [[name, str(widths)] for name, widths in found.trial.allocation.items()])
    print_text()
    print_text(f"Allocation: {source}" + (f", copied to {output}" if output else ""))


def _row(record: SweepRecord, name: str, trial: TrialResult, keys: list[str]) -> list[str]:
    costs = [record.metric(key).format(trial.measures[key]) if key in trial.measures else "" for key in keys]
    return [name, str(trial.number), record.score.format(trial.measures[record.score.key]), *costs, str(trial.knobs.get("allocator", ""))]
