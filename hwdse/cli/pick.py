"""``hwdse pick``: one of a run's measured points, and why; from records alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwdse.allocation_files import allocation_file, allocation_path, replaceable
from hwdse.errors import UsageError
from hwdse.records import SweepRecord, TrialResult, learnt_nothing
from hwdse.reports import Pick, pick
from hwdse.reports.confidence import Sure
from hwdse.reports.limits import relative
from hwdse.storage import write

from .export import export, show
from .opened import open_run
from .show import print_json, print_table, print_text


@dataclass(frozen=True)
class Wanted:
    """What someone who picks has written."""

    maxima: list[str] = field(default_factory=list)
    minima: list[str] = field(default_factory=list)
    sure: list[str] = field(default_factory=list)
    confidence: str | None = None
    knee: str | None = None
    lexicographic: str | None = None
    tolerance: str | None = None

    def nothing(self, option: str, output: Path | None, handed: Path | None) -> None:
        """Raises UsageError where anything was asked of measured points beside ``option``, which is of points that were not measured."""
        given = {
            "--max": self.maxima, "--min": self.minima, "--sure": self.sure, "--confidence": self.confidence, "--knee": self.knee,
            "--lexicographic": self.lexicographic, "--tolerance": self.tolerance, "--output": output, "--export": handed,
        }  # fmt: skip
        named = [name for name, value in given.items() if value]
        if named:
            raise UsageError(f"{option} is of a budget that was not measured; {', '.join(named)} of what was: give one or the other.")

    def of(self, record: SweepRecord) -> Pick:
        """The pick."""
        order = [] if self.lexicographic is None else [name.strip() for name in self.lexicographic.split(",")]
        return pick(
            record, self.maxima, self.minima, sure=self.sure, confidence=self.confidence, knee_of=self.knee, order=order,
            tolerance=self.tolerance,
        )  # fmt: skip


def run(folder: Path, wanted: Wanted, output: Path | None, handed: Path | None, onnx: bool, trust: bool, json: bool) -> None:
    """Prints the pick, its neighbours and its widths."""
    record = open_run(folder, tables=handed is not None or any(map(relative, wanted.maxima)))
    found = wanted.of(record)
    source = allocation_path(folder, found.trial)
    content = b"" if found.trial.allocation is None and output is None else allocation_file(folder, found.trial)[0]
    if output is not None:
        replaceable(output)
    about = None if handed is None else export(record, folder, found.trial.number, handed, onnx, trust, json)
    if output is not None:
        write(output, content)
    if json:
        print_json(_plain(record, found, folder, source) | ({} if about is None else {"export": {"folder": str(handed), **about}}))
        return
    print_text(found.explanation)
    doubt = learnt_nothing(record.score, record.reference)
    if doubt:
        print_text(f"Beware: {doubt}.", style="bold")
    print_text()
    trials = [("pick", found.trial), ("next cheaper", found.cheaper), ("next better", found.better), ("runner-up inside", found.runner_up)]
    used = {x.metric for x in found.limits} | {found.cost}
    metrics = [m for m in record.costs if m.on in (None, found.trial.knobs.get("accelerator")) or m in used]
    print_table(
        ["", "trial", record.score.name, *(m.key for m in metrics), "allocator "],
        [_row(record, name, t, [m.key for m in metrics]) for name, t in trials if t is not None],
    )
    if found.trial.allocation is not None:
        print_text()
        print_table(["layer", "widths"], [[name, str(widths)] for name, widths in found.trial.allocation.items()])
    print_text()
    if source.exists():
        print_text(f"Allocation: {source}" + (f", copied to {output}" if output else ""))
    else:
        print_text(
            f"Allocation: {f'{output}, made' if output else 'the widths above,'} from the record; the run folder has no {source.name}."
        )
    if about is not None and handed is not None:
        print_text()
        show(about, handed)


def _plain(record: SweepRecord, found: Pick, folder: Path, source: Path) -> dict[str, Any]:
    checkpoint = folder / "checkpoints" / f"{found.trial.number}.pt"
    others = {"cheaper": found.cheaper, "better": found.better, "runner_up": found.runner_up}
    return {
        "trial": found.trial.to_dict(),
        **{name: None if t is None else t.to_dict() for name, t in others.items()},
        "rule": found.rule,
        "warning": learnt_nothing(record.score, record.reference) or None,
        "limits": [
            {"metric": x.metric.key, "limit": x.value, "upper": x.upper, "found": x.found(found.trial)}
            | ({"confidence": x.confidence} if isinstance(x, Sure) else {})
            for x in found.limits
        ],
        "inside": found.inside,
        "measured": found.measured,
        "explanation": found.explanation,
        "allocation": str(source) if source.exists() else None,
        "checkpoint": str(checkpoint) if checkpoint.exists() else None,
    }


def _row(record: SweepRecord, name: str, trial: TrialResult, keys: list[str]) -> list[str]:
    costs = [record.metric(key).format(trial.measures[key]) if key in trial.measures else "" for key in keys]
    return [name, str(trial.number), record.score.format(trial.measures[record.score.key]), *costs, str(trial.knobs.get("allocator", ""))]
