"""AdaQAT's two gradients: the cost's one-bit differences from any table, the loss's from one backward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import problems
from torch import Tensor, nn

from hwdse.allocators import loss_slopes
from hwdse.allocators.cost_slopes import CostSlopes, Moves
from hwdse.allocators.loss_slopes import ExpandedSlopes
from hwdse.allocators.width_groups import WidthGroups
from hwdse.choices import Choices
from hwdse.costs import CostTable, FloatArray
from hwdse.formats import LayerFormat, NumberFormat, grid, plain_integer
from hwdse.metrics import LATENCY, LOSS, WEIGHTS
from hwdse.problem import Problem
from hwdse.quantized import QuantizedModel
from hwdse.quantizers import Scheme
from hwdse.trace import trace


def problem_of(cells: FloatArray, options: tuple[LayerFormat, ...], rows: tuple[int, ...] | None = None, **ties: object) -> Problem:
    """One table over layers l0, l1, ...; with ``rows``, the row of each layer."""
    names = tuple(f"l{i}" for i in range(len(cells)))
    choices = Choices(names, options, np.ones(cells.shape, bool), **ties)  # type: ignore[arg-type]  # ties
    row = np.zeros(len(names), np.intp) if rows is None else np.array(rows)
    fixed = np.zeros(row.max() + 1)
    table = CostTable(LATENCY, names, options, cells, row, np.arange(len(names)), fixed, np.zeros(cells.shape, np.int8))
    return Problem(choices, CostTable.one_row(LOSS, names, options, np.ones(cells.shape)), (table,))


def moves_of(groups: WidthGroups, widths: list[int] | None = None) -> tuple[CostSlopes, Moves]:
    start = groups.levels[:, -1]
    slopes = CostSlopes(groups, tuple(groups.problem.table), start)
    return slopes, slopes.moves(start if widths is None else np.array(widths), groups.levels[:, 0] == groups.levels[:, -1])


PRODUCTS = np.array([o.weight.bits * o.activation.bits for o in grid(range(2, 9), range(2, 9))], float)


class TestGroups:
    def test_network_has_two_and_keeps_pins(self) -> None:
        problem = problem_of(np.outer([1.0, 2.0, 3.0], PRODUCTS), grid(range(2, 9), range(2, 9)))
        groups = WidthGroups.network(replace(problem, choices=problem.choices.pin({"l0": LayerFormat.of(8, 8)})))
        assert groups.count == 2
        found = groups.problem.choices.allocation(groups.indices(np.array([3, 5])))
        assert {n: str(w) for n, w in found.items()} == {"l0": "w8a8", "l1": "w3a5", "l2": "w3a5"}

    def test_tied_layers_share_a_group_also_through_others(self) -> None:
        ties = {"weight_ties": (("l0", "l2"),), "activation_ties": (("l1", "l2"), ("l2", "l3"))}
        groups = WidthGroups.layer(problem_of(np.outer(np.ones(5), PRODUCTS), grid(range(2, 9), range(2, 9)), **ties))
        assert groups.weight.tolist() == [0, 1, 0, 2, 3]
        assert groups.activation.tolist() == [4, 5, 5, 5, 6]
        assert groups.of_weights.tolist() == [True] * 4 + [False] * 3
        assert len(set(groups.linked().tolist())) == 2  # l0..l3 through one another, l4 alone

    @settings(max_examples=60, deadline=None)
    @given(problems(max_layers=4), st.data())
    def test_every_allocation_is_permitted_and_not_narrower_where_that_is_possible(self, problem: Problem, data: st.DataObject) -> None:
        make = data.draw(st.sampled_from([WidthGroups.network, WidthGroups.layer]))
        groups = make(problem)
        widths = np.array([data.draw(st.sampled_from(levels.tolist())) for levels in groups.levels])
        found = groups.indices(widths)
        assert problem.choices.permits(found)[0]
        if not problem.choices.weight_ties and not problem.choices.activation_ties:
            assert (found == problem.choices.at_least(widths[groups.weight], widths[groups.activation])).all()


class TestCostSlopes:
    @settings(max_examples=60, deadline=None)
    @given(problems(max_layers=4, max_budgets=3, max_rows=1, ties=False, min_budgets=1), st.data())
    def test_one_row_is_the_difference_of_two_allocations(self, problem: Problem, data: st.DataObject) -> None:
        """For any metrics, pins and unsupported pairs; also where weights and activations only move together."""
        groups = data.draw(st.sampled_from([WidthGroups.network, WidthGroups.layer]))(problem)
        widths = np.array([data.draw(st.sampled_from(levels.tolist())) for levels in groups.levels])
        slopes, moves = moves_of(groups, widths.tolist())
        for unit in np.unique(moves.unit[moves.bits != 0]):
            mine = moves.unit == unit
            there = np.where(mine, moves.other, widths)
            fall = slopes.costs(widths) - slopes.costs(there)
            bits = moves.bits[mine][0]
            assert np.allclose(moves.slopes[mine], fall / bits, rtol=1e-9, atol=1e-9 * np.abs(slopes.costs(widths)).max())
            assert moves.slopes[mine].mean() > 0
            assert np.abs(widths - there).max() == abs(bits)

    def test_bitops_of_a_network_is_proportional_to_the_other_width(self) -> None:
        groups = WidthGroups.network(problem_of(np.outer([1.0, 2.0], PRODUCTS), grid(range(2, 9), range(2, 9))))
        _, moves = moves_of(groups, [5, 3])
        assert moves.other.tolist() == [4, 2]
        assert moves.slopes[:, 0] == pytest.approx([3 / 64, 5 / 64])

    def test_the_narrowest_width_looks_up(self) -> None:
        groups = WidthGroups.network(problem_of(np.outer([1.0], PRODUCTS), grid(range(2, 9), range(2, 9))))
        _, moves = moves_of(groups, [2, 3])
        assert moves.other.tolist() == [3, 2]
        assert moves.bits.tolist() == [-1, 1]
        assert moves.slopes[:, 0] == pytest.approx([3 / 64, 2 / 64])

    def test_flat_stretches_are_crossed_by_the_secant(self) -> None:
        options = grid(range(2, 9), [8])
        cells = np.array([[1.0, 1.0, 1.0, 4.0, 4.0, 4.0, 4.0]])  # widths 2..4 and 5..8 cost the same
        _, moves = moves_of(WidthGroups.network(problem_of(cells, options)))
        assert moves.other.tolist() == [4, 8]
        assert moves.slopes[:, 0] == pytest.approx([3 / 4 / 4, 0])

    def test_devices_that_gain_only_when_both_shrink(self) -> None:
        options = (LayerFormat.of(4, 4), LayerFormat.of(8, 8))
        problem = problem_of(np.array([[1.0, 4.0], [2.0, 8.0]]), options)
        _, moves = moves_of(WidthGroups.layer(problem))
        assert moves.other.tolist() == [4] * 4
        assert moves.unit[0] == moves.unit[2] != moves.unit[1] == moves.unit[3]
        assert moves.slopes[:, 0] == pytest.approx(np.array([3, 6, 3, 6]) / 12 / 4)

    def test_a_max_is_its_largest_row(self) -> None:
        options, bits = grid([8], range(2, 9)), np.arange(2, 9)
        problem = problem_of(np.outer([1.0, 5.0], bits).astype(float), options, rows=(0, 1))
        _, moves = moves_of(WidthGroups.layer(problem))
        assert moves.slopes[3, 0] == pytest.approx(1 / 8)
        assert moves.slopes[2, 0] < 1e-12

    def test_equal_rows_of_a_max_shrink_together(self) -> None:
        """No single tensor lowers the max; all of them do."""
        options, bits = grid([8], range(2, 9)), np.arange(2, 9)
        problem = problem_of(np.outer([5.0, 5.0], bits).astype(float), options, rows=(0, 1))
        _, moves = moves_of(WidthGroups.layer(problem))
        assert moves.slopes[2:, 0] == pytest.approx([1 / 16, 1 / 16])

    def test_frozen_groups_have_no_neighbour(self) -> None:
        groups = WidthGroups.network(problem_of(np.outer([1.0], PRODUCTS), grid(range(2, 9), range(2, 9))))
        slopes = CostSlopes(groups, ("latency",), groups.levels[:, -1])
        moves = slopes.moves(np.array([5, 3]), np.array([True, False]))
        assert moves.bits.tolist() == [0, 1]

    def test_a_thousand_layers_are_quick(self) -> None:
        import time

        rng = np.random.default_rng(0)
        groups = WidthGroups.layer(problem_of(np.outer(rng.random(1000), PRODUCTS), grid(range(2, 9), range(2, 9))))
        slopes, _ = moves_of(groups)
        began = time.perf_counter()
        slopes.moves(rng.integers(2, 9, groups.count), groups.levels[:, 0] == groups.levels[:, -1])
        assert time.perf_counter() - began < 1.0


class Linears(nn.Module):
    """Layers l0, l1, ... side by side: no quantiser behind another, so that the output is linear in each quantised tensor."""

    def __init__(self, count: int, width: int = 6) -> None:
        super().__init__()
        for i in range(count):
            self.add_module(f"l{i}", nn.Linear(width, width))
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.get_submodule(f"l{i}")(x * (i + 1)) for i in range(self.count)]
        return torch.stack(parts).sum(0)


def expanded(
    network: nn.Module, x: Tensor, scheme: Scheme, at: LayerFormat, order: int
) -> tuple[QuantizedModel, ExpandedSlopes, WidthGroups]:
    """The network at one pair of widths, looking one bit down."""
    graph = trace(network, (x[:1],))
    model = QuantizedModel(network, graph, scheme)
    model.observe([((x,), None)])
    choices = Choices.of(graph, range(2, 9), range(2, 9), ends=None)
    names, shape = choices.layers, choices.allowed.shape
    cost = CostTable.one_row(WEIGHTS, names, choices.options, np.ones(shape))
    groups = WidthGroups.layer(Problem(choices, CostTable.one_row(LOSS, names, choices.options, np.ones(shape)), (cost,)))
    model.set(choices.uniform(at), calibrate=True)
    slopes = ExpandedSlopes(model, groups, order)
    widths = np.where(groups.of_weights, at.weight.bits, at.activation.bits)
    slopes.aim(widths, Moves(widths - 1, np.arange(groups.count), np.ones(groups.count), np.ones((groups.count, 1))))
    return model, slopes, groups


def true_differences(model: QuantizedModel, slopes: ExpandedSlopes, groups: WidthGroups, loss: Callable[[], Tensor]) -> FloatArray:
    """(G,) L(one group at its neighbour) - L."""
    before, found = model.allocation, []
    assert before is not None
    with torch.no_grad():
        here = float(loss())
        for group in range(groups.count):
            there = np.where(np.arange(groups.count) == group, slopes.moves.other, slopes.widths)
            model.set(groups.problem.choices.allocation(groups.indices(there)))
            found.append(float(loss()) - here)
        model.set(before)
    return np.array(found)


@pytest.mark.numeric
class TestExpandedSlopes:
    @pytest.mark.parametrize("scheme", [Scheme(), Scheme("dorefa", "pact")], ids=str)
    @pytest.mark.parametrize("shared", [False, True])
    @pytest.mark.parametrize("frozen", [False, True])
    def test_first_order_is_exact_where_the_loss_is_linear(self, scheme: Scheme, shared: bool, frozen: bool) -> None:
        """Also for frozen weights, and for a weight that two layers share, which is one tensor and one group."""
        torch.manual_seed(0)
        network, pull = Linears(3).double(), torch.randn(1, 6, dtype=torch.float64)
        if shared:
            network.get_submodule("l2").weight = network.get_submodule("l0").weight
        x = torch.randn(2, 6, dtype=torch.float64).repeat_interleave(4, 0)  # every 4th sample stands for all
        network.requires_grad_(not frozen)
        model, slopes, groups = expanded(network, x, scheme, LayerFormat.of(4, 4), 1)

        def loss() -> Tensor:
            return (network(x) * pull).sum(1).mean()

        with slopes.watching():
            loss().backward()
        first, _ = slopes.differences(8)
        true = true_differences(model, slopes, groups, loss)
        assert len(true) == (5 if shared else 6)
        assert np.abs(true).min() > 1e-6
        assert first == pytest.approx(true, rel=1e-5)  # levels are float32

    def test_every_fourth_sample_is_unbiased(self, monkeypatch: pytest.MonkeyPatch) -> None:
        torch.manual_seed(0)
        network, x = Linears(2), torch.randn(12, 6)

        def sums(at: Tensor) -> FloatArray:
            network.zero_grad()
            with slopes.watching():
                network(at).pow(2).sum(1).mean().backward()
            return slopes.differences(12)

        _, slopes, _ = expanded(network, x, Scheme("dorefa", "pact"), LayerFormat.of(4, 4), 2)
        parts = [sums(x.roll(-k, 0)) for k in range(4)]
        monkeypatch.setattr(loss_slopes, "STRIDE", 1)
        assert np.mean(parts, axis=0) == pytest.approx(sums(x), rel=1e-4)

    def test_curvature_is_half_the_batch_times_the_squares(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(loss_slopes, "STRIDE", 1)
        torch.manual_seed(0)
        network, x = Linears(2), torch.randn(10, 6)
        model, slopes, _ = expanded(network, x, Scheme("dorefa", "pact"), LayerFormat.of(4, 4), 2)
        seen: list[tuple[Tensor, Tensor]] = []

        def look(path: str, what: str, floating: Tensor, q: Tensor, number: NumberFormat) -> None:
            quantizer = model.weights[path].quantizer if what == "weight" else model.inputs[path]
            q.retain_grad()
            seen.append((q, quantizer.quantize(floating, plain_integer(number.bits - 1)).detach() - q.detach()))

        with slopes.watching(), model.watched(look):
            network(x).pow(2).sum(1).mean().backward()
        _, curvature = slopes.differences(10)
        expected = [5 * float((q.grad.double() * d.double()).pow(2).sum()) for q, d in seen]  # type: ignore[union-attr]  # kept
        assert sorted(curvature) == pytest.approx(sorted(expected), rel=1e-4)

    def test_curvature_is_the_difference_that_is_expected_of_a_fitted_network_and_the_first_order_is_noise(self) -> None:
        """Targets are drawn from the network's own outputs, so its weights are the best there are: E[g] = 0, and E[g^2] is the curvature.

        What networks in training do is measured by benchmarks/allocators/slopes.py.
        """
        torch.manual_seed(0)
        network, size = Linears(2).double(), 256
        model, slopes, groups = expanded(network, torch.randn(size, 6, dtype=torch.float64), Scheme(), LayerFormat.of(4, 4), 2)
        guesses, truths = [], []
        for _ in range(24):
            x = torch.randn(size, 6, dtype=torch.float64)
            with torch.no_grad():
                target = network(x) + torch.randn(size, 6, dtype=torch.float64)

            def loss(x: Tensor = x, target: Tensor = target) -> Tensor:
                return 0.5 * (network(x) - target).pow(2).sum(1).mean()

            network.zero_grad()
            with slopes.watching():
                loss().backward()
            guesses.append(slopes.differences(size))
            truths.append(true_differences(model, slopes, groups, loss))
        first, curvature = np.mean(guesses, axis=0)
        true = np.mean(truths, axis=0)
        assert (true > 0).all()
        assert curvature == pytest.approx(true, rel=0.5)  # 0.8 to 1.2 times over seeds
        assert (np.abs(first) < 0.6 * true).all()  # at most 0.35 times

    def test_what_was_learnt_at_one_width_counts_at_the_next(self) -> None:
        """The averages are in units of 4^-b: at another width the slope follows without another pass."""
        torch.manual_seed(0)
        network, x = Linears(1), torch.randn(8, 6)
        _, slopes, _ = expanded(network, x, Scheme(), LayerFormat.of(6, 6), 2)
        slopes._mean, slopes._passes = np.array([4.0**5, 2 * 4.0**5]), 10**9
        none = type("Step", (), {"batch_size": 8})()
        assert slopes.slopes(none) == pytest.approx(-0.9 * np.array([1, 2]))
        widths = np.array([4, 4])
        slopes.aim(widths, Moves(widths - 1, np.arange(2), np.ones(2), np.ones((2, 1))))
        assert slopes.slopes(none) == pytest.approx(-0.81 * np.array([16, 32]))
        slopes.aim(np.array([2, 2]), Moves(np.array([3, 3]), np.arange(2), -np.ones(2), np.ones((2, 1))))  # looking up from 2
        assert slopes.slopes(none) == pytest.approx(-0.729 * np.array([64, 128]))
