"""``hwdse status``: where a run stands, from its files or its server alone; it disturbs nothing and may be asked from another machine."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np

from hwdse.errors import UsageError
from hwdse.pareto import growth
from hwdse.records import SweepRecord
from hwdse.reports.budgets import budget_results
from hwdse.reports.limits import budget_limits
from hwdse.reports.points import measured, scored
from hwdse.sweeps.looking import Look, look_at_folder, look_at_server

from .opened import told
from .show import print_json, print_table, print_text, seconds


def run(where: str | None, storage: str | None, study: str | None, json: bool) -> None:
    """Prints it: of a run folder, or of a study on a server."""
    look = _look(where, storage, study)
    record, at_work = told(look.record), look.running
    wanted = max(int(record.config.get("trials", 0)), len(record.trials))  # fewer may be asked for afterwards
    failed = [t for t in record.trials if t.state == "failed"]
    times = sorted(t.seconds for t in record.trials if t.seconds > 0)
    mean = sum(times) / len(times) if times else None
    left = 0 if look.stopped else max(0, wanted - len(record.trials))
    time_left = None if mean is None or not left else mean * left / max(1, len(at_work))
    budgets, won = budget_results(record), _won(record)
    if json:
        print_json(
            {
                "run": look.where, "task": record.task, "done": len(record.trials), "trials": wanted, "failed": len(failed),
                "running": [
                    {"trial": r.trial, "what": r.what, "seconds": _age(r.since), "process": r.process} for r in at_work
                ],
                "seconds_left": time_left,
                "stopped": look.stopped,
                "log_lines_damaged": look.damaged,
                "hypervolume_of_the_last_tenth": won,
                "best": [_best(record, b) for b in budgets],
                "last_errors": [{"trial": t.number, "error": t.error} for t in failed[-3:]],
            }
        )  # fmt: skip
        return
    score = record.score
    print_text(f"{look.where}: {record.task}, {len(record.trials)} of {wanted} trials, {len(failed)} failed", style="bold")
    if left:
        hint = (
            f"about {seconds(time_left)} left" if time_left is not None and at_work else "nothing runs: the same command goes on from here"
        )
        print_text(f"{left} to do, {len(at_work)} running; {hint}.")
    for r in at_work:
        print_text(f"  trial {r.trial}: {r.what}, for {_since(r.since)} ({r.process})")
    if look.stopped:
        print_text(f"Stopped: {look.stopped}.")
    if look.damaged:
        lines = f"{look.damaged} line{'s' if look.damaged > 1 else ''} of its log.jsonl"
        print_text(f"{lines} cannot be read (cut off, or damaged): trials at work may be missing here. What has ended is in record.json.")
    heard = f"Last event {_since(look.last)} ago. " if look.last else ""
    again = len(scored(record)) - len(measured(record))
    print_text(f"{heard}Measured points: {len(measured(record))}{f'; {again} more trials came to one of these' if again else ''}.")
    if won:
        gains = ", ".join(f"{key} {share:.1%}" for key, share in won.items())
        print_text(f"Hypervolume that the last tenth of the trials won, of what all have reached: {gains}.")
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


def _look(where: str | None, storage: str | None, study: str | None) -> Look:
    if where is not None and "://" not in where and (Path(where).exists() or "@" not in where):
        return look_at_folder(Path(where))
    url = where or storage
    if url is None:
        raise UsageError(
            "give a run folder, or the URL of a server: hwdse status runs/demo, or hwdse status postgresql://USER@HOST/DATABASE"
        )
    return look_at_server(url, study)


def _won(record: SweepRecord) -> dict[str, float]:
    """Share of the hypervolume over each limited cost that the last tenth of the trials brought."""
    before = len(record.trials) - len(record.trials) // 10
    if before == len(record.trials):
        return {}
    limited = dict.fromkeys(limit.metric for budget in record.budgets for limit in budget_limits(record, budget) or ())
    counts = (before, len(record.trials))
    return {m.key: float(np.diff(growth(record.trials, (m, record.score), counts))[0]) for m in limited}


def _age(since: datetime.datetime) -> float:
    """Seconds since then; 0 where a clock was set back, or another machine's is ahead."""
    return max(0.0, (datetime.datetime.now(datetime.UTC) - since).total_seconds())


def _since(then: datetime.datetime) -> str:
    return seconds(_age(then))


def _best(record: SweepRecord, budget: Any) -> dict[str, Any]:
    best = budget.best
    return {
        "budget": budget.name, "trial": best.number if best else None, "score": best.score if best else None,
        "standing": budget.worst, "inside": budget.inside,
    }  # fmt: skip
