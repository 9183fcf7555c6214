"""Where numerical tolerances would lie: limits met exactly, losses of very different size, time limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pulp
import pytest

from hwdse.choices import Choices, IntArray
from hwdse.constraints import Budget, Constraint
from hwdse.costs import CostTable
from hwdse.errors import SolverError
from hwdse.formats import LayerFormat, grid
from hwdse.metrics import BITOPS, ENERGY, LATENCY, LOSS
from hwdse.problem import Problem, Solution
from hwdse.solvers import integer, solve
from hwdse.testing import brute_force, everything

OPTIONS = (LayerFormat.of(2, 8), LayerFormat.of(4, 8), LayerFormat.of(8, 8))


def problem(loss: np.ndarray, cost: np.ndarray, limit: float, metric=LATENCY) -> Problem:
    names = tuple(f"l{i}" for i in range(len(loss)))
    options = OPTIONS[: loss.shape[1]]
    choices = Choices(names, options, np.ones(loss.shape, bool))
    return Problem(
        choices,
        CostTable.one_row(LOSS, names, options, loss),
        (CostTable.one_row(metric, names, options, cost),),
        Budget((Constraint(metric, limit),)),
    )


@pytest.mark.parametrize("method", ["milp", "lagrangian"])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e15])
@pytest.mark.parametrize("seed", range(5))
def test_a_limit_that_is_met_exactly_is_inside(method: str, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    loss = np.sort(rng.random((6, 3)))[:, ::-1]
    cost = np.sort(rng.random((6, 3))) * scale
    free = problem(loss, cost, 0.0)
    chosen = rng.integers(0, 3, 6)
    exact = free.with_budget(Budget((Constraint(LATENCY, float(free.costs[0].totals(chosen)[0])),)))
    best = brute_force(exact)
    assert best is not None
    assert solve(exact, method).loss == pytest.approx(best[0], rel=1e-12)


@pytest.mark.parametrize("method", ["milp", "lagrangian", "greedy", "relaxed"])
def test_the_smallest_reachable_cost_is_a_limit_that_works(method: str) -> None:
    rng = np.random.default_rng(1)
    cost = rng.random((9, 3))
    low = problem(rng.random((9, 3)), cost, float(np.array([cost.min(axis=1)]).sum()))
    found = solve(low, method)
    assert list(low.choices.indices(found.allocation)) == list(cost.argmin(axis=1))


@pytest.mark.parametrize("method", ["milp", "lagrangian"])
@pytest.mark.parametrize("order", [1e6, 1e9, 1e15])
@pytest.mark.parametrize("seed", range(8))
def test_a_huge_loss_that_nobody_takes_does_not_hide_the_small_ones(method: str, order: float, seed: int) -> None:
    """One layer would lose 1e15 at its narrowest; the others differ by about 1. Absolute tolerances would drop them."""
    rng = np.random.default_rng(seed)
    loss = rng.random((9, 3))
    cost = np.sort(rng.random((9, 3)))
    loss[0] = [order, order / 2, 0.0]
    p = problem(loss, cost, float(np.quantile(cost.sum(axis=0), 0.5)) + float(cost[0, 2]))
    best = brute_force(p)
    assert best is not None
    assert best[0] < 100
    found = solve(p, method)
    assert found.status == "OPTIMAL"
    assert found.loss == pytest.approx(best[0], rel=1e-9)


def test_unscaled_objectives_of_fisher_scores() -> None:
    """Scores of 1e-9 lie below the absolute tolerances of integer solvers (a known toolkit spent 5.52 of 8.0 bits)."""
    rng = np.random.default_rng(0)
    bits = np.array([2.0, 4.0, 8.0])
    scores = 10.0 ** rng.uniform(-9, -7, 12)
    p = problem(scores[:, None] * 4.0**-bits, np.tile(bits, (12, 1)), 60.0)
    for method in ("milp", "lagrangian"):
        assert solve(p, method).loss == pytest.approx(brute_force_by_counts(p), rel=1e-9)


def brute_force_by_counts(p: Problem) -> float:
    best = np.inf
    every = everything(p.choices)
    for begin in range(0, len(every), 100_000):
        part: IntArray = every[begin : begin + 100_000]
        inside = part[p.feasible(part)]
        if len(inside):
            best = min(best, float(p.loss.totals(inside).min()))
    return best


def test_an_answer_over_budget_is_cut_off_and_the_search_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver that ignores the rows stands for one whose tolerances let an answer over the limit."""
    rng = np.random.default_rng(2)
    p = problem(np.sort(rng.random((5, 3)))[:, ::-1], np.sort(rng.random((5, 3))), 2.4)
    best = brute_force(p)
    assert best is not None
    real, cuts = integer.minimise, []

    def careless(objective, group, rows, ties, **rest):  # type: ignore[no-untyped-def]
        cuts.append(len(rest.get("cuts", ())))
        return real(objective, group, rows * 0.6, ties, **rest)

    monkeypatch.setattr(integer, "minimise", careless)
    monkeypatch.setattr("hwdse.solvers.milp.walk", lambda rows: None)
    monkeypatch.setattr("hwdse.solvers.milp.rounded", lambda rows, relaxation: None)
    found = solve(p, "milp")
    assert found.loss == pytest.approx(best[0])
    assert max(cuts) >= 1


def hard(layers: int = 150) -> Problem:
    """Loss and three costs almost proportional: no integer solver ends on it in a second."""
    rng = np.random.default_rng(3)
    options = grid(range(2, 9), (4, 8))
    names = tuple(f"l{i}" for i in range(layers))
    choices = Choices(names, options, np.ones((layers, len(options)), bool))
    cells = [rng.integers(10**5, 10**6, (layers, len(options))).astype(float) for _ in range(3)]
    tables = tuple(CostTable.one_row(m, names, options, c) for m, c in zip((LATENCY, ENERGY, BITOPS), cells, strict=True))
    loss = sum(c.max() - c for c in cells)
    limits = tuple(Constraint(t.metric, float(c.mean(axis=1).sum())) for t, c in zip(tables, cells, strict=True))
    return Problem(choices, CostTable.one_row(LOSS, names, options, np.asarray(loss)), tables, Budget(limits))


def test_a_time_limit_gives_a_feasible_answer_with_a_true_bound() -> None:
    p = hard()
    found: Solution = solve(p, "milp", time_limit=1.0)
    assert found.status == "FEASIBLE"
    assert found.bound < found.loss
    assert found.seconds < 8
    assert p.feasible(p.choices.indices(found.allocation))[0]


def test_a_time_limit_without_any_answer_is_not_called_infeasible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwdse.solvers.milp.walk", lambda rows: None)
    monkeypatch.setattr("hwdse.solvers.milp.rounded", lambda rows, relaxation: None)
    monkeypatch.setattr(integer, "minimise", lambda *a, **k: integer.Outcome("stopped", None))
    with pytest.raises(SolverError, match="no allocation inside the budget was found in 5 s; allow more time"):
        solve(hard(10), "milp", time_limit=5.0)


def test_lagrangian_under_a_time_limit_keeps_its_bound() -> None:
    rng = np.random.default_rng(0)
    cost = np.sort(rng.integers(10**8, 10**9, (60, 3)).astype(float))
    p = problem(cost.max() - cost, cost, float(cost[:, 1].sum()) + 0.5)
    found = solve(p, "lagrangian", time_limit=0.0)
    assert found.status == "FEASIBLE"
    assert found.bound <= found.loss


def without_highs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(program: object, time_limit: float | None) -> None:
        raise pulp.PulpSolverError("HiGHS: Not Available")

    monkeypatch.setattr(integer, "_highs", fails)


def test_without_highs_the_bundled_cbc_solves(monkeypatch: pytest.MonkeyPatch) -> None:
    p = with_two_limits()
    one = solve(p, "milp")
    without_highs(monkeypatch)
    two = solve(p, "milp")
    assert two.status == one.status == "OPTIMAL"
    assert two.loss == pytest.approx(one.loss, rel=1e-9)


def test_integer_solvers_that_are_missing_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    without_highs(monkeypatch)
    monkeypatch.setattr(integer, "_PATH", "/nonexistent/cbc")
    with pytest.raises(SolverError, match=r"HiGHS cannot be run: .*Not Available; CBC cannot be run"):
        solve(with_two_limits(), "milp")


def with_two_limits() -> Problem:
    rng = np.random.default_rng(4)
    first = problem(rng.random((12, 3)), np.sort(rng.random((12, 3))), 5.0)
    second = CostTable.one_row(ENERGY, first.choices.layers, OPTIONS, np.sort(rng.random((12, 3))))
    return Problem(first.choices, first.loss, (*first.costs, second), Budget((*first.budget, Constraint(ENERGY, 5.0))))


def test_a_row_with_no_room_at_all() -> None:
    """A limit of 0 is met where every layer has an option that costs nothing."""
    cost = np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 1.0]])
    p = problem(np.array([[5.0, 1.0, 0.0], [2.0, 1.0, 0.0]]), cost, 0.0)
    for method in ("milp", "lagrangian", "greedy", "relaxed"):
        assert solve(p, method).loss == 6.0


def test_the_fixed_part_counts_against_the_limit() -> None:
    p = problem(np.array([[1.0, 0.0]]), np.array([[1.0, 2.0]]), 5.0)
    for fixed, loss in ((3.0, 0.0), (3.5, 1.0)):
        table = replace(p.costs[0], fixed=np.array([fixed]))
        q = Problem(p.choices, p.loss, (table,), p.budget)
        for method in ("milp", "lagrangian", "greedy", "relaxed"):
            assert solve(q, method).loss == loss
