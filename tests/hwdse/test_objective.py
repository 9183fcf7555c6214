"""The loss of a step: precision, accumulation, teachers; and recipes that make no sense."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hwdse.allocators import Uniform
from hwdse.errors import TaskError, TrainingDiverged, UsageError
from hwdse.evaluation import evaluate
from hwdse.formats import LayerFormat
from hwdse.loop import Loop
from hwdse.objective import Objective
from hwdse.task import Recipe, batches_of, moved
from hwdse.tasks.digits import Digits
from hwdse.training import train_quantized
from hwdse.workbench import Workbench

pytestmark = pytest.mark.numeric


def test_distillation_is_the_cross_entropy_of_the_two_softmaxes(bench: Workbench) -> None:
    student, teacher = bench.network(), Digits().model().eval()
    batch = next(iter(batches_of(bench.task, "train")))
    loss = {d: float(Objective(student, bench.task, Recipe(distillation=d), teacher)(batch).detach()) for d in (0.0, 0.25, 1.0)}
    p = torch.softmax(teacher(*batch[0]), 1)
    q = torch.softmax(student(*batch[0]), 1)
    by_hand = float(-(p * q.log()).sum().detach() / len(p))
    assert loss[0.0] == pytest.approx(float(bench.task.loss(student(*batch[0]), batch[1]).detach()))
    assert loss[1.0] == pytest.approx(by_hand, rel=1e-5)
    assert loss[0.25] == pytest.approx(0.75 * loss[0.0] + 0.25 * by_hand, rel=1e-5)


def test_the_teacher_learns_nothing_and_moves_no_statistics(bench: Workbench) -> None:
    teacher = bench.network()
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    recipe = replace(Recipe(), epochs=1, distillation=0.5)
    train_quantized(bench.quantized(), bench.task, bench.problem(), Uniform(LayerFormat.of(4, 4)), recipe, seed=0, teacher=teacher)
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())
    assert all(p.grad is None for p in teacher.parameters())


def test_a_teacher_that_does_not_fit(bench: Workbench) -> None:
    class Eleven(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros(len(x), 11)

    batch = next(iter(batches_of(bench.task, "train")))
    with pytest.raises(TaskError, match=r"alike in shape, got \(64, 10\) and \(64, 11\)"):
        Objective(bench.network(), bench.task, Recipe(distillation=0.5), Eleven())(batch)
    with pytest.raises(UsageError, match="no teacher network was given"):
        Objective(bench.network(), bench.task, Recipe(distillation=0.5))

    class Own(Digits):
        def distillation(self, output: Tensor, teaching: Tensor) -> Tensor:
            return (output.mean(1) - teaching.mean(1)).pow(2).mean()

    assert torch.isfinite(Objective(bench.network(), Own(), Recipe(distillation=0.5), Eleven())(batch))


def test_accumulated_gradients_are_those_of_the_whole_batch(bench: Workbench) -> None:
    """Without batch norm's coupling (evaluation mode), two halves give the gradient of the whole."""

    class Halves(Digits):
        def batches(self, split: Any, seed: int) -> Any:
            for x, y in super().batches(split, seed):
                yield from zip(x.chunk(2), y.chunk(2), strict=True) if split == "train" else [(x, y)]

    gradients = []
    for task, accumulate in ((Digits(), 1), (Halves(), 2)):
        network = bench.network()
        loop = Loop(Objective(network, task, Recipe(epochs=1, accumulate=accumulate)), "train", 0, (list(network.parameters()), []))
        assert loop.total == 800 // 64
        group = next(loop.steps())
        assert len(group) == accumulate
        loop.backward(group)
        gradients.append((loop.losses[0], torch.cat([p.grad.flatten() for p in network.parameters()])))  # type: ignore[union-attr]
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-5)
    assert torch.allclose(gradients[0][1], gradients[1][1], atol=1e-6)


def test_a_last_short_group_is_a_step_too(bench: Workbench) -> None:
    network = bench.network()
    loop = Loop(Objective(network, bench.task, Recipe(epochs=2, accumulate=5)), "train", 0, (list(network.parameters()), []))
    sizes = []
    for group in loop.steps():
        sizes.append(len(group))
        loop.backward(group)
        loop.update()
    assert sizes == [5, 5, 2] * 2
    assert loop.done == loop.total == 6


@pytest.mark.slow
def test_bfloat16_trains_to_about_the_same_network(bench: Workbench) -> None:
    scores = {}
    for precision in ("float32", "bfloat16"):
        model = bench.quantized()
        recipe = Recipe(epochs=2, lr=0.01, precision=precision)  # type: ignore[arg-type]
        found = train_quantized(model, bench.task, bench.problem(), Uniform(LayerFormat.of(4, 4)), recipe, seed=0)
        assert all(p.dtype == torch.float32 for p in model.network.parameters())
        scores[precision] = evaluate(model.network, bench.task, "validation").mean, sum(found.losses) / len(found.losses)
    assert scores["bfloat16"][0] == pytest.approx(scores["float32"][0], abs=0.03)
    assert scores["bfloat16"][1] == pytest.approx(scores["float32"][1], rel=0.2)
    assert scores["bfloat16"][1] != scores["float32"][1]


def test_a_gradient_that_is_not_finite_names_its_parameter(bench: Workbench) -> None:
    class Spoilt(Digits):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            loss = super().loss(output, target)
            return loss + (output * 0).abs().sqrt().sum()  # the derivative of sqrt at 0 is infinite, and times 0 not a number

    model = bench.quantized()
    with pytest.raises(TrainingDiverged, match=r"the gradient of '.*' is not finite at step 0; lower the learning rate"):
        train_quantized(model, Spoilt(), bench.problem(), Uniform(LayerFormat.of(4, 4)), Recipe(epochs=1), seed=0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epochs": -1}, "epochs must be 0 or more, got -1"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"lr": float("nan")}, "lr must be above 0, got nan"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\)"),
        ({"accumulate": 0}, "accumulate must be 1 or more"),
        ({"precision": "float8"}, "precision must be float32 or bfloat16, got 'float8'"),
        ({"distillation": 1.5}, r"distillation must be in \[0, 1\]"),
    ],
)
def test_recipes_say_what_must_hold(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Recipe(**wrong)


def test_batches_are_moved_with_everything_in_them() -> None:
    batch = {"mask": torch.ones(2), "sizes": (torch.zeros(1), 3), "names": ["a"]}
    there = moved(batch, "meta")
    assert there["mask"].device.type == there["sizes"][0].device.type == "meta"
    assert there["sizes"][1:] == (3,)
    assert there["names"] == ["a"]
