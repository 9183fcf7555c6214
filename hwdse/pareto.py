"""Pareto fronts of measured score against measured cost.

Computed from records alone, over any metrics, at any time. Everything is minimised inside; :class:`~hwdse.metrics.Metric`
flips the sign of scores.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .costs import FloatArray
from .metrics import Metric
from .records import TrialResult


def nondominated(points: FloatArray) -> npt.NDArray[np.bool_]:
    """(N,) which of N points (N, M), all minimised, no other point beats. Of equal points the first is kept."""
    count = len(points)
    keep = np.zeros(count, bool)
    order = np.lexsort(points.T[::-1])
    if points.shape[1] == 2:  # a cost and the score, over and over: kept is what is below all before it
        second = np.where(np.isfinite(points[order]).all(axis=1), points[order, 1], np.inf)
        keep[order] = second < np.minimum.accumulate(np.append(np.inf, second))[:-1]
        return keep
    best: list[FloatArray] = []
    for i in order:
        point = points[i]
        if np.isfinite(point).all() and not any((other <= point).all() for other in best):
            best.append(point)
            keep[i] = True
    return keep


def hypervolume(points: FloatArray, reference: FloatArray) -> float:
    """Volume dominated by points (N, M), all minimised, up to ``reference`` (M,). Exact: recursive slicing over the last objective.

    Points outside the reference add nothing.
    """
    inside = points[(points < reference).all(axis=1)]
    if not len(inside):
        return 0.0
    inside = inside[nondominated(inside)]
    if inside.shape[1] == 1:
        return float(reference[0] - inside[:, 0].min())
    order = np.argsort(inside[:, -1], kind="stable")
    inside = inside[order]
    heights = np.append(inside[1:, -1], reference[-1]) - inside[:, -1]
    return float(sum(h * hypervolume(inside[: i + 1, :-1], reference[:-1]) for i, h in enumerate(heights) if h > 0))


@dataclass(frozen=True)
class ParetoFront:
    """The trials that no other beats on all of ``metrics``, ordered by the first metric, best first.

    Attributes:
        metrics: objectives, usually (a cost, the score).
        trials: the front. dominated: the other complete trials with finite values, in number order.
    """

    metrics: tuple[Metric, ...]
    trials: tuple[TrialResult, ...]
    dominated: tuple[TrialResult, ...]

    @classmethod
    def of(cls, trials: Iterable[TrialResult], metrics: Sequence[Metric]) -> ParetoFront:
        """The front of complete trials. Those without a finite value of each metric (unsupported there) take no part."""
        usable = [
            t for t in trials
            if t.state == "complete" and all(math.isfinite(t.measures.get(m.key, math.nan)) for m in metrics)
        ]  # fmt: skip
        if not usable:
            return cls(tuple(metrics), (), ())
        points = _points(usable, metrics)
        keep = nondominated(points)
        order = [i for i in np.lexsort(points.T[::-1]) if keep[i]]
        return cls(tuple(metrics), tuple(usable[i] for i in order), tuple(t for t, k in zip(usable, keep, strict=True) if not k))

    def points(self) -> FloatArray:
        """(N, M) values of the front, as measured (no sign flipped)."""
        return np.array([[t.measures[m.key] for m in self.metrics] for t in self.trials]).reshape(-1, len(self.metrics))

    def hypervolume(self, reference: Sequence[float]) -> float:
        """Volume between the front and a reference point given in the metrics' own units and directions."""
        corner = np.array([m.minimised(r) for m, r in zip(self.metrics, reference, strict=True)])
        return hypervolume(_points(self.trials, self.metrics), corner) if self.trials else 0.0


def growth(trials: Sequence[TrialResult], metrics: Sequence[Metric], counts: Sequence[int]) -> FloatArray:
    """Hypervolume of the first ``counts`` trials each, as a share of what all of them reach.

    The reference point is the worst of each metric over all trials, and a hundredth of their range more, so that the ends of the front
    count; shares of one list of trials compare with one another alone. Trials that failed or lack a finite value add nothing.
    """
    known = [t.state == "complete" and all(math.isfinite(t.measures.get(m.key, math.nan)) for m in metrics) for t in trials]
    if not any(known):
        return np.zeros(len(counts))
    points = np.full((len(trials), len(metrics)), np.inf)
    points[known] = _points([t for t, k in zip(trials, known, strict=True) if k], metrics)
    worst, best = points[known].max(axis=0), points[known].min(axis=0)
    span = np.where(worst > best, worst - best, 1.0)
    scaled = (points - best) / span  # 0 to 1; infinite ones lie outside
    reference = np.full(len(metrics), 1.01)
    whole = hypervolume(scaled, reference)
    return np.array([hypervolume(scaled[:count], reference) / whole for count in counts])


def _points(trials: Sequence[TrialResult], metrics: Sequence[Metric]) -> FloatArray:
    return np.array([[m.minimised(t.measures[m.key]) for m in metrics] for t in trials])
