"""Budgets that cannot be met: named, with what can be reached, in words that can be acted on."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from strategies import problems

from hwdse.choices import Choices
from hwdse.constraints import Budget, Constraint, parse_constraint
from hwdse.costs import CostTable
from hwdse.errors import InfeasibleBudget, SolverError, UsageError
from hwdse.formats import LayerFormat
from hwdse.metrics import BITOPS, ENERGY, LOSS, WEIGHTS, Metric
from hwdse.problem import Problem
from hwdse.solvers import solve
from hwdse.solvers.infeasible import explain
from hwdse.testing import brute_force, everything

METHODS = ("auto", "milp", "greedy", "relaxed")
T4 = Metric("latency", "s", on="t4")
OPTIONS = (LayerFormat.of(4, 8), LayerFormat.of(8, 8))


def opposed(layers: int = 3, **limits: float) -> Problem:
    """Narrow weights take little memory and much time; the other way round at 8 bits. Energy likes half and half."""
    names = tuple(f"l{i}" for i in range(layers))
    choices = Choices(names, OPTIONS, np.ones((layers, 2), bool))
    one = np.ones((layers, 1))
    tables = {
        "weights": CostTable.one_row(WEIGHTS, names, OPTIONS, one * [512.0, 1024.0]),
        "latency": CostTable.one_row(T4, names, OPTIONS, one * [2e-3, 1e-3]),
    }
    loss = CostTable.one_row(LOSS, names, OPTIONS, one * [1.0, 0.0])
    budget = Budget(tuple(Constraint(tables[k].metric, v) for k, v in limits.items()))
    return Problem(choices, loss, tuple(tables.values()), budget)


@pytest.mark.parametrize("method", [*METHODS, "lagrangian"])
def test_one_limit_out_of_reach(method: str) -> None:
    with pytest.raises(InfeasibleBudget) as caught:
        solve(opposed(weights=1024.0), method)
    assert str(caught.value) == (
        "weights <= 1 KiB cannot be met: the smallest reachable weights is 1.5 KiB. "
        "Raise the limit to 1.5 KiB or more, or allow narrower widths."
    )
    assert (caught.value.metric, caught.value.limit, caught.value.reachable, caught.value.other) == ("weights", 1024.0, 1536.0, None)


@pytest.mark.parametrize("method", METHODS)
def test_two_limits_that_conflict(method: str) -> None:
    with pytest.raises(InfeasibleBudget) as caught:
        solve(opposed(weights=2048.0, latency=4e-3), method)
    error = caught.value
    assert {error.metric, error.other} == {"weights", "latency@t4"}
    both = {"weights": "with latency@t4 <= 4 ms the smallest reachable weights is 2.5 KiB, the limit is 2 KiB."}
    both["latency@t4"] = "with weights <= 2 KiB the smallest reachable latency@t4 is 5 ms, the limit is 4 ms."
    assert str(error).startswith(both[error.metric])
    assert "Each can be met alone: raise" in str(error)
    assert error.reachable == pytest.approx({"weights": 2560.0, "latency@t4": 5e-3}[error.metric])


def three_way() -> Problem:
    """One layer, three options, each over one of three limits: any two limits leave one option, all three none."""
    options = (LayerFormat.of(2, 8), LayerFormat.of(4, 8), LayerFormat.of(8, 8))
    choices = Choices(("a",), options, np.ones((1, 3), bool))
    tables = [CostTable.one_row(m, ("a",), options, 1.0 + np.eye(3)[[i]]) for i, m in enumerate((WEIGHTS, ENERGY, BITOPS))]
    loss = CostTable.one_row(LOSS, ("a",), options, np.zeros((1, 3)))
    return Problem(choices, loss, tuple(tables), Budget(tuple(Constraint(t.metric, 1.0) for t in tables)))


@pytest.mark.parametrize("method", METHODS)
def test_three_limits_that_conflict_only_together(method: str) -> None:
    with pytest.raises(InfeasibleBudget) as caught:
        solve(three_way(), method)
    assert str(caught.value) == (
        "with energy <= 1 J and bitops <= 1 BitOPs the smallest reachable weights is 2 B, the limit is 1 B. "
        "All 3 limits conflict together, and any fewer of them can be met: raise one of them."
    )
    assert caught.value.other is None


@pytest.mark.parametrize("place", range(3))
def test_limits_outside_the_conflict_are_not_named(place: int) -> None:
    problem = opposed(weights=2048.0, latency=4e-3)
    names = problem.choices.layers
    third = CostTable.one_row(ENERGY, names, OPTIONS, np.array([[1.0, 2.0]] * 3))  # its limit can bind, and hurts nobody
    limits = list(problem.budget)
    limits.insert(place, Constraint(ENERGY, 5.0))
    with pytest.raises(InfeasibleBudget) as caught:
        solve(Problem(problem.choices, problem.loss, (*problem.costs, third), Budget(tuple(limits))))
    assert {caught.value.metric, caught.value.other} == {"weights", "latency@t4"}
    assert "energy" not in str(caught.value)


def test_the_tighter_of_two_limits_on_one_metric_is_named() -> None:
    problem = opposed(weights=1400.0)
    limits = (Constraint(WEIGHTS, 1400.0), Constraint(WEIGHTS, 1024.0), Constraint(WEIGHTS, 1300.0))
    with pytest.raises(InfeasibleBudget, match="weights <= 1 KiB cannot be met") as caught:
        solve(problem.with_budget(Budget(limits)))
    assert caught.value.limit == 1024.0


def test_a_metric_with_many_rows() -> None:
    """Peak of two rows: the smallest reachable is a minimum of a maximum, found by the integer program."""
    names = ("a", "b")
    choices = Choices(names, OPTIONS, np.ones((2, 2), bool))
    # row 0 falls with a's width, row 1 rises with it; b adds to both
    cells = np.array([[5.0, 1.0], [1.0, 2.0], [1.0, 6.0], [1.0, 2.0]])
    rows = np.array([0, 0, 1, 1])
    peak = CostTable(WEIGHTS, names, OPTIONS, cells, rows, np.array([0, 1, 0, 1]), np.array([0.0, 0.5]), np.zeros((4, 2), np.int8))
    loss = CostTable.one_row(LOSS, names, OPTIONS, np.zeros((2, 2)))
    problem = Problem(choices, loss, (peak,), Budget((Constraint(WEIGHTS, 3.0),)))
    smallest = float(peak.totals(everything(choices)).min())
    for method in METHODS:
        with pytest.raises(InfeasibleBudget, match="the smallest reachable weights is 6 B") as caught:
            solve(problem, method)
        assert caught.value.reachable == smallest == 6.0


def test_a_conflict_hidden_in_ties() -> None:
    names = ("a", "b")
    choices = Choices(names, OPTIONS, np.ones((2, 2), bool), (names,))
    cost = CostTable.one_row(WEIGHTS, names, OPTIONS, np.array([[1.0, 3.0], [3.0, 1.0]]))
    loss = CostTable.one_row(LOSS, names, OPTIONS, np.zeros((2, 2)))
    problem = Problem(choices, loss, (cost,), Budget((Constraint(WEIGHTS, 3.0),)))
    for method in (*METHODS, "lagrangian"):
        with pytest.raises(InfeasibleBudget, match="the smallest reachable weights is 4 B"):
            solve(problem, method)


@given(problems(max_budgets=2, max_rows=3, min_budgets=1))
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_what_is_called_reachable_is_the_smallest(problem: Problem) -> None:
    if brute_force(problem) is not None:
        return
    with pytest.raises(InfeasibleBudget) as caught:
        solve(problem)
    error = caught.value
    every = everything(problem.choices)
    if error.other is not None:
        limit = next(c for c in problem.budget if c.metric.key == error.other)
        every = every[problem.with_budget(Budget((limit,))).feasible(every)]
        assert len(every)
    smallest = float(problem.table[error.metric].totals(every).min())
    assert error.reachable == pytest.approx(smallest, rel=1e-9)
    assert error.limit < error.reachable


@given(problems(max_budgets=1, max_rows=3, min_budgets=1))
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_the_number_in_the_sentence_works_as_the_next_limit(problem: Problem) -> None:
    try:
        solve(problem)
    except InfeasibleBudget as error:
        words = re.search(r"Raise the limit to (.+) or more", str(error))
        assert words is not None
        key = error.metric
        again = parse_constraint(f"{key} <= {words[1]}", problem.costs, problem.choices)
        solve(problem.with_budget(Budget((again,))))


def test_a_budget_that_can_be_met_is_not_explained_away() -> None:
    with pytest.raises(SolverError, match="called a budget infeasible that can be met"):
        explain(opposed(weights=2048.0, latency=1.0))


@pytest.mark.parametrize("cycle", [False, True])
@pytest.mark.parametrize("limited", [False, True])
def test_ties_that_nothing_can_hold_are_not_blamed_on_the_budget(cycle: bool, limited: bool) -> None:
    """Each width of one layer has its like in the next, but no choice of widths fits all of them."""
    options = (LayerFormat.of(4, 4), LayerFormat.of(4, 8), LayerFormat.of(8, 4), LayerFormat.of(8, 8))
    same, different = [True, False, False, True], [False, True, True, False]
    if cycle:
        allowed, ties = np.array([same, same, same, different]), ((("a", "b"), ("c", "d")), (("b", "c"), ("d", "a")))
    else:
        allowed, ties = np.array([same, different, [True] * 4, [True] * 4]), ((("a", "b"),), (("a", "b"),))
    choices = Choices(("a", "b", "c", "d"), options, allowed, *ties)
    table = CostTable.one_row(WEIGHTS, choices.layers, options, np.ones((4, 4)))
    loss = CostTable.one_row(LOSS, choices.layers, options, np.zeros((4, 4)))
    problem = Problem(choices, loss, (table,), Budget((Constraint(WEIGHTS, 9.0),) if limited else ()))
    for method in METHODS:
        with pytest.raises(UsageError, match=r"no widths hold all the ties between a, b.*untie them, or allow others"):
            solve(problem, method)
