"""Exact for any number of budgets, rows and ties: linear relaxation, fixing by reduced costs, then the integer solver on what is left.

The proof: the relaxation's bound takes out every option that cannot lead below the best allocation known, the integer solver searches
the rest with a gap of 0, and each answer is checked against the tables. An answer that the solver's tolerances let over the budget is
forbidden by a cover cut (not all layers at or above its cells in the broken row) and the search goes on.

Losses are scaled to the best answer known, and the search repeats while that shrinks a thousandfold: a huge loss that
no good allocation takes then cannot hide the small ones under the solver's absolute tolerances.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..choices import IntArray
from ..errors import SolverError
from ..problem import Problem, Solution
from . import integer
from .answer import Answer
from .clock import Clock
from .greedy import walk
from .infeasible import explain
from .linear import Relaxation, relax
from .prices import relaxed_program
from .program import Program
from .relaxed import rounded
from .rows import Rows, cover, tightest

_CUTS = 50
_GUESSES = (1 / 16, 1 / 4, 1.0)
_FEW = 500  # variables up to which guesses take more time than they save: a quarter more over 200 problems of 20 x 49
_SAME = 1e-10  # two losses this close, relative to what the budget costs, are one


def milp(problem: Problem, *, time_limit: float | None = None, program: Program | None = None) -> Solution:
    """The allocation with the smallest loss inside every limit.

    Args:
        problem: what to solve.
        time_limit: seconds; the best allocation found by then comes back as FEASIBLE with its bound.
        program: the problem's arrays, where they are already made.

    Raises:
        InfeasibleBudget: no allocation is inside. SolverError: no allocation found in time, or no integer solver can be run.
    """
    clock = Clock(time_limit)
    limits = tightest(problem.budget)
    program = program or Program.of(problem, limits)
    rows = Rows.of(program, limits)
    if rows is None:
        raise explain(problem)
    return _Search(problem, program, rows, limits, clock).run().solution(problem, program, "milp", clock)


class _Search:
    def __init__(self, problem: Problem, program: Program, rows: Rows, limits: Mapping[str, float], clock: Clock) -> None:
        self.problem, self.program, self.rows, self.limits, self.clock = problem, program, rows, limits, clock
        self.best: IntArray | None = None
        self.value = np.inf
        self._offer(walk(rows))

    def _offer(self, chosen: IntArray | None) -> bool:
        """Takes an allocation that is inside the budget; False where it is not."""
        if chosen is None or not self.problem.feasible(chosen)[0]:
            return False
        value = self.program.value(chosen)
        if value < self.value:
            self.best, self.value = chosen, value
        return True

    def run(self) -> Answer:
        """Rounds of fixing and searching until the best value is proven, or the time is over."""
        proven, prices = False, relaxed_program(self.program, self.limits, self.value, self.clock).prices
        while not proven:
            rows = self._below(self.rows)  # afresh: bounds have the digits of their losses
            relaxation = relax(rows, self.clock.left)
            self._offer(rounded(rows, relaxation))
            rows, relaxation = self._tighten(rows, relaxation)
            seen = min(self.value, float(np.maximum.reduceat(rows.loss, rows.starts).sum()))
            finished = self._done(relaxation) or self._search(rows, relaxation)
            if self.best is None and finished:
                raise explain(self.problem)
            if self.best is None:
                raise SolverError(f"no allocation inside the budget was found in {self.clock.limit or 0:.3g} s; allow more time.")
            if not finished:
                break
            proven = self.value == 0 or self.value > seen / 1000
        assert self.best is not None
        return Answer(self.best, relaxation.bound, proven, prices)

    def _done(self, relaxation: Relaxation) -> bool:
        return self.best is not None and self.value <= relaxation.bound * (1 + _SAME)

    def _below(self, rows: Rows) -> Rows:
        """Less the variables that lose more than the best answer by themselves."""
        keep = rows.loss <= self.value * (1 + _SAME)
        return rows if keep.all() else rows.only(keep)

    def _tighten(self, rows: Rows, relaxation: Relaxation) -> tuple[Rows, Relaxation]:
        keep = relaxation.bound + relaxation.excess <= self.value * (1 + _SAME)
        if not keep.all():
            rows, relaxation = rows.only(keep), replace(relaxation, excess=relaxation.excess[keep])
        if keep.mean() < 0.7 and not self.clock.over:
            again = relax(rows, self.clock.left)
            if again.share is not None:
                return rows, again
        return rows, relaxation

    def _search(self, rows: Rows, relaxation: Relaxation) -> bool:
        """The integer solver on what can lead below a guess of the optimum, the guess rising to the best value; whether to the end.

        A guess that turns out to be met is a proof: what it left out cannot lead below it. Without it three limits over 1,000 layers
        take minutes in place of seconds.
        """
        groups = len(self.rows.starts)
        for part in _GUESSES if len(rows.loss) > _FEW else (1.0,):
            guess = relaxation.bound + part * (self.value - relaxation.bound) if self.best is not None else np.inf
            keep = relaxation.bound + relaxation.excess <= guess * (1 + _SAME)
            fewer = rows if keep.all() else rows.only(keep)
            if len(fewer.starts) < groups or (part < 1 and len(fewer.loss) > 0.7 * len(rows.loss)):
                continue  # some layer or link has nothing left, or there is hardly anything to gain
            if not self._integer(fewer):
                return False
            if self.value <= guess:
                return True
        return True

    def _integer(self, rows: Rows) -> bool:
        """Searches what is left; whether to the end."""
        cuts: list[integer.Cut] = []
        for _ in range(_CUTS):
            if self.clock.over:
                return False
            outcome = integer.minimise(
                rows.loss, rows.group, rows.matrix, rows.ties, whole=len(rows.layer), cuts=cuts, time_limit=self.clock.left
            )
            if outcome.chosen is None:
                return outcome.state == "infeasible"
            inside = self._offer(rows.decided(outcome.chosen))
            if outcome.state == "stopped":
                return False
            if inside:
                return True
            cuts.append(cover(rows, outcome.chosen))
        return False
