"""Shadow prices: how fast the linear program's value falls as a limit rises.

    v(limits) = min loss @ x   over   sum_o x[l, o] = 1, x >= 0, rows, ties,      price_k = -dv / dlimit_k to the right

All allowed options take part, also one that breaks a limit by itself: no allocation takes it, but what it would be worth is part of what
room is worth, and it becomes possible as the limit rises. So a price of 0 means that the program's value stays as it is.

One row whose ties decompose has v in closed form (the lower hulls of the fronts). Else a linear program is solved, and a price is given
only with a proof: a fractional allocation of value p and multipliers of bound g with p - g so small that

    (v(limit) - v(limit + h)) / h - (p - g) / h  <=  price  <=  (v(limit - h) - v(limit)) / h + (p - g) / h

pins it down at steps h of a thousandth of the limit. What is not proven is absent, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from ..costs import FloatArray
from ..errors import SolverError
from .clock import Clock
from .linear import TOLERANCES
from .one_row import OneRow, rows_of
from .program import FORGIVEN, Program
from .rows import Rows

_ABOVE = 1e-7  # part of a limit by which it is raised to stand right of a kink
_NOTHING = 1e-9  # fractions below are taken for 0
_CAP = 1e6  # losses above so many times the value are cut off, so that they do not drown it
_ROUNDS = 8
_STEP, _SURE, _ZERO = 1e-3, 1e-3, 1e-10  # step h, error of a price, and error of the value where a price is 0, as parts
_SAME = 1e-12  # part of the value within which value and bound are one


@dataclass(frozen=True)
class Relaxed:
    """The linear program over all allowed options.

    Attributes:
        bound: proven lower bound on the loss over ``program.base``, at least 0.
        prices: metric key -> loss per stored unit of limit, >= 0. Without those that could not be proven.
    """

    bound: float
    prices: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class _Point:
    """A pair of answers: ``value`` of a fractional allocation, ``bound`` of multipliers ``duals``, (R,), per whole room of each row.

    ``unique``: no other multipliers prove this bound.
    """

    value: float
    bound: float
    duals: FloatArray
    unique: bool


def relaxed_program(program: Program, limits: Mapping[str, float], value: float = np.inf, clock: Clock | None = None) -> Relaxed:
    """Bound and prices of a budget that can be met.

    Args:
        limits: metric key -> limit, in stored units.
        value: loss over ``program.base`` of an allocation inside the budget, where one is known.
    """
    if not limits or value == 0:  # nothing is left to win
        return Relaxed(0.0, dict.fromkeys(limits, 0.0))
    if rows_of(program) <= 1 and not program.links:
        try:
            row = OneRow(program)
        except SolverError:  # ties in a cycle
            pass
        else:
            corner = row.bag.corner(min(limits.values()) * (1 + FORGIVEN) - row.fixed)
            return Relaxed(0.0, {}) if corner is None else Relaxed(row.bag.floor + corner.bound, dict.fromkeys(limits, corner.price))
    rows = Rows.whole(program, limits)
    return _Programs(rows, limits, value, clock or Clock()).run()


class _Programs:
    """The linear program as it is, and with one limit a little higher."""

    def __init__(self, rows: Rows, limits: Mapping[str, float], value: float, clock: Clock) -> None:
        self.rows, self.limits, self.clock = rows, limits, clock
        groups, count = len(rows.starts), len(rows.loss)
        self.of = np.repeat(np.arange(groups), np.diff(rows.starts, append=count))
        one_hot = sparse.csr_array((np.ones(count), (self.of, np.arange(count))), shape=(groups, count))
        self.equal = sparse.csr_array(sparse.vstack([one_hot, rows.ties])) if rows.ties.shape[0] else one_hot
        self.right = np.concatenate([np.ones(groups), np.zeros(rows.ties.shape[0])])
        largest = float(np.maximum.reduceat(rows.loss, rows.starts).sum())
        self.value = min(value, largest)

    def run(self) -> Relaxed:
        if not self.rows.matrix.shape[0]:  # no limit can bind
            return Relaxed(0.0, dict.fromkeys(self.limits, 0.0))
        here = self._point(None)
        if here is None:
            return Relaxed(0.0, {})
        prices = {}
        for key in self.limits:
            price = self._price(here, key)
            if price is None or (price > 0 and not here.unique):  # at a kink the solver may have given any slope from left to right
                there = self._point(key)
                price = None if there is None else self._price(there, key)
            if price is not None:
                prices[key] = price
        return Relaxed(max(0.0, here.bound), prices)

    def _price(self, point: _Point, key: str) -> float | None:
        """In loss per stored unit; None where it is not proven."""
        mine = np.array([name == key for name in self.rows.metric])
        if not mine.any():  # it cannot bind
            return 0.0
        price = float((point.duals[mine] / self.rows.room[mine]).sum())
        error = max(0.0, point.value - point.bound)
        if price == 0:
            return 0.0 if error <= _ZERO * point.value else None
        return price if error / (_STEP * abs(self.limits[key])) <= _SURE * price else None

    def _point(self, raised: str | None) -> _Point | None:
        """The best pair found, with one limit ``raised``; None where the solver found none."""
        rows = self.rows
        more = np.array([_ABOVE * abs(self.limits[name]) if name == raised else 0.0 for name in rows.metric])
        room = 1 + more / rows.room
        value, cap, best = self.value, _CAP * self.value, None
        for _ in range(_ROUNDS):
            found = None if self.clock.over else self._solve(room, value, cap)
            if found is None:
                break
            point, cut_off = found
            if best is None or point.value - point.bound < best.value - best.bound:
                best = point
            if point.value - point.bound <= _SAME * point.value:
                break
            if cut_off:
                cap *= _CAP
            elif point.value < value / 2:
                value, cap = point.value, _CAP * point.value
            else:
                break
        return best

    def _solve(self, room: FloatArray, value: float, cap: float) -> tuple[_Point, bool] | None:
        """One linear program with losses up to ``cap``, in units of ``value``; and whether an option that was cut off is taken."""
        rows = self.rows
        scale = value if value > 0 else 1.0
        solver: Any = linprog  # its stubs do not know sparse matrices
        options = dict(TOLERANCES) if self.clock.left is None else {**TOLERANCES, "time_limit": self.clock.left}
        answer = solver(
            np.minimum(rows.loss, cap) / scale, A_ub=rows.matrix, b_ub=room, A_eq=self.equal, b_eq=self.right, method="highs",
            options=options,
        )  # fmt: skip
        if answer.status != 0:
            return None
        x = np.asarray(answer.x)
        x = np.where(x < _NOTHING, 0.0, x)
        x /= np.add.reduceat(x, rows.starts)[self.of]
        duals = scale * np.maximum(-np.asarray(answer.ineqlin.marginals), 0.0)
        tied = -scale * np.asarray(answer.eqlin.marginals)[len(rows.starts) :]
        reduced = rows.loss + duals @ rows.matrix + tied @ rows.ties
        load = rows.matrix @ x
        # what x is over by counts as room given: the proof then stands at limits higher by that
        bound = float(np.minimum.reduceat(reduced, rows.starts).sum() - duals @ np.maximum(room, load))
        tight = int((load >= room * (1 - 10 * _NOTHING)).sum())
        unique = int((x > 0).sum()) == len(self.right) + tight
        return _Point(float(rows.loss @ x), bound, duals, unique), bool((x[rows.loss > cap] > 0).any())
