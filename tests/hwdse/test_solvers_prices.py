"""Shadow prices against differences of a linear program that is written down a second time, here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog

from hwdse.choices import Choices
from hwdse.constraints import Budget, Constraint
from hwdse.costs import CostTable
from hwdse.errors import InfeasibleBudget
from hwdse.formats import LayerFormat
from hwdse.metrics import ACTIVATIONS, ENERGY, LATENCY, LOSS, WEIGHTS
from hwdse.problem import Problem
from hwdse.solvers import SOLVERS, prices, solve
from hwdse.testing import everything, random_problem

SEVERAL = sorted(set(SOLVERS) - {"lagrangian"})  # solvers that take more than one row
TOLERANCES = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


class Relaxation:
    """The value of the linear program over all allowed options, in units of ``scale``."""

    def __init__(self, problem: Problem, scale: float) -> None:
        choices = problem.choices
        self.scale = scale
        layer, option = np.nonzero(choices.allowed)
        loss = np.where(choices.allowed, problem.loss.dense[0], np.inf)
        self.loss = (loss - loss.min(axis=1, keepdims=True))[layer, option] / scale
        self.rows, self.fixed, self.key = [], [], []
        for limit in problem.budget:
            table = problem.table[limit.metric.key]
            for cells, fixed in zip(table.dense, table.fixed, strict=True):
                self.rows.append(cells[layer, option])
                self.fixed.append(fixed)
                self.key.append(limit.metric.key)
        self.equal = [(layer == i).astype(float) for i in range(len(choices.layers))]
        self.right = [1.0] * len(self.equal)
        for ties, bits in ((choices.weight_ties, choices.weight_bits), (choices.activation_ties, choices.activation_bits)):
            for first, *others in ties:
                for other in others:
                    for width in sorted(set(bits.tolist())):
                        at = (bits[option] == width).astype(float)
                        self.equal.append(at * (layer == choices.position[first]) - at * (layer == choices.position[other]))
                        self.right.append(0.0)

    def value(self, limits: dict[str, float]) -> float:
        unit = np.array([limits[key] for key in self.key])
        right = 1 - np.array(self.fixed) / unit
        answer = linprog(
            self.loss, A_ub=np.array(self.rows) / unit[:, None], b_ub=right, A_eq=np.array(self.equal), b_eq=self.right, method="highs",
            options=TOLERANCES,
        )  # fmt: skip
        return float(answer.fun) * self.scale if answer.status == 0 else np.inf


def holds(problem: Problem, method: str) -> int:
    """Asserts that every price is the slope of the linear program to the right of the limit; how many were above 0."""
    try:
        found = solve(problem, method)
    except InfeasibleBudget:
        return 0
    above = found.loss - float(np.where(problem.choices.allowed, problem.loss.dense[0], np.inf).min(axis=1).sum())
    relaxation = Relaxation(problem, above if above > 0 else float(problem.loss.dense.max()))
    limits = {c.metric.key: c.limit for c in problem.budget}
    here = relaxation.value(limits)
    positive = 0
    for c in problem.budget:
        step = 1e-4 * c.limit
        right = (here - relaxation.value({**limits, c.metric.key: c.limit + step})) / step
        price = found.shadow_prices[str(c)]
        assert abs(price - right) <= 1e-3 * price + 1e-8 * relaxation.scale / step, (method, str(c), price, right)
        positive += price > 0
    return positive


def limited(problem: Problem, rng: np.random.Generator) -> Problem:
    """Limits somewhere inside what the allocations cost."""
    every = everything(problem.choices)
    limits = []
    for table in problem.costs:
        totals = np.sort(table.totals(every))
        limits.append(Constraint(table.metric, float(totals[0] + rng.uniform(0.05, 0.7) * (totals[-1] - totals[0]))))
    return problem.with_budget(Budget(tuple(limits)))


def made(seed: int, kind: str) -> Problem:
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-12, 12) if kind == "scaled" else 1.0
    rows = 1 if kind == "one row" else int(rng.integers(1, 6))
    problem = random_problem(seed, layers=6, budgets=1 if kind == "one row" else int(rng.integers(1, 3)), rows=rows, loss_scale=scale)
    problem = limited(problem, rng)
    if kind == "decades":  # each layer's losses have another order of magnitude
        orders = 10.0 ** rng.uniform(-12, 12, (len(problem.loss.cells), 1))
        problem = problem.with_loss(replace(problem.loss, cells=problem.loss.cells * orders))
    if kind == "exact":  # sizes in whole KiB, and limits that one allocation meets exactly: kinks of the linear program
        costs = tuple(
            replace(t, cells=np.where(np.isfinite(t.cells), np.ceil(6 * t.cells) * 1024, np.inf), fixed=np.round(3 * t.fixed) * 1024)
            for t in problem.costs
        )
        every = everything(problem.choices)
        one = every[rng.integers(len(every))][None]
        problem = replace(problem, costs=costs)
        problem = problem.with_budget(Budget(tuple(Constraint(t.metric, float(t.totals(one)[0])) for t in costs)))
    return problem


@pytest.mark.parametrize("kind", ["one row", "scaled", "decades", "exact"])
def test_prices_are_the_slope_of_the_linear_program(kind: str) -> None:
    """90 random problems in all, and every solver that takes them."""
    positive = 0
    for seed in range(22 if kind != "exact" else 24):
        problem = made(seed, kind)
        for method in sorted(SOLVERS) if kind == "one row" else SEVERAL:
            positive += holds(problem, method)
    assert positive >= 10  # it is about prices above 0


def one_layer(cost: list[float], loss: list[float], limit: float, rows: int = 1) -> Problem:
    options = (LayerFormat.of(2, 8), LayerFormat.of(4, 8), LayerFormat.of(8, 8))[: len(cost)]
    choices = Choices(("a",), options, np.ones((1, len(cost)), bool))
    shape = (rows, len(cost))
    table = CostTable(
        ACTIVATIONS, ("a",), options, np.tile(np.array(cost), (rows, 1)), np.arange(rows), np.zeros(rows, int), np.zeros(rows),
        np.zeros(shape, np.int8),
    )  # fmt: skip
    return Problem(choices, CostTable.one_row(LOSS, ("a",), options, np.array([loss])), (table,), Budget((Constraint(ACTIVATIONS, limit),)))


@pytest.mark.parametrize("method", SEVERAL)
@pytest.mark.parametrize("rows", [1, 3])
def test_an_option_that_breaks_a_limit_by_itself_keeps_the_price(method: str, rows: int) -> None:
    """Room 2 holds 1 and not 3, which would lose 1 less: half a unit of loss per unit of room."""
    found = solve(one_layer([1.0, 3.0], [1.0, 0.0], 2.0, rows), method)
    assert found.loss == 1.0
    assert list(found.shadow_prices.values()) == [pytest.approx(0.5)]
    assert found.binding is not None


@pytest.mark.parametrize("method", SEVERAL)
def test_two_limits_that_bind_alike_have_no_price_alone(method: str) -> None:
    """More room under one of two equal rows changes nothing: the other one holds."""
    plain = one_layer([1.0, 3.0], [1.0, 0.0], 2.0)
    (table,) = plain.costs
    both = Problem(
        plain.choices, plain.loss, (table, replace(table, metric=WEIGHTS)), Budget((Constraint(ACTIVATIONS, 2.0), Constraint(WEIGHTS, 2.0)))
    )
    assert list(solve(both, method).shadow_prices.values()) == [0.0, 0.0]


@pytest.mark.parametrize("method", SEVERAL)
def test_a_huge_loss_that_nothing_takes_leaves_the_prices_of_the_small_ones(method: str) -> None:
    """Scores of 1e-9 beside a narrowest width that loses 1e12."""
    rng = np.random.default_rng(0)
    layers, options = tuple(f"l{i}" for i in range(8)), (LayerFormat.of(2, 8), LayerFormat.of(4, 8), LayerFormat.of(8, 8))
    loss = np.sort(rng.random((8, 3)) * 1e-9)[:, ::-1]
    loss[:, 0] = 1e12
    tables = tuple(CostTable.one_row(m, layers, options, np.sort(rng.random((8, 3)))) for m in (LATENCY, ENERGY))
    limits = [float(t.cells[:, 1].sum() + 0.4 * (t.cells[:, 2] - t.cells[:, 1]).sum()) for t in tables]
    choices = Choices(layers, options, np.ones((8, 3), bool))
    budget = Budget(tuple(Constraint(t.metric, limit) for t, limit in zip(tables, limits, strict=True)))
    assert holds(Problem(choices, CostTable.one_row(LOSS, layers, options, loss), tables, budget), method) >= 1


@pytest.mark.parametrize("method", SEVERAL)
def test_what_cannot_be_proven_is_absent(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "linprog", lambda *a, **k: type("Failed", (), {"status": 4})())
    found = solve(one_layer([1.0, 3.0], [1.0, 0.0], 2.0, rows=3), method)
    assert found.shadow_prices == {}
    assert found.binding is None
