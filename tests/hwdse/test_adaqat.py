"""AdaQAT: N, bounces and freezing step by step; lambda; the budget on any problem; interrupted runs; what is kept to look at."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import problems
from torch import Tensor, nn

from hwdse.allocators import AdaQAT
from hwdse.allocators.cost_weights import CostWeights
from hwdse.allocators.history import KEPT, History, Moment
from hwdse.choices import Choices
from hwdse.constraints import Budget, Constraint
from hwdse.costs import CostTable
from hwdse.errors import InfeasibleBudget, UsageError
from hwdse.formats import Allocation, LayerFormat, grid
from hwdse.graph import LayerGraph
from hwdse.metrics import BITOPS, LOSS
from hwdse.problem import Problem
from hwdse.quantized import QuantizedModel
from hwdse.task import recipes_of
from hwdse.testing import brute_force
from hwdse.trace import trace
from hwdse.training import Step, train_quantized
from hwdse.workbench import Workbench

OPTIONS = grid(range(2, 9), range(2, 9))


def bitops(layers: int = 4, budget: float | None = None, macs: float = 1.0) -> Problem:
    """Layers of equal size under a BitOPs limit given as a share of w8a8."""
    names = tuple(f"l{i}" for i in range(layers))
    choices = Choices(names, OPTIONS, np.ones((layers, len(OPTIONS)), bool))
    cells = np.array([[macs * o.weight.bits * o.activation.bits for o in OPTIONS]] * layers)
    limits = () if budget is None else (Constraint(BITOPS, budget * 64 * macs * layers),)
    loss = CostTable.one_row(LOSS, names, OPTIONS, np.ones(cells.shape))
    return Problem(choices, loss, (CostTable.one_row(BITOPS, names, OPTIONS, cells),), Budget(limits))


def started(problem: Problem, **options: object) -> AdaQAT:
    allocator = AdaQAT(**options)  # type: ignore[arg-type]  # as given
    allocator.start(None, problem)  # type: ignore[arg-type]  # probes need no model
    return allocator


def step(index: int, fall: float | Callable[[Mapping[str, LayerFormat]], float], total: int = 10_000, loss: float = 0.0) -> Step:
    """A step whose loss would be lower by ``fall`` at any neighbour, or given by it."""
    probe = fall if callable(fall) else (lambda allocation: loss - fall)
    return Step(index, total, loss, 1, None, probe)  # type: ignore[arg-type]  # probes need no model


class TestWidths:
    def test_gradient_step_is_the_papers(self) -> None:
        allocator = started(bitops(), lr=100.0, steer=False, cost_weight=0.5)
        allocator.n = np.array([6.3, 4.8])
        allocator._aim()
        here, narrower = 0.7, {(6, 5): 0.75, (7, 4): 0.68}

        def probe(allocation: Mapping[str, LayerFormat]) -> float:
            return narrower[allocation["l0"].weight.bits, allocation["l0"].activation.bits]

        allocator.observe(Step(0, 10_000, here, 1, None, probe))  # type: ignore[arg-type]  # probes need no model
        rate = 100 / 6000  # in units of 1/steps of the learning part
        slopes = np.array([here - 0.75 + 0.5 * 5 / 64, here - 0.68 + 0.5 * 7 / 64])
        assert allocator.n == pytest.approx(np.array([6.3, 4.8]) - np.clip(rate * slopes, -12 / 6000, 12 / 6000))

    def test_widths_are_ceilings_of_n_among_the_available(self) -> None:
        problem = bitops()
        allocator = started(problem)
        for n, widths in (((3.2, 4.0), [4, 4]), ((1.6, 9.0), [2, 8]), ((4.0 + 1e-12, 7.01), [4, 8])):
            allocator.n = np.array(n)
            assert allocator.widths.tolist() == widths
        few = Problem(problem.choices.restrict(np.array([o.weight.bits in (2, 4, 8) for o in OPTIONS])), problem.loss, problem.costs)
        allocator = started(few)
        allocator.n = np.array([4.1, 4.1])
        assert allocator.widths.tolist() == [8, 5]

    def test_only_bounces_up_from_a_level_are_counted_and_too_many_freeze_at_the_higher_one(self) -> None:
        allocator = started(bitops(), bounces=2, lr=1e9, steer=False, cost_weight=1e-6, active=1.0)
        allocator.n = np.array([5.0, 8.0])
        allocator._aim()
        index = iter(range(10_000))

        def until(width: int, fall: float) -> None:
            """Weights walk to a width; activations want to widen and stay at the top."""

            def probe(allocation: Mapping[str, LayerFormat]) -> float:
                return -fall if allocation["l0"].activation.bits == 8 else 1.0

            while allocator.widths[0] != width:
                allocator.observe(step(next(index), probe, 500))

        until(4, 1.0)
        until(3, 1.0)  # going down is no bounce
        assert allocator._bounced.sum() == 0
        until(4, -1.0)
        until(3, 1.0)
        until(5, -1.0)  # one from 3, one from 4
        assert allocator._bounced[0].tolist() == [0, 2, 1, 0, 0, 0, 0]
        until(3, 1.0)
        assert not allocator.frozen.any()
        until(4, -1.0)  # the third from 3
        assert allocator.frozen.tolist() == [True, False]
        assert allocator.n[0] == 4.0
        for _ in range(100):
            allocator.observe(step(next(index), 1.0, 500))
        assert allocator.widths[0] == 4
        assert allocator.widths[1] < 8

    def test_all_frozen_ends_the_learning(self) -> None:
        allocator = started(bitops(budget=0.5), bounces=0, active=1.0)
        allocator.frozen[:] = True
        allocator.n = np.array([4.0, 5.0])
        found = allocator.observe(step(3, 0.0))
        assert found == allocator.finish().allocation
        assert allocator.observe(step(4, 0.0)) is None

    def test_a_group_at_the_bottom_climbs_when_the_loss_asks_for_it(self) -> None:
        allocator = started(bitops(), lr=1e6, steer=False, cost_weight=1e-6)
        allocator.n = np.array([1.6, 8.0])
        allocator._aim()
        for index in range(150):
            allocator.observe(step(index, lambda a: -1.0 if a["l0"].weight.bits > 2 and a["l0"].activation.bits == 8 else 1.0, 1000))
        assert allocator.widths[0] > 2

    def test_projection_is_the_nearest_by_equal_shift(self) -> None:
        """With the limit at a uniform pair's cost and N there, the pair itself is the nearest; N beyond it changes nothing."""
        problem = bitops(budget=20 / 64)
        for n in ((4.0, 5.0), (6.0, 7.0), (2.0, 3.0)):
            allocator = started(problem)
            allocator.n = np.array(n)
            assert {str(w) for w in allocator.finish().allocation.values()} == {"w4a5"}

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"granularity": "channel"}, "granularity must be"),
            ({"order": 3}, "order 1 or 2"),
            ({"lr": 0.0}, "must be positive"),
            ({"active": 2}, "0..1"),
        ],
    )
    def test_bad_settings_are_named(self, options: dict[str, object], said: str) -> None:
        with pytest.raises(UsageError, match=said):
            AdaQAT(**options)  # type: ignore[arg-type]  # on purpose


class TestLambda:
    def test_fixed_stays(self) -> None:
        weights = CostWeights(None, 2, 0.5)
        weights.steer(np.array([9.0, 9.0]), 10)
        assert weights.values == pytest.approx([0.25, 0.25])

    def test_over_the_limit_it_rises_and_under_it_falls_each_metric_by_itself(self) -> None:
        weights = CostWeights(np.array([0.5, 0.5]), 2, 1.0)
        for _ in range(5):
            before = weights.values
            weights.steer(np.array([0.6, 0.4]), 100)
            assert weights.values[0] > before[0]
            assert weights.values[1] < before[1]

    def test_at_the_limit_it_stays(self) -> None:
        weights = CostWeights(np.array([0.5]), 1, 2.0)
        weights.steer(np.array([0.5]), 10)
        assert weights.values == pytest.approx([2.0])

    def test_far_above_the_integral_waits(self) -> None:
        weights = CostWeights(np.array([0.1]), 1, 1.0)
        for _ in range(50):
            weights.steer(np.array([0.9]), 50)
        assert weights.integral.tolist() == [0.0]

    @pytest.mark.parametrize("share", [0.6, 0.3, 0.12])
    @pytest.mark.parametrize("scale", [1e-3, 1e-1])
    def test_steered_the_cost_comes_to_the_budget_and_fixed_it_does_not_know_it(self, share: float, scale: float) -> None:
        """A loss of scale (4^-b_w + 2 4^-b_a): the cost of the last third, on average, is within a bit of the limit."""

        def loss(allocation: Mapping[str, LayerFormat]) -> float:
            w = allocation["l0"]
            return scale * (4.0 ** (2 - w.weight.bits) + 2 * 4.0 ** (2 - w.activation.bits))

        costs = {}
        for steer in (True, False):
            allocator = started(bitops(budget=share), steer=steer)
            for index in range(600):
                current = allocator._allocation()
                allocator.observe(step(index, loss, 1000, loss(current)))
            tail = allocator.history[len(allocator.history) * 2 // 3 :]
            costs[steer] = np.mean([m.cost for m in tail])
            if not steer:
                assert {m.cost_weight for m in allocator.history} == {1.0}
        assert 0.65 < costs[True] < 1.5
        assert abs(np.log(costs[True])) <= abs(np.log(costs[False])) + 0.1


class Chain(nn.Module):
    def __init__(self, count: int) -> None:
        super().__init__()
        for i in range(count):
            self.add_module(f"l{i}", nn.Linear(3, 3))
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        for i in range(self.count):
            x = torch.relu(self.get_submodule(f"l{i}")(x))
        return x


@cache
def traced(count: int) -> LayerGraph:
    return trace(Chain(count), (torch.zeros(1, 3),))


def stepping(
    problem: Problem, allocator: AdaQAT, total: int, seed: int, spread: float = 1.0, since: int = 0
) -> Iterator[Allocation | None]:
    """Steps on a small real network, with losses of probes drawn at random; every allocation that is set."""
    torch.manual_seed(0)
    network = Chain(len(problem.choices.layers))
    model = QuantizedModel(network, traced(network.count), AdaQAT.scheme)
    model.observe([((torch.randn(8, 3),), None)])
    current = allocator.start(model, problem)
    if since:
        current = yield None  # the caller loads a state
    model.set(current, calibrate=True)
    for index in range(since, total):
        rng = np.random.default_rng((seed, index))
        x = torch.tensor(rng.normal(size=(8, 3)), dtype=torch.float32)
        network.zero_grad()
        (spread * network(x).pow(2).mean()).backward()
        changed = allocator.observe(Step(index, total, spread, 8, model, lambda a, rng=rng: spread * float(rng.normal(1, 0.5))))
        if changed is not None:
            model.set(changed)
        yield changed


class TestBudget:
    @settings(max_examples=40, deadline=None)
    @given(problems(max_layers=4, max_budgets=3), st.sampled_from(["network", "layer"]), st.booleans(), st.sampled_from([1.0, 1e-12, 1e12]))
    def test_any_problem(self, problem: Problem, granularity: str, steer: bool, spread: float) -> None:
        """Up to three budgets, maxima, ties, pins, unsupported pairs, single options: permitted at every step, inside at the end."""
        allocator = AdaQAT(granularity=granularity, steer=steer)  # type: ignore[arg-type]  # a literal
        best = brute_force(problem)
        if best is None:
            with pytest.raises(InfeasibleBudget):
                next(stepping(problem, allocator, 12, 0, spread))
            return
        for changed in stepping(problem, allocator, 12, 0, spread):
            assert changed is None or problem.choices.permits(problem.choices.indices(changed))[0]
        found = allocator.finish()
        assert problem.feasible(problem.choices.indices(found.allocation))[0]
        assert found.loss >= best[0] * (1 - 1e-9)
        assert np.isfinite(allocator.n).all()

    def test_tied_layers_move_together(self) -> None:
        problem = bitops(3, budget=0.2)
        tied = replace(problem, choices=replace(problem.choices, weight_ties=(("l0", "l2"),), activation_ties=(("l1", "l2"),)))
        allocator = AdaQAT(granularity="layer")
        for changed in stepping(tied, allocator, 40, 1):
            if changed is not None:
                assert changed["l0"].weight == changed["l2"].weight
                assert changed["l1"].activation == changed["l2"].activation

    def test_infeasible_is_said_before_training(self) -> None:
        with pytest.raises(InfeasibleBudget, match="bitops"):
            started(bitops(budget=0.01))

    def test_a_limit_of_zero(self) -> None:
        problem = bitops(macs=0.0)
        assert started(problem.with_budget(Budget((Constraint(BITOPS, 0.0),)))).finish().costs["bitops"] == 0

    def test_of_two_limits_on_one_metric_the_tighter_steers(self) -> None:
        problem = bitops()
        two = problem.with_budget(Budget((Constraint(BITOPS, 50.0), Constraint(BITOPS, 100.0))))
        assert started(two)._limits.tolist() == [50 / 256]  # type: ignore[union-attr]  # it has a budget

    @pytest.mark.parametrize("granularity", ["network", "layer"])
    @pytest.mark.parametrize(
        "budget",
        [("activations <= 70% of w8a8",), ("bitops <= 30% of w8a8", "weights <= 45% of w8a8", "activations <= 80% of w8a8")],
        ids=["a max", "three"],
    )
    def test_a_max_and_three_at_once_on_a_real_network(self, bench: Workbench, granularity: str, budget: tuple[str, ...]) -> None:
        problem = bench.problem(*budget, scheme=AdaQAT.scheme)
        allocator = AdaQAT(granularity=granularity)  # type: ignore[arg-type]  # a literal
        trained = train_quantized(
            bench.quantized(AdaQAT.scheme), bench.task, problem, allocator, replace(recipes_of(bench.task).finetune, epochs=2), seed=0
        )
        assert not problem.broken(trained.solution.allocation)
        assert {str(trained.solution.allocation[n]) for n in (problem.choices.layers[0], problem.choices.layers[-1])} == {"w8a8"}
        first, last = allocator.history[0], allocator.history[-1]
        assert first.cost > 1
        assert last.cost < 1 + (first.cost - 1) / 2  # it walked towards the budget, not only the projection

    def test_one_layer_and_a_thousand(self) -> None:
        for layers in (1, 1000):
            problem = bitops(layers, budget=0.25)
            allocator = started(problem)
            for index in range(30):
                allocator.observe(step(index, -0.01, 50))
            assert not problem.broken(allocator.finish().allocation)


class TestResuming:
    @pytest.mark.parametrize("granularity", ["network", "layer"])
    @pytest.mark.parametrize("stop", [9, 25, 34])
    def test_a_state_goes_on_as_if_nothing_had_happened(self, granularity: str, stop: int) -> None:
        problem = bitops(3, budget=0.3)
        whole = AdaQAT(granularity=granularity, bounces=1)  # type: ignore[arg-type]  # a literal
        full = list(stepping(problem, whole, 40, 3, 0.1))

        first = AdaQAT(granularity=granularity, bounces=1)  # type: ignore[arg-type]  # a literal
        part = list(zip(range(stop), stepping(problem, first, 40, 3, 0.1), strict=False))
        buffer = io.BytesIO()
        torch.save(first.state(), buffer)
        buffer.seek(0)

        second = AdaQAT(granularity=granularity, bounces=1)  # type: ignore[arg-type]  # a literal
        rest = stepping(problem, second, 40, 3, 0.1, since=stop)
        next(rest)
        second.load_state(torch.load(buffer, weights_only=True))
        set_last = next((a for _, a in reversed(part) if a is not None), problem.choices.uniform(LayerFormat.of(8, 8)))
        followed = [rest.send(set_last), *rest]  # type: ignore[attr-defined]  # a generator
        assert followed == full[stop:]
        assert second.finish().allocation == whole.finish().allocation
        assert second.history == whole.history
        assert (second.n == whole.n).all()

    def test_the_state_of_another_granularity_is_refused(self) -> None:
        problem = bitops(3, budget=0.3)
        layers = AdaQAT(granularity="layer")
        list(stepping(problem, layers, 3, 0))
        with pytest.raises(UsageError, match="another problem or granularity"):
            started(problem).load_state(layers.state())

    def test_same_seed_same_allocation(self) -> None:
        problem = bitops(3, budget=0.3)
        for granularity in ("network", "layer"):
            found = []
            for _ in range(2):
                allocator = AdaQAT(granularity=granularity)  # type: ignore[arg-type]  # a literal
                found.append((list(stepping(problem, allocator, 30, 7)), allocator.finish().allocation))
            assert found[0] == found[1]


class TestHistory:
    def test_at_most_so_many_evenly_spaced_and_through_a_list(self) -> None:
        history = History()
        for index in range(5 * KEPT):
            history.note(Moment(index, (8.0,), (7.5, 6.0), 1.0, 2.0))
        assert KEPT / 2 <= len(history) <= KEPT
        assert {b.step - a.step for a, b in pairwise(history)} == {history.every}
        again = History.from_list(history.to_list())
        assert again == history
        assert again.every == history.every

    def test_says_what_happened(self) -> None:
        allocator = started(bitops(budget=0.25))
        for index in range(20):
            allocator.observe(step(index, -0.001, 100))
        assert [m.step for m in allocator.history] == list(range(20))
        last = allocator.history[-1]
        assert (*last.weight, *last.activation) == tuple(allocator.n)
        assert last.cost == pytest.approx(np.prod(allocator.widths) / 64 / 0.25)
