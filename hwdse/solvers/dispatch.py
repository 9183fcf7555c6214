"""Solvers by name, and the choice among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..constraints import Budget
from ..errors import InfeasibleBudget
from ..problem import Problem, Solution
from ..registry import find
from .greedy import greedy
from .milp import milp

SOLVERS: Mapping[str, Callable[..., Solution]] = {
    "milp": milp,
    "greedy": greedy,
}


def solve(problem: Problem, method: str = "auto", *, time_limit: float | None = None) -> Solution:
    """Solves a problem."""
    if method == "auto":
        method = "milp"
    return find("solver", SOLVERS, method, "hwdse.solvers")(problem, time_limit=time_limit)


def solve_many(problem: Problem, budgets: Sequence[Budget], method: str = "auto") -> list[Solution | InfeasibleBudget]:
    out: list[Solution | InfeasibleBudget] = []
    for budget in budgets:
        try:
            out.append(solve(problem.with_budget(budget), method))
        except InfeasibleBudget as error:
            out.append(error)
    return out
