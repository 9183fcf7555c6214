"""Every allocator, on real problems: inside the budget, ties held, unsupported pairs never chosen, infeasible budgets named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hwdse.allocators import ADQ, ALLOCATORS, QBitOpt, Uniform, make_allocator
from hwdse.allocators.fixed import Fixed
from hwdse.costmodels import cost_model
from hwdse.costs import CostTable
from hwdse.errors import InfeasibleBudget, UnknownName
from hwdse.evaluation import evaluate
from hwdse.formats import LayerFormat
from hwdse.metrics import Metric
from hwdse.problem import Problem
from hwdse.quantizers import Scheme
from hwdse.solvers import solve
from hwdse.task import Recipe, recipes_of
from hwdse.training import Trained, train_quantized
from hwdse.workbench import Workbench

pytestmark = pytest.mark.numeric

BUDGETS = [
    ("bitops <= 25% of w8a8",),
    ("latency@mpic <= 60% of w8a8",),
    ("weights <= 50% of w8a8", "activations <= 75% of w8a8"),  # a sum and a max together
    ("energy@npu <= 60% of w8a8", "average_bits <= 4"),
]


def run(
    bench: Workbench, allocator: object, problem: Problem, epochs: int, seed: int = 0, scheme: Scheme | None = None
) -> tuple[Trained, float]:
    torch.manual_seed(seed)
    model = bench.quantized(scheme or Scheme())
    recipe = replace(recipes_of(bench.task).finetune, epochs=epochs)
    trained = train_quantized(model, bench.task, problem, allocator, recipe, seed=seed)  # type: ignore[arg-type]  # an allocator
    return trained, evaluate(model.network, bench.task, "validation").mean


@pytest.mark.parametrize("name", ALLOCATORS)
@pytest.mark.parametrize("budget", BUDGETS, ids=" and ".join)
def test_post_training_is_inside_every_budget(bench: Workbench, name: str, budget: tuple[str, ...]) -> None:
    problem = bench.problem(*budget)
    trained, _ = run(bench, make_allocator(name), problem, 0)
    assert not problem.broken(trained.solution.allocation)
    assert all(room >= 0 for room in trained.solution.slack.values())
    assert problem.choices.permits(problem.choices.indices(trained.solution.allocation))[0]
    assert trained.solution.loss >= solve(problem).bound - 1e-9


@pytest.mark.parametrize("name", ["adaqat", "given widths"])
def test_a_start_forgets_the_problem_before(bench: Workbench, name: str) -> None:
    problem = bench.problem(*BUDGETS[2])
    used, fresh = (Fixed(solve(problem).allocation) if name == "given widths" else make_allocator(name) for _ in range(2))
    used.start(bench.quantized(Scheme()), bench.reachable("weights <= 60% of w8a8"))  # whose losses are 0
    again, first = (run(bench, allocator, problem, 0)[0].solution for allocator in (used, fresh))
    assert again.allocation == first.allocation
    assert again.loss == pytest.approx(first.loss) == pytest.approx(problem.loss_of(first.allocation))


@pytest.mark.parametrize("name", ["qbitopt", "adaqat", "adq"])
def test_training_is_inside_the_budget_and_learns(bench: Workbench, name: str) -> None:
    allocator = make_allocator(name)
    # codebooks multiply at 8 bits and need a device with look-up: their budget is on storage
    limit = "weights <= 45% of w8a8" if name == "adq" else "bitops <= 18% of w8a8"
    problem = bench.problem(limit, target="npu", scheme=allocator.scheme)
    trained, score = run(bench, allocator, problem, 3, scheme=allocator.scheme)
    assert not problem.broken(trained.solution.allocation)
    assert score > 0.9
    if name != "adaqat":  # AdaQAT starts wide and walks into the budget; the others never leave it
        (constraint,) = problem.budget
        assert all(costs[constraint.metric.key] <= constraint.limit for _, costs in trained.trace)


@pytest.mark.parametrize("name", ALLOCATORS)
def test_infeasible_budgets_are_named_before_training(bench: Workbench, name: str) -> None:
    with pytest.raises(InfeasibleBudget, match="bitops"):
        run(bench, make_allocator(name), bench.problem("bitops <= 1 kBitOPs"), 1)


@pytest.mark.parametrize("name", ALLOCATORS)
def test_unsupported_pairs_are_never_chosen(bench: Workbench, name: str) -> None:
    problem = bench.problem("bitops <= 40% of w8a8")
    table = problem.table["bitops"]
    equal = np.array([o.weight.bits == o.activation.bits and o.weight.bits in (4, 8) for o in table.options])
    only = replace(table, cells=np.where(equal, table.cells, np.inf))
    narrow = Problem(problem.choices, problem.loss, (only,), problem.budget)
    trained, _ = run(bench, make_allocator(name), narrow, 0)
    assert {str(w) for w in trained.solution.allocation.values()} <= {"w4a4", "w8a8"}
    assert "w4a4" in {str(w) for w in trained.solution.allocation.values()}


class Branches(nn.Module):
    """Two branches of one size, of which the second hardly counts."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.loud, self.quiet, self.last = nn.Linear(16, 32), nn.Linear(32, 24), nn.Linear(32, 24), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x).relu()
        return self.last(self.loud(h) + 0.02 * self.quiet(h))


class Noisy:
    """Regression on the network's own outputs with noise on top: its weights are the best there are, and gradients are not zero."""

    name = "branches"
    metric = Metric("error", "fraction", "lower")
    trained = True

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        return Branches()

    def example_inputs(self) -> tuple[Tensor, ...]:
        return (torch.zeros(1, 16),)

    def batches(self, split: str, seed: int) -> list[tuple[Tensor, Tensor]]:
        random = torch.Generator().manual_seed(len(split))
        x = torch.randn(256, 16, generator=random)
        with torch.no_grad():
            return list(zip(x.split(16), (self.model()(x) + 0.1 * torch.randn(256, 4, generator=random)).split(16), strict=True))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).pow(2).mean()

    def scores(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).pow(2).mean(1)


def test_mixed_beats_uniform_at_equal_cost_where_layers_differ() -> None:
    task = Noisy()
    bench = Workbench(task, [], [cost_model("weights")], cache=None)
    problem = bench.problem("weights <= 100% of w4a8")
    x = torch.cat([x for x, _ in task.batches("validation", 0)])
    error, costs = {}, {}
    with torch.no_grad():
        truth = task.model()(x)
        for name in ("qbitopt", "uniform"):
            model = bench.quantized()
            found = train_quantized(model, task, problem, make_allocator(name), Recipe(epochs=0), seed=0)
            error[name], costs[name] = float((model.network(x) - truth).pow(2).mean()), found.solution.costs["weights"]
    assert costs["qbitopt"] <= costs["uniform"]
    assert error["qbitopt"] < error["uniform"] / 3


def test_reallocation_changes_widths_only_inside_the_budget_and_freezes(bench: Workbench) -> None:
    problem = bench.problem("bitops <= 18% of w8a8")
    allocator = QBitOpt(tau=3, freeze=0.5)
    trained, _ = run(bench, allocator, problem, 4)
    steps = [step for step, _ in trained.trace]
    total = 4 * sum(1 for _ in bench.task.batches("train", 0))
    assert len(steps) > 1
    assert max(steps) <= total * 0.5 + 1


def test_solving_once_keeps_the_first_allocation(bench: Workbench) -> None:
    problem = bench.problem("bitops <= 18% of w8a8")
    trained, _ = run(bench, QBitOpt(reallocate=False), problem, 1)
    assert trained.solution.allocation == solve(problem).allocation
    assert len(trained.trace) == 1


def _codes(weight):  # type: ignore[no-untyped-def]  # the parametrisation of a weight
    return weight.quantizer.of(weight.format).codes(weight.format.bits)


def test_adq_moves_its_codebooks_while_training(bench: Workbench) -> None:
    torch.manual_seed(0)
    model = bench.quantized(ADQ.scheme)
    problem = bench.problem("weights <= 45% of w8a8", target="npu", scheme=ADQ.scheme)
    books: list[object] = []

    class Watching(ADQ):
        def observe(self, step):  # type: ignore[no-untyped-def]  # as the base
            found = super().observe(step)
            books.append(_codes(step.model.weights["block2.conv1"]).clone())
            return found

    recipe = replace(recipes_of(bench.task).finetune, epochs=1)
    train_quantized(model, bench.task, problem, Watching(reallocate=False), recipe, seed=0)
    assert not torch.equal(books[0], books[-1])  # type: ignore[arg-type]  # tensors


def test_uniform_takes_the_best_pair_inside(bench: Workbench) -> None:
    problem = bench.problem("bitops <= 30% of w8a8")
    trained, _ = run(bench, Uniform(), problem, 0)
    inside = []
    for option in problem.choices.options:
        allocation = problem.choices.uniform(option)
        if not problem.broken(allocation):
            inside.append(problem.loss_of(allocation))
    assert trained.solution.loss == pytest.approx(min(inside))


def test_uniform_says_when_only_mixed_widths_fit(bench: Workbench) -> None:
    least = min(bench.problem().cost_of(bench.choices.uniform(o))["weights"] for o in bench.choices.options)
    try:
        problem = bench.problem(f"weights <= {least - 1} B")
    except InfeasibleBudget:
        pytest.skip("nothing at all fits on this network")
    with pytest.raises(InfeasibleBudget, match="no uniform allocation meets"):
        run(bench, Uniform(), problem, 0)


def test_zero_gradient_layers_and_one_option(bench: Workbench) -> None:
    problem = bench.problem("bitops <= 25% of w8a8")
    flat: CostTable = replace(problem.loss, cells=np.zeros_like(problem.loss.cells))
    for name in ("qbitopt", "adaqat"):
        trained, _ = run(bench, make_allocator(name), problem.with_loss(flat), 0)
        assert not problem.broken(trained.solution.allocation)
    pinned = problem.choices.pin({n: LayerFormat.of(4, 4) for n in problem.choices.layers[1:-1]})
    one = Problem(pinned, problem.loss, problem.costs)
    for name in ALLOCATORS:
        trained, _ = run(bench, make_allocator(name), one, 0)
        assert trained.solution.allocation == pinned.allocation(np.argmax(pinned.allowed, axis=1))


def test_unknown_allocator() -> None:
    with pytest.raises(UnknownName, match="unknown allocator 'qbitop'; did you mean 'qbitopt'"):
        make_allocator("qbitop")
