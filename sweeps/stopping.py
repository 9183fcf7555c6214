"""When to stop: the hypervolume of the fronts has stopped growing."""

from __future__ import annotations

from collections.abc import Sequence

from hwdse.metrics import Metric
from hwdse.pareto import growth
from hwdse.records import TrialResult

from .knobs import Plan

LEAST_GAIN = 1e-3  # share of the hypervolume that a row of trials must win


def stalled(trials: Sequence[TrialResult], plan: Plan, score: Metric, patience: int | None) -> bool:
    """Whether the last ``patience`` trials have won less than :data:`LEAST_GAIN` of the hypervolume, on every accelerator and first limited
    metric of a budget."""
    if patience is None or len(trials) <= patience:
        return False
    for target, metric in dict.fromkeys((target, next(iter(budget)).metric) for (target, _), budget in plan.limits.items()):
        mine = [t for t in trials[:-patience] if t.knobs.get("accelerator") in (None, target)]
        later = [t for t in trials[-patience:] if t.knobs.get("accelerator") in (None, target)]
        before, now = growth([*mine, *later], (metric, score), (len(mine), len(mine) + len(later)))
        if now - before >= LEAST_GAIN:
            return False
    return True
