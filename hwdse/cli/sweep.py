"""``hwdse sweep``: runs or goes on with a sweep, shows where it stands, and closes with what it found."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from hwdse.allocators import make_allocator
from hwdse.errors import UsageError
from hwdse.interrupts import last_words
from hwdse.records import SweepRecord, learnt_nothing
from hwdse.reports import write_report
from hwdse.reports.budgets import budget_results
from hwdse.reports.commands import quoted
from hwdse.reports.points import measured, scored
from hwdse.reports.wording import count
from hwdse.sweeps import Place, SweepConfig, run_sweep
from hwdse.sweeps.recording import SEVERAL

from .opened import told
from .setup import note
from .show import out, print_json, print_table, print_text, seconds, telling
from .watching import watching
from .worker import bench_of, check_engine, make_team


def run(
    file: Path | None,
    values: dict[str, Any],
    output: Path | None,
    report: bool,
    json: bool,
    workers: int = 1,
    storage: str | None = None,
    study: str | None = None,
    engine: str = "local",
    gpus: float | None = None,
) -> None:
    """Runs it: in this process, or with several workers of its own; none: it watches those that others start."""
    if file is None and ("task" not in values or "budgets" not in values):
        raise UsageError(
            'give a sweep file, or at least --task and --budget: hwdse sweep --task digits -a npu -b "latency <= 60% of w8a8" --trials 40'
        )
    check_engine(engine, gpus)
    if "budgets" in values:
        values["budgets"] = [[text] for text in values["budgets"]]
    config = SweepConfig.load(file, **values) if file is not None else SweepConfig.make("command line", **values)
    for name in config.allocators:
        make_allocator(name)  # an unknown name is said now, not by every trial
    folder = output or Path("runs") / (file.stem if file is not None else config.task.rpartition(":")[2].lower())
    began = time.perf_counter()
    with telling(json) as say:
        bench = bench_of(config, say)
    place = Place(folder, storage, study or (folder.name if storage else "sweep"))
    alone = workers == 1 and (engine, gpus) == ("local", None)
    team = None if alone else make_team(place, config.device, workers, bench, engine, gpus)
    if team is not None:
        note(f"several workers: {SEVERAL}. One worker gives the same again.")
    with watching(json) as watch, last_words(lambda: team.kill() if team else None):
        record = run_sweep(bench, config, folder, watch, place=place, team=team, note=note)
    told(record)
    if report:
        with telling(json) as say:
            say("report", 0, 1)
            write_report(folder, record=record)
    if json:
        print_json(_summary(record, folder))
    else:
        _print(record, folder, time.perf_counter() - began, report)


def _summary(record: SweepRecord, folder: Path) -> dict[str, Any]:
    return {
        "run": str(folder),
        "task": record.task,
        "fp32": dict(record.reference),
        "warning": learnt_nothing(record.score, record.reference) or None,
        "trials": len(record.trials),
        "failed": sum(t.state == "failed" for t in record.trials),
        "best": [
            {"budget": list(result.texts), "inside": result.inside, "trial": None if result.best is None else result.best.number}
            for result in budget_results(record)
        ],
    }


def _print(record: SweepRecord, folder: Path, spent: float, report: bool) -> None:
    by_number, score = {t.number: t for t in record.trials}, record.score
    rows, example = [], None
    for result in budget_results(record):
        if result.best is None:
            rows.append([result.name, "nothing measured inside", "", "", "", ""])
            continue
        best = by_number[result.best.number]
        example = example or next(iter(result.limits or ()), None)
        rows.append(
            [
                result.name,
                score.format(best.measures[score.key]),
                score.format(best.test) if best.test is not None else "",
                ", ".join(limit.metric.format(best.measures[limit.metric.key]) for limit in result.limits or ()),
                f"{best.knobs['allocator']}, {best.knobs['epochs']} epochs"
                if best.knobs["epochs"]
                else f"{best.knobs['allocator']}, post-training",
                str(best.number),
            ]
        )
    failed = [t for t in record.trials if t.state == "failed"]
    reference = f"{score.format(record.reference['validation'])} validation, {score.format(record.reference['test'])} test"
    print_text()
    print_table(
        ["budget", f"{score.name}\nvalidation", "\ntest", "cost", "allocator ", "trial"],
        rows,
        title=f"Best measured point inside each budget (FP32: {reference})",
    )
    doubt = learnt_nothing(score, record.reference)
    if doubt:
        print_text(f"Beware: {doubt}.", style="bold")
    wrong = f", {len(failed)} failed ({failed[0].error})" if failed else ""
    points = measured(record)
    known = len(scored(record)) - len(points)
    again = f", {known} more came to what another had measured" if known else ""
    lines = [
        f"{count(len(points), 'trial')} measured{again}, {seconds(spent)}{wrong}.",
        f"  report     {folder / 'report.html'}, {folder / 'figures'}" if report else "",
        f"  record     {folder / 'record.json'}, {folder / 'trials.csv'}, {folder / 'front.csv'}",
        f"  hand-off   {folder / 'allocations'}/N.json, {folder / 'checkpoints'}/N.pt",
        "Next: open the report; pick a point; or raise the number of trials and run the same command, which goes on from here.",
        f"  {quoted(['hwdse', 'pick', str(folder), '--max', f'{example.metric.key} = {example.metric.bound(example.value)}'])}"
        if example
        else "",
    ]
    print_text()
    for line in filter(None, lines):
        out.print(line, soft_wrap=True)  # paths and a command to copy: never broken
