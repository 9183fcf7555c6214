"""Exact minimum of a sum of choices under one row: a multiple-choice knapsack over Pareto fronts.

    min sum_c loss[c, k_c]   s.t.   sum_c cost[c, k_c] <= room        (Sinha and Zoltners 1979; Pisinger 1995)

Lower hulls of the fronts give the linear relaxation in closed form (steps in order of steepness), its multiplier takes out options by
their reduced cost, and what is left goes through a list dynamic program: the Pareto states (cost, loss) of the first
components, each dropped where even the relaxation of the rest cannot bring it below the best answer known. A pass that keeps only
the most promising states comes first: it finds the answer that makes the bounds bite.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..choices import IntArray
from ..errors import SolverError
from .bag import Bag
from .clock import Clock

_PASSES = (300, 5_000, 100_000)
_STATES = 3_000_000  # in one stage of the last pass
_SPREAD = 100.0  # how far the largest loss may lie above the answer before digits are lost
_SAME = 1e-12  # part of the answer within which two losses are one


class TooManyStates(SolverError):
    """The dynamic program does not fit in memory."""


@dataclass(frozen=True, eq=False)
class Packed:
    """``point`` per component; ``bound`` on the loss; ``price``: of the relaxation of the whole bag; whether nothing better exists."""

    point: IntArray
    bound: float
    price: float
    proven: bool


def pack(bag: Bag, limit: float, clock: Clock | None = None) -> Packed | None:
    """The best choice with summed cost at most ``limit``; None where there is none.

    Raises:
        TooManyStates: fronts so alike that too many states stay undecided.
    """
    corner = bag.corner(limit)
    if corner is None:
        return None
    price, bound, room = corner.price, corner.bound, limit - float(bag.least.sum())
    if corner.taken == len(bag.steps.cost):
        return Packed(corner.point, bag.floor, 0.0, True)
    point = bag.fill(corner.point, corner.taken, room)
    if bag.highest > max(_SPREAD, len(bag.size)) * bag.value(point):
        trimmed = bag.below(bag.value(point))
        if trimmed is not None:
            found = pack(trimmed[0], limit, clock)
            if found is not None:
                return replace(found, point=found.point + trimmed[1], price=price)
    point, proven = _Program(bag, room, price, bound, clock or Clock()).run(point)
    value = bag.value(point)
    return Packed(point, bag.floor + (value if proven else min(value, bound)), price, proven)


class _Program:
    """The list dynamic program for one room."""

    def __init__(self, bag: Bag, room: float, price: float, bound: float, clock: Clock) -> None:
        self.bag, self.room, self.bound, self.clock = bag, room, bound, clock
        reduced = bag.flat_loss + price * bag.flat_cost
        self.excess = reduced - np.minimum.reduceat(reduced, bag.begin[:-1])[bag.of]

    def run(self, best: IntArray) -> tuple[IntArray, bool]:
        """The best choice, and whether that is proven."""
        for width in (*_PASSES, None):
            value = self.bag.value(best)
            if value <= self.bound * (1 + _SAME):
                return best, True
            if self.clock.over:
                return best, False
            better, whole = self._pass(value, width)
            if better is not None and self.bag.value(better) < value:
                best = better
            if whole:
                return best, True
        return best, False

    def _pass(self, value: float, width: int | None) -> tuple[IntArray | None, bool]:
        """One sweep over the components with at most ``width`` states; the choice found below ``value``, and whether none was cut."""
        bag = self.bag
        aim = value * (1 - _SAME)  # only what is below it is of interest
        open_ = (self.bound + self.excess < aim) & (bag.flat_cost <= self.room)
        counts = np.bincount(bag.of[open_], minlength=len(bag.size))
        if (counts == 0).any():
            return None, True
        keep = np.flatnonzero(open_)
        first = np.concatenate([[0], np.cumsum(counts)])
        chosen = keep[first[:-1]] - bag.begin[:-1]
        single = counts == 1
        cost = np.array([bag.flat_cost[keep[first[:-1]]][single].sum()])
        loss = np.array([bag.flat_loss[keep[first[:-1]]][single].sum()])
        order = self._order(np.flatnonzero(~single), keep, first)
        waiting = ~single
        trail: list[tuple[int, IntArray, IntArray]] = []
        whole = True
        for c in order:
            if self.clock.over:
                return None, False
            waiting[c] = False
            rest = bag.steps.of(waiting)
            mine = keep[first[c] : first[c + 1]]
            if len(cost) * len(mine) > _STATES:
                raise TooManyStates("too many allocations lie within rounding of one another for the dynamic program; use method 'milp'.")
            costs = (cost[:, None] + bag.flat_cost[mine]).ravel()
            losses = (loss[:, None] + bag.flat_loss[mine]).ravel()
            ceiling = float(sum(bag.losses[i][0] for i in np.flatnonzero(waiting)))
            gain = np.interp(
                self.room - costs, np.concatenate([[0.0], np.cumsum(rest.cost)]), np.concatenate([[0.0], np.cumsum(rest.fall)])
            )
            bounds = losses + ceiling - gain
            alive = np.flatnonzero((costs <= self.room) & (bounds < aim + 1e-13 * ceiling))
            if width is not None and len(alive) > width:
                alive = alive[np.argpartition(bounds[alive], width)[:width]]
                whole = False
            alive = alive[np.lexsort((losses[alive], costs[alive]))]
            falling = losses[alive]
            front = np.append(True, falling[1:] < np.minimum.accumulate(falling)[:-1]) if len(alive) else np.zeros(0, bool)
            alive = alive[front]
            if not len(alive):
                return None, whole
            parent, point = np.divmod(alive, len(mine))
            trail.append((c, parent, mine[point] - bag.begin[c]))
            cost, loss = costs[alive], losses[alive]
        state = int(np.argmin(loss))
        for c, parent, point in reversed(trail):
            chosen[c] = point[state]
            state = int(parent[state])
        return chosen, whole

    def _order(self, waiting: IntArray, keep: IntArray, first: IntArray) -> list[int]:
        """Components with the most to lose first: their states are cut down soonest."""
        spread = [float(np.sort(self.excess[keep[first[c] : first[c + 1]]])[1]) for c in waiting]
        return [int(c) for c in waiting[np.argsort(-np.array(spread), kind="stable")]]
