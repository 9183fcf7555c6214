"""When to stop: the hypervolume of the fronts has stopped growing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwdse.metrics import Metric
from hwdse.pareto import hypervolume
from hwdse.records import TrialResult

from .knobs import Plan

LEAST_GAIN = 1e-3  # share of the hypervolume that a row of trials must win


def growth(trials: Sequence[TrialResult], plan: Plan, score: Metric, counts: Sequence[int]) -> list[float]:
    """Hypervolume of the first ``counts`` trials each, summed over accelerators and the first limited metric of each budget.

    Each is a share of what all trials reach; the reference point is the worst score and the largest cost of all of them, so that the
    numbers compare with one another alone.
    """
    total = np.zeros(len(counts))
    for target, metric in dict.fromkeys((target, next(iter(budget)).metric) for (target, _), budget in plan.limits.items()):
        points = np.array([_point(t, target, metric, score) for t in trials])
        known = np.isfinite(points).all(axis=1)
        if not known.any():
            continue
        reference = points[known].max(axis=0) + 1e-9 + 0.01 * np.ptp(points[known], axis=0)
        scale = reference - points[known].min(axis=0)
        scaled = np.where(known[:, None], (points - reference) / scale + 1, 2.0)  # outside the reference: adds nothing
        whole = hypervolume(scaled, np.ones(2))
        total += [hypervolume(scaled[:count], np.ones(2)) / whole for count in counts]
    return [float(v) for v in total]


def stalled(trials: Sequence[TrialResult], plan: Plan, score: Metric, patience: int | None) -> bool:
    """Whether the last ``patience`` trials together have won less than :data:`LEAST_GAIN` of the hypervolume."""
    if patience is None or len(trials) <= patience:
        return False
    before, now = growth(trials, plan, score, (len(trials) - patience, len(trials)))
    return now - before < LEAST_GAIN * now


def _point(trial: TrialResult, target: str | None, metric: Metric, score: Metric) -> tuple[float, float]:
    """(cost, score), both to be minimised; infinite where the trial failed or was made for another accelerator."""
    if trial.state != "complete" or trial.knobs.get("accelerator") not in (None, target):
        return np.inf, np.inf
    return metric.minimised(trial.measures.get(metric.key, np.inf)), score.minimised(trial.measures[score.key])
