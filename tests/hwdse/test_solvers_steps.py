"""The next step of a limit against brute force over all allocations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwdse.constraints import Budget
from hwdse.errors import InfeasibleBudget, SolverError
from hwdse.problem import Problem
from hwdse.solvers import next_step, solve
from hwdse.testing import everything, random_problem


def first_fall(problem: Problem, key: str, limit: float, now: float) -> tuple[float, float] | None:
    """The least cost above the limit at which a better allocation lies inside the other limits, and the least loss at that cost."""
    every = everything(problem.choices)
    others = problem.with_budget(Budget(tuple(c for c in problem.budget if c.metric.key != key)))
    inside = every[others.feasible(every)]
    cost, loss = problem.table[key].totals(inside), problem.loss.totals(inside)
    better = loss < now - 1e-9 * abs(now)
    if not better.any():
        return None
    least = float(cost[better].min())
    return least, float(loss[cost <= least * (1 + 1e-12)].min())


@pytest.mark.parametrize("seed", range(24))
def test_the_next_step_is_the_least_limit_that_lowers_the_loss(seed: int) -> None:
    problem = random_problem(seed, layers=5, budgets=1 + seed % 2, rows=1 + seed % 3)
    try:
        now = solve(problem).loss
    except InfeasibleBudget:
        return
    for c in problem.budget:
        found, best = next_step(problem, c, now), first_fall(problem, c.metric.key, c.limit, now)
        if found is None or best is None:
            assert found is None
            assert best is None
            continue
        assert found.unchanged <= best[0] * (1 + 1e-12)  # nothing lies below what is said to change nothing
        assert found.limit - found.unchanged <= 1e-4 * c.limit * (1 + 1e-9)
        assert best[0] <= found.limit * (1 + 1e-12) <= best[0] + 2e-4 * c.limit
        raised = Budget(tuple(replace(b, limit=found.limit) if b is c else b for b in problem.budget))
        assert solve(problem.with_budget(raised)).loss == pytest.approx(found.loss)
        assert found.loss < now


def test_a_limit_above_all_costs_has_no_next_step() -> None:
    problem = random_problem(3)
    (c,) = problem.budget
    wide = replace(c, limit=100 * c.limit)
    problem = problem.with_budget(Budget((wide,)))
    assert next_step(problem, wide, solve(problem).loss) is None


def test_what_is_not_proven_in_time_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = random_problem(3, layers=4)
    (c,) = problem.budget
    best = solve(problem)
    monkeypatch.setattr("hwdse.solvers.steps.solve", lambda *a, **k: replace(best, status="FEASIBLE", loss=np.inf))
    with pytest.raises(SolverError, match="not proven in time"):
        next_step(problem, c, best.loss)
