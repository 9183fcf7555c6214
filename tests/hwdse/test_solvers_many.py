"""Several budgets of one problem: the same answers as one by one."""

from __future__ import annotations

import numpy as np
import pytest

from hwdse.constraints import Budget, Constraint
from hwdse.errors import InfeasibleBudget, UnknownName
from hwdse.metrics import LATENCY, WEIGHTS
from hwdse.problem import Problem
from hwdse.solvers import solve, solve_many
from hwdse.testing import everything, random_problem


def budgets(problem: Problem) -> list[Budget]:
    every = everything(problem.choices)
    totals = {t.metric: t.totals(every) for t in problem.costs}
    single = [Budget((Constraint(LATENCY, float(np.quantile(totals[LATENCY], q))),)) for q in (0.0, 0.3, 1.0)]
    other = [Budget((Constraint(WEIGHTS, float(np.quantile(totals[WEIGHTS], q))),)) for q in (0.1, 0.7)]
    both = [Budget((*single[1], *other[1])), Budget((*other[1], *single[1]))]
    beyond = [Budget((Constraint(LATENCY, float(totals[LATENCY].min()) * 0.9),))]
    return [Budget(), *single, *beyond, *other, *both]


@pytest.mark.parametrize("method", ["auto", "milp", "greedy", "relaxed"])
@pytest.mark.parametrize("seed", range(3))
def test_same_as_one_by_one(seed: int, method: str) -> None:
    problem = random_problem(seed, layers=4, budgets=2)
    wanted = budgets(problem)
    found = solve_many(problem, wanted, method)
    assert len(found) == len(wanted)
    for budget, one in zip(wanted, found, strict=True):
        if isinstance(one, InfeasibleBudget):
            with pytest.raises(InfeasibleBudget) as caught:
                solve(problem.with_budget(budget), method)
            assert str(one) == str(caught.value)
        else:
            alone = solve(problem.with_budget(budget), method)
            assert (one.allocation, one.loss, one.status, one.bound) == (alone.allocation, alone.loss, alone.status, alone.bound)
            assert one.shadow_prices == alone.shadow_prices
            assert set(one.slack) == {str(c) for c in budget}
    assert isinstance(found[4], InfeasibleBudget)


def test_no_budgets_no_answers() -> None:
    assert solve_many(random_problem(0), []) == []


def test_unknown_method_and_metric() -> None:
    problem = random_problem(1)
    with pytest.raises(UnknownName, match="unknown solver 'best'"):
        solve_many(problem, [problem.budget], "best")
    with pytest.raises(UnknownName, match="unknown metric in the budget 'weights'"):
        solve_many(problem, [Budget((Constraint(WEIGHTS, 1.0),))])
