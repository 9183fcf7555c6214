"""Which checkpoints a run keeps: those that a front, a baseline or a budget needs. Each is as large as the network."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from hwdse.constraints import Budget
from hwdse.metrics import Metric
from hwdse.pareto import ParetoFront
from hwdse.records import TrialResult

Keep = Literal["front", "all", "none"]
WORTH_A_LINE = 100 * 2**20  # bytes: smaller runs fit anywhere


def needed(trials: Sequence[TrialResult], costs: Iterable[Metric], score: Metric, budgets: Iterable[Budget]) -> set[int]:
    """Numbers of the trials that are scored on the test split, and that are handed over: the points of every cost's front, the baselines,
    and the best inside each budget, ties to the cheaper on its first limit, then to the earlier.

    What is not needed once is not needed later: a point that another beats stays beaten. So workers that know different parts of a run
    never remove what another needs.
    """
    complete = [t for t in trials if t.state == "complete" and score.key in t.measures]
    found = {t.number for m in costs for t in ParetoFront.of(complete, (m, score)).trials}
    found |= {t.number for t in complete if t.knobs.get("origin") == "baseline"}
    for budget in budgets:
        inside = [t for t in complete if all(c.metric.key in t.measures and c.holds(t.measures[c.metric.key]) for c in budget)]
        first = [c.metric.key for c in budget][:1]
        if inside:
            found.add(min(inside, key=lambda t: (score.minimised(t.measures[score.key]), *(t.measures[k] for k in first), t.number)).number)
    return found


def prune(folder: Path, trials: Sequence[TrialResult], needed_: set[int]) -> list[int]:
    """Removes the checkpoints of measured trials that nobody needs; returns whose."""
    measured = {t.number: t.knobs.get("same_as", t.number) for t in trials}
    kept = {measured[number] for number in needed_ if number in measured}
    gone = []
    for trial in trials:
        path = folder / "checkpoints" / f"{trial.number}.pt"
        if trial.state == "complete" and trial.number not in kept and f"checkpoints/{path.name}" in trial.files:
            with contextlib.suppress(OSError):
                path.unlink()
                gone.append(trial.number)
    return gone


def room(folder: Path, network: int, trials: int, keep: Keep) -> str:
    """What a run will take on the disk, and whether it fits; empty where that is little.

    Args:
        network: bytes of the network's weights. trials: of the run. keep: which checkpoints stay.
    """
    most = network * trials
    free = shutil.disk_usage(folder).free
    if most < WORTH_A_LINE and most < free:
        return ""
    each, all_ = _size(network), _size(most)
    said = {
        "all": f"all {trials} are kept: {all_}",
        "front": f"kept are those of the fronts, the baselines and the best inside each budget; all {trials} would take {all_}",
        "none": f"they are removed when the sweep has ended; all {trials} would take {all_}",
    }[keep]
    text = f"a checkpoint takes about {each}; {said}. Free there: {_size(free)}"
    if most > free:
        less = "" if keep != "all" else "; --keep-checkpoints front keeps fewer"
        text += f", which is less than all of them{less}"
    return text


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"
