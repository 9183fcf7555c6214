"""Solvers held against brute force."""

from __future__ import annotations

import numpy as np

from hwdse.errors import InfeasibleBudget
from hwdse.problem import Problem, Solution
from hwdse.solvers import solve
from hwdse.testing import brute_force


def attempt(problem: Problem, method: str) -> Solution | None:
    try:
        return solve(problem, method)
    except InfeasibleBudget:
        return None


def above_free(problem: Problem, loss: float) -> float:
    """How far a loss lies above what each layer alone would like: what tolerances are relative to."""
    cells = np.where(problem.choices.allowed, problem.loss.dense[0], np.inf)
    return loss - float(cells.min(axis=1).sum())


def close(problem: Problem, loss: float, best: float) -> bool:
    return abs(loss - best) <= 1e-9 * above_free(problem, best) + 1e-12 * abs(best)


def check(problem: Problem, method: str) -> None:
    best, found = brute_force(problem), attempt(problem, method)
    if best is None or found is None:
        assert best is None
        assert found is None
        return
    assert found.loss >= best[0] or close(problem, found.loss, best[0])
    assert found.bound <= best[0] or close(problem, found.bound, best[0])
    assert problem.feasible(problem.choices.indices(found.allocation))[0]
    assert all(price >= 0 for price in found.shadow_prices.values())
    if found.status == "OPTIMAL":
        assert close(problem, found.loss, best[0])
    else:
        assert method in ("greedy", "relaxed")
