"""A front is the best allocation inside each limit, no more and no less."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwdse.choices import Choices
from hwdse.constraints import Budget, Constraint
from hwdse.costs import CostTable
from hwdse.errors import InfeasibleBudget
from hwdse.formats import grid
from hwdse.ladder import at, ladder, least, merged, solved
from hwdse.metrics import LATENCY, LOSS, WEIGHTS
from hwdse.problem import Problem

OPTIONS = tuple(grid([2, 4, 8], [8]))
LAYERS = ("a", "b", "c")


def problem(seed: int) -> Problem:
    rng = np.random.default_rng(seed)
    loss = CostTable.one_row(LOSS, LAYERS, OPTIONS, -np.sort(-rng.random((3, 3)), axis=1))
    time = CostTable.one_row(LATENCY, LAYERS, OPTIONS, 0.1 + rng.random((3, 3)), 0.5)
    size = CostTable.one_row(WEIGHTS, LAYERS, OPTIONS, np.array([[2.0, 4.0, 8.0]] * 3))
    return Problem(Choices(LAYERS, OPTIONS, np.ones((3, 3), bool)), loss, (time, size))


def everything(made: Problem) -> np.ndarray:
    chosen = np.array(list(itertools.product(range(3), repeat=3)))
    return np.column_stack([made.table["latency"].totals(chosen), made.loss.totals(chosen)])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_every_rung_is_on_the_true_front(seed: int) -> None:
    made = problem(seed)
    true = everything(made)
    rungs = ladder(made, "latency", 6)
    assert [r.cost for r in rungs] == sorted(r.cost for r in rungs)
    for rung in rungs:
        better = (true[:, 0] <= rung.cost + 1e-12) & (true[:, 1] < rung.loss - 1e-12)
        assert not better.any()
    assert rungs[0].cost == pytest.approx(true[:, 0].min())
    assert rungs[-1].loss == pytest.approx(true[:, 1].min())
    assert least(made, "latency") == pytest.approx(true[:, 0].min())


def test_its_own_budget_holds_on_every_rung() -> None:
    made = problem(3).with_budget(Budget((Constraint(WEIGHTS, 14.0),)))
    assert all(r.solution.costs["weights"] <= 14 for r in ladder(made, "latency"))
    with pytest.raises(InfeasibleBudget, match="weights"):
        ladder(problem(3).with_budget(Budget((Constraint(WEIGHTS, 5.0),))), "latency")


def test_at_gives_the_best_inside_and_none_below() -> None:
    rungs = ladder(problem(5), "latency", 8)
    assert at(rungs, rungs[0].cost * 0.99) is None
    assert at(rungs, rungs[1].cost) is rungs[1]
    assert at(rungs, 1e9) is rungs[-1]
    assert merged([*rungs, *rungs]) == rungs
    assert solved(problem(5), "latency", [0.0]) == []
