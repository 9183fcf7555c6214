"""The front that a device allows, before anything is measured: the smallest expected loss at every limit on one cost.

One problem solved under limits from the least reachable cost to that of the best widths. The front is proven for the loss table; how good
that is as a prediction is for measurement to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .constraints import Budget, Constraint
from .errors import InfeasibleBudget
from .pareto import nondominated
from .problem import Problem, Solution
from .solvers import solve, solve_many


@dataclass(frozen=True)
class Rung:
    """One point of the front: its cost in stored units, and the solution."""

    cost: float
    solution: Solution

    @property
    def loss(self) -> float:
        """Expected loss increase, nats."""
        return self.solution.loss


def ladder(problem: Problem, metric: str, points: int = 16) -> list[Rung]:
    """The front over one metric, cheapest first, without dominated points.

    Args:
        problem: its own budget holds throughout.
        metric: key of one of its cost tables.
        points: limits that are tried, evenly from the least reachable cost to the cost of the smallest loss.

    Raises:
        InfeasibleBudget: the problem's own budget cannot be met.
    """
    best = solve(problem)
    highest = best.costs[metric]
    lowest = least(problem, metric)
    limits = np.linspace(lowest, highest, max(points, 2))
    return merged([Rung(best.costs[metric], best), *solved(problem, metric, (limits[:-1] * (1 + 1e-9)).tolist())])


def solved(problem: Problem, metric: str, limits: Sequence[float]) -> list[Rung]:
    """The best allocation inside each limit; limits out of reach give none."""
    budgets = [Budget((*problem.budget, Constraint(problem.table[metric].metric, limit))) for limit in limits]
    return [Rung(s.costs[metric], s) for s in solve_many(problem, budgets) if isinstance(s, Solution)]


def merged(rungs: Sequence[Rung]) -> list[Rung]:
    """Those that no other beats, cheapest first."""
    kept = nondominated(np.array([[r.cost, r.loss] for r in rungs]))
    return sorted((r for r, keep in zip(rungs, kept, strict=True) if keep), key=lambda r: r.cost)


def least(problem: Problem, metric: str) -> float:
    """The smallest cost that any allocation reaches, other limits aside."""
    try:
        return solve(problem.with_budget(Budget((Constraint(problem.table[metric].metric, 0.0),)))).costs[metric]
    except InfeasibleBudget as error:
        return error.reachable


def at(rungs: Sequence[Rung], limit: float) -> Rung | None:
    """The best rung whose cost is at most ``limit``; None below the first."""
    inside = [r for r in rungs if r.cost <= limit * (1 + 1e-9)]
    return inside[-1] if inside else None
