"""``hwdse status``: where a run stands, from its files alone; it disturbs nothing and may be asked from another machine."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from hwdse.records import SweepRecord
from hwdse.reports.budgets import budget_results
from hwdse.reports.points import measured
from hwdse.sweeps.log import read, running

from .show import print_json, print_table, print_text, seconds


def run(folder: Path, json: bool) -> None:
    """Prints it."""
    record = SweepRecord.load(folder)
    events = read(folder)
    ended = {t.number for t in record.trials}
    now = datetime.datetime.now(datetime.UTC)
    at_work = [r for r in running(events) if r.trial not in ended]
    wanted = int(record.config.get("trials", len(record.trials)))
    failed = [t for t in record.trials if t.state == "failed"]
    times = sorted(t.seconds for t in record.trials if t.seconds > 0)
    mean = sum(times) / len(times) if times else None
    left = max(0, wanted - len(record.trials))
    time_left = None if mean is None or not left else mean * left / max(1, len(at_work))
    budgets = budget_results(record)
    if json:
        print_json(
            {
                "run": str(folder), "task": record.task, "done": len(record.trials), "trials": wanted, "failed": len(failed),
                "running": [
                    {"trial": r.trial, "what": r.what, "seconds": (now - r.since).total_seconds(), "process": r.process} for r in at_work
                ],
                "seconds_left": time_left,
                "best": [_best(record, b) for b in budgets],
                "last_errors": [{"trial": t.number, "error": t.error} for t in failed[-3:]],
            }
        )  # fmt: skip
        return
    score = record.score
    print_text(f"{folder}: {record.task}, {len(record.trials)} of {wanted} trials, {len(failed)} failed", style="bold")
    last = max((datetime.datetime.fromisoformat(e["time"]) for e in events), default=None)
    if left:
        hint = (
            f"about {seconds(time_left)} left" if time_left is not None and at_work else "nothing runs: the same command goes on from here"
        )
        print_text(f"{left} to do, {len(at_work)} running; {hint}.")
    for r in at_work:
        print_text(f"  trial {r.trial}: {r.what}, for {seconds((now - r.since).total_seconds())} ({r.process})")
    if last is not None:
        print_text(f"Last event {seconds((now - last).total_seconds())} ago. Measured points: {len(measured(record))}.")
    print_text()
    print_table(
        ["budget ", "best trial", f"validation {score.name}", "limits are ", "points inside"],
        [
            [
                b.name, b.best.name if b.best else "-", score.format(b.best.score) if b.best else "-", b.worst or "-", str(b.inside),
            ]
            for b in budgets
        ],
    )  # fmt: skip
    for t in failed[-3:]:
        print_text(f"Failed, trial {t.number}: {t.error}")


def _best(record: SweepRecord, budget: Any) -> dict[str, Any]:
    best = budget.best
    return {
        "budget": budget.name, "trial": best.number if best else None, "score": best.score if best else None,
        "standing": budget.worst, "inside": budget.inside,
    }  # fmt: skip
