"""The Pareto fronts of a multiple-choice knapsack, with their lower hulls: what no room changes, made once for many budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..choices import BoolArray, IntArray
from ..costs import FloatArray
from .components import Front


@dataclass(frozen=True, eq=False)
class Steps:
    """Steps along the lower hulls, steepest first: component, the point reached, its change of cost and fall of loss."""

    component: IntArray
    point: IntArray
    cost: FloatArray
    fall: FloatArray

    def of(self, mask: BoolArray) -> Steps:
        """Those of some components, (C,) booleans."""
        keep = mask[self.component]
        return Steps(self.component[keep], self.point[keep], self.cost[keep], self.fall[keep])


@dataclass(frozen=True, eq=False)
class Corner:
    """The linear relaxation's answer: ``point`` per component before the step that is taken in part, the ``taken`` steps up to there.

    ``bound``: its value over the floor. ``price``: loss per unit of room to its right.
    """

    point: IntArray
    taken: int
    bound: float
    price: float


class Bag:
    """What does not depend on the room: made once, solved for many budgets."""

    def __init__(self, fronts: Sequence[Front]) -> None:
        self.fronts = fronts
        self.least = np.array([f.cost[0] for f in fronts])
        self.costs = [f.cost - f.cost[0] for f in fronts]
        self.losses = [f.loss - f.loss[-1] for f in fronts]
        self.floor = float(sum(f.loss[-1] for f in fronts))  # more than 0 only where ties force it
        self.size = np.array([len(f.cost) for f in fronts])
        self.begin = np.concatenate([[0], np.cumsum(self.size)])
        self.flat_cost, self.flat_loss = np.concatenate(self.costs), np.concatenate(self.losses)
        self.of = np.repeat(np.arange(len(fronts)), self.size)
        self.highest = float(sum(loss[0] for loss in self.losses))
        self.steps = self._hulls()

    def _hulls(self) -> Steps:
        component, point, cost, fall = [], [], [], []
        for c, (x, y) in enumerate(zip(self.costs, self.losses, strict=True)):
            hull = lower_hull(x, y)
            component += [c] * (len(hull) - 1)
            point += hull[1:]
            cost += np.diff(x[hull]).tolist()
            fall += (-np.diff(y[hull])).tolist()
        order = np.argsort(-np.array(fall) / np.array(cost), kind="stable") if cost else np.zeros(0, np.intp)
        return Steps(
            np.array(component, np.intp)[order], np.array(point, np.intp)[order],
            np.array(cost, np.float64)[order], np.array(fall, np.float64)[order],
        )  # fmt: skip

    def corner(self, limit: float) -> Corner | None:
        """The linear relaxation with summed cost at most ``limit``: steps in order of steepness. None where nothing is inside."""
        room = limit - float(self.least.sum())
        if room < 0:
            return None
        steps = self.steps
        spent = np.cumsum(steps.cost)
        taken = int(np.searchsorted(spent, room, side="right"))
        point = np.zeros(len(self.size), np.intp)
        np.maximum.at(point, steps.component[:taken], steps.point[:taken])
        if taken == len(steps.cost):  # every component at its best
            return Corner(point, taken, 0.0, 0.0)
        after = point.copy()  # sums of what is left, without differences: a huge loss then leaves the small ones their digits
        after[steps.component[taken]] = steps.point[taken]
        undone = float(steps.fall[taken] * (spent[taken] - room) / steps.cost[taken])
        return Corner(point, taken, self.value(after) + undone, float(steps.fall[taken] / steps.cost[taken]))

    def below(self, value: float) -> tuple[Bag, IntArray] | None:
        """The bag without points that lose more than ``value`` by themselves, and how many went from each front; None if none did.

        Sums over the bag then stay near ``value``: losses of 1e15 that nobody takes would drown the others' digits.
        """
        gone = np.array([int((loss > value).sum()) for loss in self.losses], np.intp)
        if not gone.any():
            return None
        fewer = [Front(f.cost[k:], f.loss[k:], f.options[k:]) for f, k in zip(self.fronts, gone, strict=True)]
        return Bag(fewer), gone

    def value(self, point: IntArray) -> float:
        """Summed loss over the floor."""
        return float(self.flat_loss[self.begin[:-1] + point].sum())

    def fill(self, point: IntArray, taken: int, room: float) -> IntArray:
        """Greedy: further steps along the hulls where they fit."""
        steps, point = self.steps, point.copy()
        left = room - float(self.flat_cost[self.begin[:-1] + point].sum())
        stuck = set[int]()
        for j in range(taken, len(steps.cost)):
            c = int(steps.component[j])
            if c in stuck:
                continue
            if steps.cost[j] <= left:
                point[c] = steps.point[j]
                left -= float(steps.cost[j])
            else:
                stuck.add(c)
        return point


def lower_hull(x: FloatArray, y: FloatArray) -> list[int]:
    """Indices of the lower convex hull of a front (x ascending, y descending)."""
    hull: list[int] = []
    xs, ys = x.tolist(), y.tolist()
    for k in range(len(xs)):
        while len(hull) > 1:
            i, j = hull[-2], hull[-1]
            if (ys[j] - ys[i]) * (xs[k] - xs[i]) >= (ys[k] - ys[i]) * (xs[j] - xs[i]):
                hull.pop()
            else:
                break
        hull.append(k)
    return hull
