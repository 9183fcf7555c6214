"""Solvers by name, the choice among them, and many budgets of one problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Protocol

from ..constraints import Budget
from ..errors import InfeasibleBudget, SolverError
from ..interrupts import check
from ..problem import Problem, Solution
from ..registry import find
from .greedy import greedy
from .knapsack import TooManyStates
from .lagrangian import lagrangian
from .milp import milp
from .one_row import OneRow, rows_of
from .program import Program
from .relaxed import relaxed
from .rows import tightest

GROUP = "hwdse.solvers"


class Solver(Protocol):
    """Solves a problem. Plug-ins may leave out ``time_limit``; it is passed only where it is set."""

    def __call__(self, problem: Problem, /, *, time_limit: float | None = None) -> Solution:
        """The allocation, checked by :meth:`~hwdse.problem.Solution.checked`; raises InfeasibleBudget where there is none."""
        ...


SOLVERS: Mapping[str, Solver] = {
    "milp": milp,
    "lagrangian": lagrangian,
    "greedy": greedy,
    "relaxed": relaxed,
}


def solve(problem: Problem, method: str = "auto", *, time_limit: float | None = None) -> Solution:
    """The allocation with the smallest loss inside the budget.

    Args:
        problem: what to solve.
        method: a solver's name. ``"auto"`` is exact: ``lagrangian`` for at most one row in all, without edges, whose ties decompose, else
            ``milp``. ``Solution.solver`` says which one it was.
        time_limit: seconds. The exact solvers then return the best allocation found, FEASIBLE, with its bound. Without one they go
            on until the proof, which may never end where loss is a linear function of cost (a subset-sum problem).

    Raises:
        InfeasibleBudget: no allocation is inside; says what can be reached. UnknownName: no such method.
        SolverError: nothing found in time, or a problem that the method does not take.
    """
    return _run(problem, method, time_limit, _Prepared(problem, tightest(problem.budget)))


def solve_many(
    problem: Problem, budgets: Sequence[Budget], method: str = "auto", *, time_limit: float | None = None
) -> list[Solution | InfeasibleBudget]:
    """One problem under several budgets, in order; a budget that cannot be met gives its error instead of a solution.

    What no limit changes is computed once per set of metrics. ``time_limit`` is per budget.
    """
    prepared: dict[tuple[str, ...], _Prepared] = {}
    out: list[Solution | InfeasibleBudget] = []
    for budget in budgets:
        keys = tuple(tightest(budget))
        limited = problem.with_budget(budget)
        if keys not in prepared:
            prepared[keys] = _Prepared(limited, keys)
        try:
            out.append(_run(limited, method, time_limit, prepared[keys]))
        except InfeasibleBudget as error:
            out.append(error)
    return out


class _Prepared:
    """What no limit changes, made when first asked for."""

    def __init__(self, problem: Problem, metrics: Iterable[str]) -> None:
        self.problem, self.metrics = problem, tuple(metrics)

    @cached_property
    def program(self) -> Program:
        return Program.of(self.problem, self.metrics)

    @cached_property
    def one_row(self) -> OneRow | None:
        """None where there are more rows, edges, or ties that do not decompose."""
        if rows_of(self.program) > 1:
            return None
        try:
            return OneRow(self.program)
        except SolverError:
            return None


def _run(problem: Problem, method: str, time_limit: float | None, prepared: _Prepared) -> Solution:
    check()
    try:
        return _by(problem, method, time_limit, prepared)
    finally:
        check()  # a stop request reaches a solver's own process too: what that answers then is no answer


def _by(problem: Problem, method: str, time_limit: float | None, prepared: _Prepared) -> Solution:
    if method in ("auto", "lagrangian"):
        one_row = prepared.one_row
        if method == "lagrangian" or one_row is not None:
            try:
                return lagrangian(problem, time_limit=time_limit, program=prepared.program, one_row=one_row)
            except TooManyStates:
                if method == "lagrangian":
                    raise
        return milp(problem, time_limit=time_limit, program=prepared.program)
    for name, solver in (("milp", milp), ("greedy", greedy), ("relaxed", relaxed)):
        if name == method:
            return solver(problem, time_limit=time_limit, program=prepared.program)
    other = find("solver", SOLVERS, method, GROUP)
    return other(problem) if time_limit is None else other(problem, time_limit=time_limit)
