from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from strategies import problems

from hwdse.choices import Choices
from hwdse.constraints import Budget, Constraint
from hwdse.costs import CostTable
from hwdse.errors import UnknownName, UsageError
from hwdse.formats import Allocation, LayerFormat, grid
from hwdse.metrics import LATENCY, LOSS, WEIGHTS, Metric
from hwdse.problem import Problem, Solution, loss_table
from hwdse.testing import everything

OPTIONS = grid([4, 8], [8])
W4, W8 = OPTIONS
LAYERS = ("a", "b")


def problem(budget: Budget | None = None, **changes: np.ndarray) -> Problem:
    cost = changes.get("cost", np.array([[1.0, 2.0], [1.0, 2.0]]))
    loss = changes.get("loss", np.array([[1.0, 0.0], [2.0, 0.0]]))
    return Problem(
        Choices(LAYERS, OPTIONS, np.ones((2, 2), bool)),
        CostTable.one_row(LOSS, LAYERS, OPTIONS, loss),
        (CostTable.one_row(Metric("latency", "s", on="t4"), LAYERS, OPTIONS, cost),),
        budget or Budget(),
    )


def at(*widths: LayerFormat) -> Allocation:
    return Allocation(dict(zip(LAYERS, widths, strict=True)))


def test_costs_loss_slack_and_what_is_broken() -> None:
    metric = problem().costs[0].metric
    p = problem(Budget((Constraint(metric, 3.0), Constraint(metric, 1.0))))
    assert p.cost_of(at(W4, W8)) == {"latency@t4": 3.0}
    assert p.loss_of(at(W4, W8)) == 1.0
    assert p.slack({"latency@t4": 3.0}) == {"latency@t4 <= 3 s": 0.0, "latency@t4 <= 1 s": -2.0}
    assert [c.limit for c in p.broken(at(W4, W8))] == [1.0]


@given(problems())
@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=50)
def test_feasible_against_one_at_a_time(p: Problem) -> None:
    every = everything(p.choices)[:60]
    for chosen, good in zip(every, p.feasible(every), strict=True):
        allocation = p.choices.allocation(chosen)
        assert good == (not p.broken(allocation))


def test_a_budget_on_a_metric_without_a_table() -> None:
    with pytest.raises(UnknownName, match=r"unknown metric in the budget 'weights'\. Known: latency@t4"):
        problem(Budget((Constraint(WEIGHTS, 1.0),)))


def test_a_loss_of_many_rows_is_refused() -> None:
    p = problem()
    rows = replace(p.loss, fixed=np.zeros(2), row_names=("x", "y"))
    with pytest.raises(UsageError, match="the loss table must have one row, got 2"):
        p.with_loss(rows)


def test_unsupported_options_leave_the_choices_of_tied_layers_too() -> None:
    cost = np.array([[1.0, np.inf], [1.0, 2.0]])
    assert problem(cost=cost).choices.allowed.tolist() == [[True, False], [True, True]]
    p = problem()
    tied = replace(p.choices, weight_ties=(LAYERS,))
    table = CostTable.one_row(LATENCY, LAYERS, OPTIONS, cost)
    assert Problem(tied, p.loss, (table,)).choices.allowed.tolist() == [[True, False], [True, False]]


def test_a_layer_that_the_device_cannot_run() -> None:
    cost = np.array([[1.0, 1.0], [np.inf, np.inf]])
    with pytest.raises(UsageError) as caught:
        problem(cost=cost)
    assert str(caught.value) == "layer 'b' may take w4a8, w8a8, and t4 runs none of them (it runs: nothing there); allow other widths."
    p = problem()
    table = CostTable.one_row(LATENCY, LAYERS, OPTIONS, np.array([[1.0, 1.0], [1.0, np.inf]]))
    with pytest.raises(UsageError, match=r"layer 'b' may take w8a8, and the device runs none of them \(it runs: w4a8\)"):
        Problem(p.choices.pin({"b": W8}), p.loss, (table,))


def test_a_loss_that_diverged_leaves_the_choices() -> None:
    assert problem(loss=np.array([[np.inf, 0.0], [1.0, 0.0]])).choices.allowed.tolist() == [[False, True], [True, True]]
    with pytest.raises(UsageError, match=r"layer 'a' may take w4a8, w8a8, and the loss table is finite at none of them \(it is at: none\)"):
        problem(loss=np.array([[np.inf, np.inf], [1.0, 0.0]]))


def test_tables_in_another_order_are_aligned() -> None:
    p = problem()
    turned = CostTable.one_row(LATENCY, ("b", "a"), OPTIONS[::-1], np.array([[4.0, 3.0], [2.0, 1.0]]))
    q = Problem(p.choices, p.loss, (turned,))
    assert q.cost_of(at(W4, W8)) == {"latency": 1.0 + 4.0}
    assert q.cost_of(at(W8, W4)) == {"latency": 2.0 + 3.0}


def solution(p: Problem, allocation: Allocation, **rest: object) -> Solution:
    return Solution.checked(p, allocation, status="FEASIBLE", solver="test", seconds=0.0, **rest)  # type: ignore[arg-type]


def test_a_checked_solution_holds_the_numbers_of_the_tables() -> None:
    metric = problem().costs[0].metric
    limit = Constraint(metric, 3.0)
    found = solution(problem(Budget((limit,))), at(W4, W8), shadow_prices={str(limit): 0.5})
    assert (found.loss, found.costs, found.slack) == (1.0, {"latency@t4": 3.0}, {"latency@t4 <= 3 s": 0.0})
    assert found.binding == "latency@t4 <= 3 s"
    assert found.bound == -np.inf
    assert solution(problem(Budget((limit,))), at(W4, W8)).binding is None


def test_an_allocation_over_budget_is_never_a_solution() -> None:
    p = problem(Budget((Constraint(problem().costs[0].metric, 3.0),)))
    with pytest.raises(UsageError, match="test: the allocation is over budget: latency@t4 <= 3 s, found 4 s"):
        solution(p, at(W8, W8))


def test_an_allocation_outside_the_choices_is_never_a_solution() -> None:
    p = problem()
    tied = Problem(replace(p.choices, weight_ties=(LAYERS,)), p.loss, p.costs)
    with pytest.raises(UsageError, match="test: tied layers must share one weight format, got int4 for a, int8 for b"):
        solution(tied, at(W4, W8))


def test_a_loss_table_never_rises_with_the_widths() -> None:
    table = loss_table(problem().choices, np.array([[1.0, 2.0], [3.0, 0.5]]))
    assert table.cells.tolist() == [[1.0, 1.0], [3.0, 0.5]]
    assert table.metric == LOSS
