"""Forms that a task may take: inputs by keyword, lazily built modules, other floating-point types, samples that are no rows, tied heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwdse.allocators import QBitOpt
from hwdse.constraints import reference_notes
from hwdse.contract import model_of, scores_of
from hwdse.costmodels import cost_model
from hwdse.errors import InfeasibleBudget, TaskError
from hwdse.evaluation import evaluate
from hwdse.formats import LayerFormat
from hwdse.inputs import Named
from hwdse.metrics import Metric
from hwdse.sweeps.config import SweepConfig
from hwdse.sweeps.knobs import Plan, first_trials
from hwdse.task import Recipe, Recipes
from hwdse.training import train_quantized
from hwdse.workbench import Workbench


class Plain:
    name = "plain"
    metric = Metric("accuracy", "fraction", "higher")
    recipes = Recipes(scratch=Recipe(epochs=1, lr=0.01), finetune=Recipe(epochs=1, lr=0.01))
    trained = True
    dtype = torch.float32

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
        return net.to(self.dtype)

    def example_inputs(self) -> Any:
        return (torch.zeros(1, 8, dtype=self.dtype),)

    def given(self, x: Tensor) -> Any:
        return x

    def batches(self, split: str, seed: int) -> list[tuple[Any, Tensor]]:
        random = torch.Generator().manual_seed({"train": 16 + seed, "calibration": 1, "validation": 2, "test": 3}[split])
        found = []
        for _ in range(2):
            x = torch.randn(16, 8, generator=random).to(self.dtype)
            found.append((self.given(x), torch.randint(0, 3, (16,), generator=random)))
        return found

    def loss(self, output: Any, target: Tensor) -> Tensor:
        return F.cross_entropy(output.float(), target)

    def scores(self, output: Any, target: Tensor) -> Tensor:
        return (output.argmax(1) == target).float()


def bench(task: Plain, **options: Any) -> Workbench:
    return Workbench(task, cost_models=[cost_model("bitops")], cache=None, **options)  # type: ignore[arg-type]  # a task


class ByKeyword(Plain):
    class Net(nn.Module):
        def __init__(self, body: nn.Module) -> None:
            super().__init__()
            self.body = body

        def forward(self, *, x: Tensor) -> Tensor:
            return self.body(x)  # type: ignore[no-any-return]  # torch's stub

    def model(self) -> nn.Module:
        return self.Net(super().model())

    def example_inputs(self) -> Any:
        return {"x": torch.zeros(1, 8)}

    def given(self, x: Tensor) -> Any:
        return {"x": x}


@pytest.mark.parametrize("epochs", [0, 1])
def test_inputs_by_keyword_are_those_by_position(epochs: int) -> None:
    """Same weights, same data: same losses, widths and scores."""
    found = []
    for task in (Plain(), ByKeyword()):
        made = bench(task)
        problem = made.problem("bitops <= 60% of w8a8")
        model = made.quantized()
        trained = train_quantized(model, task, problem, QBitOpt(), Recipe(epochs=epochs), seed=0)  # type: ignore[arg-type]  # a task
        scores = evaluate(model.network, task, "validation").scores  # type: ignore[arg-type]  # a task
        found.append((problem.loss.cells, [str(w) for w in trained.solution.allocation.values()], scores))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_names_stay_with_their_values() -> None:
    inputs = Named({"a": 1, "b": 2})
    assert inputs == (1, 2)
    assert inputs.of([3, 4]).names == ("a", "b")


class Lazy(Plain):
    def model(self) -> nn.Module:
        return nn.Sequential(nn.LazyLinear(16), nn.ReLU(), nn.LazyLinear(16), nn.ReLU(), nn.LazyLinear(3))


def test_lazy_modules_are_made_alike_everywhere() -> None:
    made = bench(Lazy(), seed=3)
    network = made.network()
    torch.manual_seed(3)
    for one, other in zip(network.parameters(), model_of(Lazy()).parameters(), strict=True):  # type: ignore[arg-type]  # a task
        assert torch.equal(one, other)
    assert made.problem("bitops <= 60% of w8a8").budget


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("method", ["fit", "fit_exact"])
def test_losses_of_other_types_are_those_of_float32(dtype: torch.dtype, method: str) -> None:
    class Other(Plain):
        pass

    Other.dtype = dtype
    found, single = (bench(task, method=method).loss().dense[0] for task in (Other(), Plain()))
    narrow = single > single.max() / 30  # where rounding to the type itself plays no part
    np.testing.assert_allclose(found[narrow], single[narrow], rtol=0.3)


class Heads(Plain):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.t, self.m, self.cls, self.box = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3), nn.Linear(16, 4)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            h = F.relu(self.m(F.relu(self.t(x))))
            return {"cls": self.cls(h), "box": self.box(h)}

    def model(self) -> nn.Module:
        return self.Net()

    def loss(self, output: Any, target: Tensor) -> Tensor:
        return F.cross_entropy(output["cls"], target) + output["box"].pow(2).mean()

    def scores(self, output: Any, target: Tensor) -> Tensor:
        return (output["cls"].argmax(1) == target).float()


def test_baselines_of_tied_heads() -> None:
    made = bench(Heads())
    plan = Plan.of(SweepConfig(task="heads", budgets=(("bitops <= 60% of w8a8",),), cost_models=("bitops",)), made)
    assert plan.baselines == ("w8a8", "w6a6", "w4a4", "w3a3", "w2a2")
    assert "the baseline w6a6 is w6a8 for cls: pins and ties allow nothing nearer there" in plan.notes
    narrow = bench(Heads(), weights=(4, 8), activations=(4, 8))
    config = SweepConfig(task="heads", budgets=(("bitops <= 90% of w8a8",),), cost_models=("bitops",))
    plan = Plan.of(config, narrow)
    assert plan.baselines == ("w8a8", "w4a4")
    assert sum("is left out: w" in note for note in plan.notes) == 3
    assert [k.widths for k in first_trials(config, plan) if k.widths] == ["w8a8", "w4a4"]


def test_limits_relative_to_tied_heads() -> None:
    made = bench(Heads())
    limit = made.budget("bitops <= 110% of w4a4")
    allocation = made.choices.uniform(LayerFormat.of(4, 4))
    assert str(allocation["cls"]) == "w4a8"
    assert next(iter(limit)).limit == pytest.approx(1.1 * made.tables["bitops"].total(allocation))
    assert reference_notes(limit, made.choices) == ("w4a4 is w4a8 for cls: pins and ties allow nothing nearer there",)


def test_an_infeasible_budget_is_said_before_training() -> None:
    class Untrained(Plain):
        trained = False

        def loss(self, output: Any, target: Tensor) -> Tensor:
            raise AssertionError("trained")

    with pytest.raises(InfeasibleBudget):
        bench(Untrained()).problem("bitops <= 1% of w8a8")


def scored(scores: int, rows: int, target: Any, **members: Any) -> int:
    task = type("Scored", (Plain,), {"scores": lambda self, o, t: torch.zeros(scores), **members})()
    return len(scores_of(task, None, (torch.zeros(rows, 5),), target))


@pytest.mark.parametrize(
    ("scores", "rows", "target"),
    [
        (30, 30, torch.zeros(30)),
        (30 * 7, 30, torch.zeros(30, 7, dtype=torch.long)),  # one a token
        (30 * 6, 30, torch.zeros(30, 7, dtype=torch.long)),  # one a next token
        (11, 4, torch.tensor([[1, 2, -100]] * 3 + [[1, 2, 3]] * 1 + [[5, -100, 5]])),  # those that count
        (12, 100, torch.zeros(12)),  # graphs among nodes
        (1, 100, torch.zeros(1)),  # one graph
        (4, 4, [{"boxes": torch.zeros(3, 4)}, {"boxes": torch.zeros(0, 4)}, {}, {}]),  # images with boxes
    ],
)
def test_samples_that_are_no_rows(scores: int, rows: int, target: Any) -> None:
    assert scored(scores, rows, target) == scores


@pytest.mark.parametrize(
    ("scores", "rows", "target"),
    [
        (1, 30, torch.zeros(30)),
        (2, 30, torch.zeros(30)),
        (1, 30, {"label": torch.zeros(30), "count": torch.zeros(1)}),
        (21, 4, torch.zeros(4, 8, 8, dtype=torch.long)),  # one a class
        (1, 30, None),
    ],
)
def test_scores_that_are_not_of_samples(scores: int, rows: int, target: Any) -> None:
    with pytest.raises(TaskError, match=rf"got {scores} for a batch of {rows}"):
        scored(scores, rows, target)


def test_a_task_may_count_its_samples() -> None:
    assert scored(9, 30, torch.zeros(30), count_samples=lambda self, inputs, target: 9) == 9
    with pytest.raises(TaskError, match="got 9 where count_samples"):
        scored(9, 30, torch.zeros(30), count_samples=lambda self, inputs, target: 8)
