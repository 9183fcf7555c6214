"""What one more unit of a cost buys: the slopes of the measured front's envelope."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ..metrics import Metric
from ..records import SweepRecord
from .contest import contest
from .knees import knee_of
from .limits import budget_limits
from .points import Point, measured
from .wording import chance


@dataclass(frozen=True)
class Step:
    """One straight part of the envelope.

    Attributes:
        low, high: its ends, the cheaper one first.
        gain: by how much the score gets better, in stored units, above 0. price: the same per unit of cost: the shadow price between them.
        chance: whether the gain may be chance, see :func:`~hwdse.reports.wording.chance`; None where that is not known.
    """

    low: Point
    high: Point
    gain: float
    price: float
    chance: bool | None


@dataclass(frozen=True)
class Prices:
    """The points of one cost, from the cheapest point to the best.

    Attributes:
        front: all points of the front. steps: of its envelope, in order of cost; their prices fall.
        best: the best point: whatever costs more was measured no better.
        enough: the cheapest point of the front that the best is better than by chance alone, perhaps; None where that is not known.
        knee: where the front bends most (:func:`~hwdse.reports.knees.knee_of`); None where it does not.
    """

    cost: Metric
    front: tuple[Point, ...]
    steps: tuple[Step, ...]
    best: Point
    enough: Point | None
    knee: Point | None


def prices(record: SweepRecord, cost: Metric) -> Prices | None:
    """Slopes of the upper envelope (the least concave curve above the front); None where no point has a finite cost.

    On the envelope one more unit of the limit buys the price of the step that it lies in: the shadow price of the limit, as measured.
    Points of the front under the envelope are reached by no price.
    """
    found = contest({"": measured(record)}, cost, record.score)
    if found is None:
        return None
    front = [Point.of(record, t) for t in found.fronts[""].trials]  # the cheapest first
    x = [cost.minimised(p.costs[cost.key]) for p in front]
    y = [-record.score.minimised(p.score) for p in front]
    hull: list[int] = []
    for i in range(len(front)):
        while len(hull) > 1 and _slope(x, y, hull[-2], hull[-1]) <= _slope(x, y, hull[-1], i):
            hull.pop()
        hull.append(i)
    steps = tuple(
        Step(front[a], front[b], y[b] - y[a], _slope(x, y, a, b), chance(front[a], front[b])) for a, b in itertools.pairwise(hull)
    )
    best = front[-1]
    told = [chance(p, best) for p in front[:-1]]
    enough = next((p for p, alike in zip(front, [*told, True], strict=True) if alike), None) if any(t is not None for t in told) else None
    bend = knee_of(x, [-value for value in y])
    return Prices(cost, tuple(front), steps, best, enough, None if bend is None else front[bend])


def _slope(x: Sequence[float], y: Sequence[float], a: int, b: int) -> float:
    return (y[b] - y[a]) / (x[b] - x[a])


def limited(record: SweepRecord) -> tuple[Metric, ...]:
    """Costs that some budget of the sweep limits, in the order of the budgets; all costs where it has none."""
    found = dict.fromkeys(limit.metric for budget in record.budgets for limit in budget_limits(record, budget) or ())
    return tuple(found) or record.costs
