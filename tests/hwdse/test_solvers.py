"""Solvers against brute force, against one another, and under changes that must not matter."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import above_free, check
from strategies import problems

from hwdse.choices import Choices
from hwdse.constraints import Budget, Constraint
from hwdse.costs import CostTable
from hwdse.errors import InfeasibleBudget, SolverError, UnknownName
from hwdse.formats import LayerFormat, grid
from hwdse.metrics import ENERGY, LATENCY, LOSS, WEIGHTS
from hwdse.problem import Problem
from hwdse.solvers import SOLVERS, solve
from hwdse.testing import random_problem

slow = settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))


@slow
@given(problems())
@pytest.mark.parametrize("method", ["auto", "milp", "greedy", "relaxed"])
def test_any_problem_against_brute_force(method: str, problem: Problem) -> None:
    check(problem, method)


@slow
@given(problems(max_budgets=3, max_rows=4, max_layers=4, min_budgets=2))
def test_several_budgets_and_rows_against_brute_force(problem: Problem) -> None:
    check(problem, "milp")


@settings(slow, max_examples=200)
@given(problems(max_budgets=1, max_rows=1, min_budgets=1, edges=0))
def test_one_row_against_brute_force(problem: Problem) -> None:
    try:
        check(problem, "lagrangian")
    except SolverError as error:
        assert "cycle" in str(error)  # noqa: PT017 (the only refusal allowed)


def network(
    seed: int, layers: int = 30, metrics: int = 1, tightness: float = 0.4, ties: bool = True, rows: int = 1, cost: float = 1.0
) -> Problem:
    """A problem of the size of a network, at {2..8} x {4, 8}."""
    rng = np.random.default_rng(seed)
    options = grid(range(2, 9), (4, 8))
    names = tuple(f"l{i}" for i in range(layers))
    w, a = (np.array([getattr(o, k).bits for o in options]) for k in ("weight", "activation"))
    activation_ties = tuple((names[i], names[i + 1]) for i in range(2, layers - 1, 5)) if ties else ()
    weight_ties = ((names[0], names[1]),) if ties and layers > 1 else ()
    choices = Choices(names, options, np.ones((layers, len(options)), bool), weight_ties, activation_ties)
    size = rng.lognormal(3, 1, (metrics, layers, 1)) * cost
    tables = []
    for metric, s in zip((LATENCY, WEIGHTS, ENERGY), size, strict=False):
        cells = s * (w * a) ** rng.uniform(0.5, 1, (layers, 1)) * rng.uniform(0.9, 1.1, (layers, len(options)))
        if rows > 1:
            place = np.sort(rng.integers(0, rows, layers))
            empty = np.zeros(cells.shape, np.int8)
            tables.append(CostTable(metric, names, options, cells, place, np.arange(layers), np.zeros(rows), empty))
        else:
            tables.append(CostTable.one_row(metric, names, options, cells))
    loss = rng.lognormal(0, 2, (layers, 1)) * 4.0**-w + rng.lognormal(0, 2, (layers, 1)) * 4.0**-a
    limits = []
    for t in tables:
        low = t.totals(np.zeros((1, layers), np.intp))[0]
        high = t.totals(np.full((1, layers), len(options) - 1))[0]
        limits.append(Constraint(t.metric, float(low + tightness * (high - low))))
    return Problem(choices, CostTable.one_row(LOSS, names, options, loss), tuple(tables), Budget(tuple(limits)))


@pytest.mark.parametrize("seed", range(8))
def test_lagrangian_and_integer_program_agree(seed: int) -> None:
    problem = network(seed, tightness=0.1 + 0.1 * seed)
    one, two = solve(problem, "lagrangian"), solve(problem, "milp")
    assert one.status == two.status == "OPTIMAL"
    assert one.loss == pytest.approx(two.loss, rel=1e-9)
    assert one.solver == "lagrangian"
    assert two.solver == "milp"


@pytest.mark.parametrize("method", ["greedy", "relaxed"])
@pytest.mark.parametrize("seed", range(4))
def test_heuristics_are_near_the_optimum_and_inside_their_bound(seed: int, method: str) -> None:
    problem = network(seed, metrics=1 + seed % 3)
    best, found = solve(problem, "milp"), solve(problem, method)
    assert found.status == "FEASIBLE"
    assert found.bound <= best.loss <= found.loss
    assert found.loss <= 1.25 * best.loss


def test_relaxed_and_milp_agree_on_prices_and_lagrangian_without_ties_too() -> None:
    problem = network(3, ties=False)
    text = str(problem.budget.constraints[0])
    milp, relaxed, lagrangian = (solve(problem, m).shadow_prices[text] for m in ("milp", "relaxed", "lagrangian"))
    assert milp == pytest.approx(relaxed)
    assert lagrangian == pytest.approx(relaxed)


def test_shadow_price_is_the_slope_of_the_relaxation() -> None:
    problem = network(1, metrics=2, layers=80)
    found = solve(problem, "relaxed")
    for i, constraint in enumerate(problem.budget):
        step = constraint.limit * 1e-4
        limits = list(problem.budget.constraints)
        limits[i] = replace(constraint, limit=constraint.limit + step)
        more = solve(problem.with_budget(Budget(tuple(limits))), "relaxed")
        assert (found.bound - more.bound) / step == pytest.approx(found.shadow_prices[str(constraint)], rel=0.1, abs=1e-12)


def test_the_binding_constraint_is_named_and_a_slack_one_is_not() -> None:
    problem = network(2, metrics=2)
    first, second = problem.budget
    loose = problem.with_budget(Budget((first, replace(second, limit=second.limit * 100))))
    found = solve(loose)
    assert found.binding == str(first)
    assert found.shadow_prices[str(loose.budget.constraints[1])] == 0
    free = problem.with_budget(Budget(tuple(replace(c, limit=c.limit * 100) for c in problem.budget)))
    assert solve(free).binding is None


@pytest.mark.parametrize("method", ["milp", "lagrangian"])
@pytest.mark.parametrize("loss_scale", [1e-12, 1e12])
@pytest.mark.parametrize("cost_scale", [1e-14, 1e13])
def test_units_do_not_matter(method: str, loss_scale: float, cost_scale: float) -> None:
    plain = network(5, layers=12)
    table, limit = plain.costs[0], plain.budget.constraints[0]
    scaled = Problem(
        plain.choices,
        replace(plain.loss, cells=plain.loss.cells * loss_scale),
        (replace(table, cells=table.cells * cost_scale),),
        Budget((replace(limit, limit=limit.limit * cost_scale),)),
    )
    one, two = solve(plain, method), solve(scaled, method)
    assert two.status == "OPTIMAL"
    assert two.loss == pytest.approx(one.loss * loss_scale, rel=1e-9)
    assert plain.loss_of(two.allocation) == pytest.approx(one.loss, rel=1e-9)
    assert two.shadow_prices[str(scaled.budget.constraints[0])] * cost_scale / loss_scale == pytest.approx(
        one.shadow_prices[str(limit)], rel=1e-6
    )


@pytest.mark.parametrize("method", ["milp", "lagrangian"])
def test_more_room_is_never_worse(method: str) -> None:
    losses = [solve(network(7, layers=15, tightness=f), method).loss for f in np.linspace(0.01, 1, 12)]
    assert all(b <= a * (1 + 1e-12) for a, b in pairwise(losses))


@pytest.mark.parametrize("method", ["milp", "greedy", "relaxed"])
def test_a_budget_stated_twice_counts_once_and_the_tighter_limit_holds(method: str) -> None:
    problem = network(4, layers=10)
    limit = problem.budget.constraints[0]
    looser = replace(limit, limit=limit.limit * 1.5)
    one, two = solve(problem, method), solve(problem.with_budget(Budget((looser, limit, limit))), method)
    assert two.loss == pytest.approx(one.loss, rel=1e-12)
    assert two.shadow_prices[str(looser)] == 0


@pytest.mark.parametrize("method", sorted(SOLVERS))
def test_a_thousand_layers(method: str) -> None:
    problem = network(0, layers=1000)
    found = solve(problem, method)
    reference = solve(problem, "lagrangian")
    assert found.bound <= reference.loss <= found.loss <= reference.loss * 1.01


def test_auto_takes_the_lagrangian_for_one_row_and_says_so() -> None:
    assert solve(network(0)).solver == "lagrangian"
    assert solve(network(0).with_budget(Budget())).solver == "lagrangian"
    assert solve(network(0, metrics=2)).solver == "milp"
    assert solve(network(0, rows=3)).solver == "milp"


def cyclic(limit: float) -> Problem:
    """Two layers tied twice over through two others: their joint options do not factor."""
    names, options = ("a", "b", "c", "d"), grid((4, 8), (4, 8))
    choices = Choices(names, options, np.ones((4, 4), bool), (("a", "b"), ("c", "d")), (("b", "c"), ("d", "a")))
    rng = np.random.default_rng(0)
    loss = CostTable.one_row(LOSS, names, options, rng.random((4, 4)))
    cost = CostTable.one_row(LATENCY, names, options, rng.random((4, 4)))
    return Problem(choices, loss, (cost,), Budget((Constraint(LATENCY, limit),)))


def test_ties_in_a_cycle_are_refused_by_the_lagrangian_and_solved_by_auto() -> None:
    with pytest.raises(SolverError, match=r"the ties between a, b, c, d form a cycle.*use method 'milp'"):
        solve(cyclic(2.0), "lagrangian")
    for limit in (1.2, 1.6, 2.0, 3.0):
        problem = cyclic(limit)
        for method in ("auto", "greedy", "relaxed"):
            check(problem, method)


def test_several_rows_are_refused_by_the_lagrangian() -> None:
    with pytest.raises(SolverError, match="takes one row in all, the budget has 2; use method 'milp' or 'auto'"):
        solve(network(0, metrics=2), "lagrangian")


def test_an_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"unknown solver 'mlip'; did you mean 'milp'\? Known: greedy, lagrangian, milp, relaxed"):
        solve(network(0), "mlip")


@given(st.sampled_from(["auto", "milp", "lagrangian", "greedy", "relaxed"]), st.integers(1, 3))
@settings(deadline=None, max_examples=15)
def test_without_a_budget_every_layer_takes_its_best(method: str, seed: int) -> None:
    problem = network(seed, layers=9, ties=False).with_budget(Budget())
    found = solve(problem, method)
    assert above_free(problem, found.loss) == pytest.approx(0, abs=1e-12)
    assert found.binding is None
    assert found.shadow_prices == {}


def test_unsupported_widths_are_never_chosen() -> None:
    problem = network(6, layers=8, ties=False)
    cells = problem.costs[0].cells.copy()
    cells[:, [o.weight.bits > 4 for o in problem.choices.options]] = np.inf  # the widths with the smallest loss
    limited = Problem(problem.choices, problem.loss, (replace(problem.costs[0], cells=cells),), problem.budget)
    for method in SOLVERS:
        assert all(b.weight.bits <= 4 for b in solve(limited, method).allocation.values())


def test_an_infinite_loss_is_never_chosen() -> None:
    names, options = ("a",), (LayerFormat.of(4, 8), LayerFormat.of(8, 8))
    choices = Choices(names, options, np.ones((1, 2), bool))
    cost = CostTable.one_row(LATENCY, names, options, np.array([[1.0, 2.0]]))
    loss = CostTable.one_row(LOSS, names, options, np.array([[np.inf, 3.0]]))
    problem = Problem(choices, loss, (cost,), Budget((Constraint(LATENCY, 2.0),)))
    for method in SOLVERS:
        assert solve(problem, method).loss == 3.0
    with pytest.raises(InfeasibleBudget):
        solve(problem.with_budget(Budget((Constraint(LATENCY, 1.0),))))


def test_all_losses_zero() -> None:
    problem = network(1, layers=6, metrics=2)
    flat = problem.with_loss(replace(problem.loss, cells=np.zeros_like(problem.loss.cells)))
    for method in ("auto", "milp", "greedy", "relaxed"):
        found = solve(flat, method)
        assert found.loss == found.bound == 0.0


class Entry:
    name = "mine"

    @staticmethod
    def load() -> object:
        return lambda problem: replace(solve(problem, "greedy"), solver="mine")


def test_a_plug_in_is_found_and_need_not_know_of_time_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwdse.registry.entry_points", lambda group: [Entry] if group == "hwdse.solvers" else [])
    assert solve(network(0, layers=5), "mine").solver == "mine"
    with pytest.raises(TypeError, match="time_limit"):
        solve(network(0, layers=5), "mine", time_limit=1.0)


def even(layers: int = 40) -> Problem:
    """Losses that fall exactly as costs rise: every allocation of one cost is as good as another, up to the last digit."""
    rng = np.random.default_rng(0)
    options = grid(range(2, 9), (8,))
    names = tuple(f"l{i}" for i in range(layers))
    cost = np.sort(rng.integers(10**8, 10**9, (layers, 7)).astype(float))
    table = CostTable.one_row(LATENCY, names, options, cost)
    loss = CostTable.one_row(LOSS, names, options, cost.max() - cost)
    limit = Constraint(LATENCY, float(cost[:, 3].sum()) + 0.5)
    return Problem(Choices(names, options, np.ones((layers, 7), bool)), loss, (table,), Budget((limit,)))


def test_too_many_states_are_refused_by_the_lagrangian_and_go_to_the_integer_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwdse.solvers.knapsack._STATES", 20_000)
    with pytest.raises(SolverError, match=r"too many allocations lie within rounding of one another.*use method 'milp'"):
        solve(even(), "lagrangian")
    found = solve(even(), time_limit=1.0)
    assert found.solver == "milp"
    assert found.bound <= found.loss


def test_many_layers_on_one_tensor_are_joined_by_fronts() -> None:
    """A tensor read by ten layers (cross-attention): 7^10 joint options per activation width, a few hundred that matter."""
    plain = network(2, layers=14, ties=False)
    tied = Problem(
        replace(plain.choices, activation_ties=(plain.choices.layers[2:12],), weight_ties=(plain.choices.layers[10:12],)),
        plain.loss, plain.costs, plain.budget,
    )  # fmt: skip
    one, two = solve(tied, "lagrangian"), solve(tied, "milp")
    assert one.loss == pytest.approx(two.loss, rel=1e-9)
    assert len({b.activation.bits for n, b in one.allocation.items() if n in plain.choices.layers[2:12]}) == 1


@pytest.mark.parametrize("method", ["greedy", "relaxed"])
def test_heuristics_without_a_start_of_their_own_ask_the_integer_program(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwdse.solvers.moves.Moves.cheapest", lambda self: None)
    monkeypatch.setattr("hwdse.solvers.moves.Moves.priced", lambda self, duals: None)
    for seed in range(12):
        check(random_problem(seed, budgets=1 + seed % 2, rows=1 + seed % 3), method)
