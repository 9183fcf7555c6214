"""Edges, the pairwise part of cost tables: what they add, and every solver against brute force with them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import check, close
from strategies import problems

from hwdse.allocators.cost_slopes import CostSlopes
from hwdse.allocators.width_groups import WidthGroups
from hwdse.choices import Choices
from hwdse.constraints import Budget, Constraint, parse_constraint
from hwdse.costs import CostTable, FloatArray
from hwdse.edges import Edges
from hwdse.errors import InfeasibleBudget, SolverError, UsageError
from hwdse.formats import LayerFormat, grid
from hwdse.metrics import LATENCY, LOSS, WEIGHTS
from hwdse.problem import Problem
from hwdse.solvers import SOLVERS, solve, solve_many
from hwdse.storage import tables_from_bytes, tables_to_bytes
from hwdse.testing import brute_force, everything, random_problem

slow = settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
OPTIONS = grid([4, 8], [4, 8])
DIFFERENT = np.array([[float(a.activation.bits != b.activation.bits) for b in OPTIONS] for a in OPTIONS])


def chain(conversion: float, limit: float, layers: int = 6, options: tuple[LayerFormat, ...] = OPTIONS) -> Problem:
    """Layers in a row, each costing its two widths' sum, a conversion between neighbours of different activation width."""
    names = tuple(f"l{i}" for i in range(layers))
    bits = np.array([o.weight.bits + o.activation.bits for o in options], float)
    gain = np.array([1.0 + (i % 2) for i in range(layers)])  # every second layer is twice as sensitive
    ends = np.array(list(pairwise(range(layers))), np.intp)
    edges = Edges(ends, np.zeros(layers - 1, np.intp), np.tile(conversion * DIFFERENT, (layers - 1, 1, 1)))
    cost = replace(CostTable.one_row(LATENCY, names, options, np.tile(bits, (layers, 1))), edges=edges)
    loss = CostTable.one_row(LOSS, names, options, np.outer(gain, 16 - bits))
    choices = Choices(names, options, np.ones((layers, len(options)), bool))
    return Problem(choices, loss, (cost,), Budget((Constraint(LATENCY, limit),)))


def with_edges(seed: int, rows: int = 2) -> CostTable:
    return next(t for s in range(seed, seed + 99) for t in random_problem(s, rows=rows, edges=True).costs if t.edges is not None)


class TestTable:
    @given(st.integers(0, 2**32))
    @settings(deadline=None, max_examples=40)
    def test_totals_against_a_plain_loop(self, seed: int) -> None:
        table = with_edges(seed % 10_000)
        assert table.edges is not None
        chosen = np.random.default_rng(seed).integers(0, len(table.options), (7, len(table.layers)))
        without = replace(table, edges=None).row_totals(chosen)
        for one, rows, plain in zip(chosen, table.row_totals(chosen), without, strict=True):
            want = plain.copy()
            for (a, b), row, cells in zip(table.edges.ends, table.edges.row, table.edges.cells, strict=True):
                want[row] += cells[one[a], one[b]]
            np.testing.assert_allclose(rows, want)
        np.testing.assert_allclose(table.totals(chosen), table.row_totals(chosen).max(axis=1))
        allocation = {n: table.options[j] for n, j in zip(table.layers, chosen[0], strict=True)}
        assert table.total(allocation) == pytest.approx(table.totals(chosen)[0])

    def test_many_allocations_go_in_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        table = with_edges(1)
        chosen = np.random.default_rng(0).integers(0, len(table.options), (50, len(table.layers)))
        whole = table.totals(chosen)
        monkeypatch.setattr("hwdse.edges.CHUNK", 7)
        np.testing.assert_array_equal(table.totals(chosen), whole)

    def test_a_table_of_edges_alone(self) -> None:
        problem = chain(2.0, 100.0)
        table = problem.costs[0]
        nothing = np.zeros((0, len(OPTIONS)))
        only = replace(table, cells=nothing, row=np.zeros(0, np.intp), layer=np.zeros(0, np.intp), sources=nothing.astype(np.int8))
        assert only.totals(np.array([[0, 1, 0, 1, 1, 0]])).tolist() == [2.0 * 4]

    @pytest.mark.parametrize("seed", range(5))
    def test_shares_add_up(self, seed: int) -> None:
        table = with_edges(seed)
        chosen = np.random.default_rng(seed).integers(0, len(table.options), len(table.layers))
        if np.isfinite(table.totals(chosen)[0]):
            worst = int(np.argmax(table.row_totals(chosen)[0]))
            assert sum(table.by_source(chosen).values()) == pytest.approx(1)
            assert table.by_layer(chosen).sum() + table.fixed[worst] == pytest.approx(table.totals(chosen)[0])

    def test_an_edge_counts_for_the_layer_that_reads(self) -> None:
        table = chain(2.0, 100.0, 3).costs[0]
        assert table.by_layer(np.array([0, 1, 1])).tolist() == [8, 12 + 2, 12]
        assert table.by_source(np.array([0, 1, 1]))["conversions"] == pytest.approx(2 / 34)

    def test_aligned_to_other_layers_and_options(self) -> None:
        table = with_edges(3)
        rng = np.random.default_rng(0)
        order, some = rng.permutation(len(table.layers)), (4, 0, 3)
        names, options = tuple(table.layers[i] for i in order), tuple(table.options[j] for j in some)
        turned = table.aligned(Choices(names, options, np.ones((len(names), len(options)), bool)))
        chosen = rng.integers(0, len(options), (20, len(names)))
        before = np.zeros_like(chosen)
        before[:, order] = np.array(some)[chosen]
        np.testing.assert_allclose(turned.row_totals(chosen), table.row_totals(before))

    def test_stored_and_read_back(self) -> None:
        table = with_edges(2)
        back = tables_from_bytes(tables_to_bytes({"a": table, "b": replace(table, edges=None)}))
        for one, two in zip(back["a"].numbers, table.numbers, strict=True):
            np.testing.assert_array_equal(one, two)
        assert back["b"].edges is None

    def test_fingerprints_see_them(self) -> None:
        table = with_edges(2)
        assert table.edges is not None
        dearer = replace(table, edges=replace(table.edges, cells=table.edges.cells + 1))
        assert len({b"".join(a.tobytes() for a in t.numbers) for t in (table, dearer, replace(table, edges=None))}) == 3

    def test_no_edges_are_none(self) -> None:
        table = chain(1.0, 1.0).costs[0]
        empty = Edges(np.zeros((0, 2), np.intp), np.zeros(0, np.intp), np.zeros((0, 3, 3)))
        assert replace(table, edges=empty).edges is None

    @pytest.mark.parametrize(
        ("ends", "row", "cells", "message"),
        [
            ([[0, 0]], [0], np.ones((1, 4, 4)), "two different layers"),
            ([[0, 1]], [0], -np.ones((1, 4, 4)), "finite and not negative"),
            ([[0, 1]], [0], np.full((1, 4, 4), np.inf), "finite and not negative"),
            ([[0, 1]], [0], np.ones((1, 4, 3)), "do not fit"),
            ([[0, 1]], [0, 0], np.ones((1, 4, 4)), "do not fit"),
            ([[0, 1]], [0], np.ones((1, 3, 3)), "do not fit"),
            ([[0, 9]], [0], np.ones((1, 4, 4)), "do not fit"),
            ([[0, 1]], [1], np.ones((1, 4, 4)), "do not fit"),
            ([[0, -1]], [0], np.ones((1, 4, 4)), "do not fit"),
        ],
    )
    def test_malformed_edges(self, ends: list[list[int]], row: list[int], cells: FloatArray, message: str) -> None:
        table = chain(1.0, 1.0).costs[0]
        with pytest.raises(UsageError, match=message):
            replace(table, edges=Edges(np.array(ends), np.array(row), cells))

    def test_a_loss_of_pairs_is_refused(self) -> None:
        problem = chain(1.0, 60.0)
        with pytest.raises(UsageError, match="loss table must be a sum over layers"):
            problem.with_loss(replace(problem.loss, edges=problem.costs[0].edges))


class TestSolvers:
    @slow
    @given(problems(edges=1, min_budgets=1))
    @pytest.mark.parametrize("method", ["auto", "milp", "greedy", "relaxed"])
    def test_against_brute_force(self, method: str, problem: Problem) -> None:
        check(problem, method)

    @slow
    @given(problems(max_budgets=3, max_rows=4, max_layers=4, min_budgets=2, edges=1))
    @pytest.mark.parametrize("method", ["milp", "greedy", "relaxed"])
    def test_several_budgets_and_rows_against_brute_force(self, method: str, problem: Problem) -> None:
        check(problem, method)

    @slow
    @given(problems(min_budgets=1, edges=1))
    def test_edges_of_nothing_change_nothing(self, problem: Problem) -> None:
        zero = tuple(replace(t, edges=t.edges and replace(t.edges, cells=0 * t.edges.cells)) for t in problem.costs)
        none = tuple(replace(t, edges=None) for t in problem.costs)
        found = []
        for costs in (zero, none):
            try:
                found.append(solve(replace(problem, costs=costs), "milp").loss)
            except InfeasibleBudget as error:
                found.append(error.reachable)
        assert found[0] == pytest.approx(found[1], rel=1e-9) or close(problem, found[0], found[1])

    @slow
    @given(problems(max_layers=4, max_budgets=1, min_budgets=1, edges=1))
    def test_the_least_cost_of_an_infeasible_budget_is_the_true_one(self, problem: Problem) -> None:
        (constraint,) = problem.budget
        least = float(problem.table[constraint.metric.key].totals(everything(problem.choices)).min())
        if constraint.holds(least):
            solve(problem)
            return
        with pytest.raises(InfeasibleBudget) as caught:
            solve(problem)
        assert caught.value.reachable == pytest.approx(least, rel=1e-9)

    @pytest.mark.parametrize("method", ["milp", "greedy", "relaxed"])
    @pytest.mark.parametrize("limit", [48.0, 72.0, 84.0, 96.0])
    def test_dear_conversions_make_one_width_of_a_chain(self, method: str, limit: float) -> None:
        """Where any conversion costs more than the room, activations share one width: the best uniform one that fits, and weights
        take the rest of the room, sensitive layers first.
        """
        problem = chain(1000.0, limit)
        found = solve(problem, method)
        room, best = limit - 48.0, np.inf
        for wide in (False, True):  # activations at 8 bits cost 4 more in each of 6 layers
            left = room - 24.0 * wide
            if left >= 0:
                wider = int(min(left // 4, 6))  # layers whose weights go to 8 bits
                gains = [2.0] * 3 + [1.0] * 3
                best = min(best, 8 * 9.0 - 4 * 9.0 * wide - 4 * sum(gains[:wider]))
        assert found.loss == pytest.approx(best)
        assert len({w.activation.bits for w in found.allocation.values()}) == 1

    def test_a_conversion_is_worth_its_cost(self) -> None:
        """Three layers: the middle one gains 4 nat from 4 more bits at cost 4 and two conversions."""
        names, options = ("a", "b", "c"), grid([8], [4, 8])
        step = np.array([[0.0, 1.0], [1.0, 0.0]])
        edges = Edges(np.array([[0, 1], [1, 2]]), np.zeros(2, np.intp), np.array([step, step]))
        cost = replace(CostTable.one_row(LATENCY, names, options, np.tile([0.0, 4.0], (3, 1))), edges=edges)
        loss = CostTable.one_row(LOSS, names, options, np.array([[1.0, 0.0], [4.0, 0.0], [1.5, 0.0]]))
        choices = Choices(names, options, np.ones((3, 2), bool))
        for limit, want in ((4.9, 6.5), (5.0, 5.0), (6.0, 2.5), (9.0, 1.0), (12.0, 0.0)):
            problem = Problem(choices, loss, (cost,), Budget((Constraint(LATENCY, limit),)))
            found = solve(problem)
            assert (found.loss, found.status) == (pytest.approx(want), "OPTIMAL")
            brute = brute_force(problem)
            assert brute is not None
            assert brute[0] == want

    def test_no_budget_on_the_table_with_edges_needs_no_integer_program(self) -> None:
        problem = chain(3.0, 70.0)
        other = replace(problem.costs[0], metric=WEIGHTS, edges=None)
        free = Problem(problem.choices, problem.loss, (*problem.costs, other), Budget((Constraint(WEIGHTS, 70.0),)))
        assert solve(free).solver == "lagrangian"
        assert solve(problem).solver == "milp"

    def test_the_lagrangian_refuses_them_and_says_what_to_do(self) -> None:
        with pytest.raises(SolverError, match="converts between layers of different widths; use method 'milp' or 'auto'"):
            solve(chain(3.0, 70.0), "lagrangian")

    def test_many_budgets(self) -> None:
        problem = chain(3.0, 70.0)
        budgets = [Budget((Constraint(LATENCY, limit),)) for limit in (40.0, 50.0, 65.0, 80.0)]
        found = solve_many(problem, budgets)
        assert isinstance(found[0], InfeasibleBudget)
        for budget, one in zip(budgets[1:], found[1:], strict=True):
            best = brute_force(problem.with_budget(budget))
            assert not isinstance(one, InfeasibleBudget)
            assert best is not None
            assert one.loss == pytest.approx(best[0])

    def test_the_price_is_the_slope_of_the_relaxation(self) -> None:
        problem = chain(3.0, 131.3, 12)
        for method in ("milp", "relaxed", "greedy"):
            found = solve(problem, method)
            (limit,) = problem.budget
            more = solve(problem.with_budget(Budget((replace(limit, limit=limit.limit * 1.0001),))), "relaxed")
            less = solve(problem, "relaxed")
            assert found.shadow_prices[str(limit)] == pytest.approx((less.bound - more.bound) / (limit.limit * 1e-4), rel=1e-4)

    def test_a_relative_limit_takes_the_uniform_allocation_with_its_pins(self) -> None:
        problem = chain(3.0, 70.0)
        pinned = problem.choices.pin({"l0": LayerFormat.of(8, 8)})
        limit = parse_constraint("latency <= 50% of w4a4", problem.costs, pinned).limit
        assert limit == 0.5 * (16 + 5 * 8 + 3)

    def test_fifty_layers_in_a_chain_at_49_options(self) -> None:
        rng = np.random.default_rng(0)
        options, layers = grid(range(2, 9), range(2, 9)), 50
        names = tuple(f"l{i}" for i in range(layers))
        w, a = (np.array([getattr(o, k).bits for o in options], float) for k in ("weight", "activation"))
        cells = rng.lognormal(3, 1, (layers, 1)) * (w * a) ** rng.uniform(0.5, 1, (layers, 1))
        size = rng.lognormal(0, 1, layers - 1)
        changed = (a[:, None] != a) * (0.1 * cells[:, -1].sum() * size / size.sum())[:, None, None]
        edges = Edges(np.array(list(pairwise(range(layers)))), np.zeros(layers - 1, np.intp), changed)
        cost = replace(CostTable.one_row(LATENCY, names, options, cells), edges=edges)
        loss = rng.lognormal(0, 2, (layers, 1)) * 4.0**-w + rng.lognormal(0, 2, (layers, 1)) * 4.0**-a
        choices = Choices(names, options, np.ones(cells.shape, bool))
        limit = Constraint(LATENCY, 0.4 * float(cells[:, -1].sum()))
        problem = Problem(choices, CostTable.one_row(LOSS, names, options, loss), (cost,), Budget((limit,)))
        best = solve(problem)
        assert best.status == "OPTIMAL"
        assert best.seconds < 20  # 0.3 s on one core
        for method in ("greedy", "relaxed"):
            found = solve(problem, method)
            assert found.bound <= best.loss <= found.loss <= 1.25 * best.loss
        blind = solve(replace(problem, costs=(replace(cost, edges=None),)))
        assert changes(blind.allocation.values()) > changes(best.allocation.values())


def changes(widths: object) -> int:
    return sum(x.activation != y.activation for x, y in pairwise(widths))  # type: ignore[call-overload]  # of allocations


class TestSlopes:
    """AdaQAT's cost gradient is the true difference: neighbours as they are."""

    @settings(slow, max_examples=100)
    @given(problems(max_layers=4, max_budgets=2, max_rows=1, ties=False, min_budgets=1, edges=1), st.data())
    def test_one_row_is_the_difference_of_two_allocations(self, problem: Problem, data: st.DataObject) -> None:
        groups = data.draw(st.sampled_from([WidthGroups.network, WidthGroups.layer]))(problem)
        widths = np.array([data.draw(st.sampled_from(levels.tolist())) for levels in groups.levels])
        slopes = CostSlopes(groups, tuple(problem.table), groups.levels[:, -1])
        moves = slopes.moves(widths, groups.levels[:, 0] == groups.levels[:, -1])
        for unit in np.unique(moves.unit[moves.bits != 0]):
            mine = moves.unit == unit
            fall = slopes.costs(widths) - slopes.costs(np.where(mine, moves.other, widths))
            scale = np.abs(slopes.costs(widths)).max()
            assert np.allclose(moves.slopes[mine], fall / moves.bits[mine][0], rtol=1e-9, atol=1e-9 * scale)

    def test_a_table_that_costs_nothing_at_the_start_is_seen(self) -> None:
        problem = chain(1.0, 96.0, 3)
        table = problem.costs[0]
        free = replace(problem, costs=(replace(table, cells=0 * table.cells + np.array([3.0, 2.0, 1.0, 0.0])),))
        groups = WidthGroups.layer(free)
        slopes = CostSlopes(groups, ("latency",), groups.levels[:, -1])
        assert slopes.costs(groups.levels[:, -1]).tolist() == [0.0]
        falls = slopes._falls(groups.levels[:, -1], np.full(6, 4), np.arange(6), [np.ones(1)])
        assert falls[:, 0].tolist() == [-2, -2, -2, -2, -3, -2]

    def test_leaving_the_neighbours_costs_two_conversions(self) -> None:
        problem = chain(1.0, 96.0, 3)
        groups = WidthGroups.layer(problem)
        moves = CostSlopes(groups, ("latency",), groups.levels[:, -1]).moves(groups.levels[:, -1], np.zeros(6, bool))
        assert (moves.slopes[:, 0] * 48 * 4).tolist() == pytest.approx([4, 4, 4, 4 - 1, 4 - 2, 4 - 1])

    def test_a_network_moves_without_converting(self) -> None:
        problem = chain(1.0, 96.0, 3)
        groups = WidthGroups.network(problem)
        moves = CostSlopes(groups, ("latency",), groups.levels[:, -1]).moves(groups.levels[:, -1], np.zeros(2, bool))
        assert (moves.slopes[:, 0] * 48 * 4).tolist() == pytest.approx([12, 12])


@pytest.mark.parametrize(("method", "seed"), [*product(sorted(set(SOLVERS) - {"lagrangian"}), range(12))])
def test_ties_and_edges_together(method: str, seed: int) -> None:
    """Random problems, more layers than the strategies draw."""
    check(random_problem(seed, layers=6, budgets=1 + seed % 2, rows=1 + seed % 3, edges=True), method)
