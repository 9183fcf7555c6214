"""Training loops: determinism, probes that leave no trace, failures that say what happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from hwdse.allocators import QBitOpt, Uniform
from hwdse.errors import TaskError, TrainingDiverged
from hwdse.evaluation import evaluate
from hwdse.formats import Allocation, LayerFormat
from hwdse.norms import frozen_statistics, reestimate_norms
from hwdse.quantized import QuantizedModel
from hwdse.quantizers import Scheme
from hwdse.task import recipes_of
from hwdse.tasks.digits import Digits
from hwdse.training import Step, train_quantized
from hwdse.workbench import Workbench

pytestmark = pytest.mark.numeric


def finetune(bench: Workbench, epochs: int) -> object:
    return replace(recipes_of(bench.task).finetune, epochs=epochs)


class Watching(Uniform):
    """Fixed widths; keeps what every step showed."""

    def __init__(self) -> None:
        super().__init__(LayerFormat.of(4, 4))
        self.seen: list[tuple[float, float, float]] = []

    def observe(self, step: Step) -> None:
        current = step.model.allocation
        assert current is not None
        norms = [m for m in step.model.network.modules() if isinstance(m, nn.BatchNorm2d)]
        before = [(m.running_mean.clone(), m.num_batches_tracked.clone()) for m in norms]
        same = step.probe(current)
        narrow = step.probe(Allocation({n: LayerFormat.of(2, 2) for n in current}))
        for norm, (mean, count) in zip(norms, before, strict=True):
            assert torch.equal(norm.running_mean, mean)
            assert torch.equal(norm.num_batches_tracked, count)
        assert step.model.allocation == current
        self.seen.append((step.loss, same, narrow))


def test_probes_use_the_same_batch_and_leave_running_statistics_alone(bench: Workbench) -> None:
    watching = Watching()
    train_quantized(bench.quantized(), bench.task, bench.problem(), watching, finetune(bench, 1), seed=0)
    assert watching.seen
    for loss, same, narrow in watching.seen:
        assert same == pytest.approx(loss, rel=1e-5)
        assert narrow > loss


def test_same_seed_same_result(bench: Workbench) -> None:
    def once() -> tuple[Allocation, float]:
        torch.manual_seed(5)
        model = bench.quantized()
        problem = bench.problem("bitops <= 20% of w8a8")
        found = train_quantized(model, bench.task, problem, QBitOpt(), finetune(bench, 2), seed=3)
        return found.solution.allocation, evaluate(model.network, bench.task, "validation").mean

    assert once() == once()


def test_non_finite_loss_stops_with_a_sentence(bench: Workbench) -> None:
    class Broken(Digits):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            return super().loss(output, target) * float("nan")

    with pytest.raises(TrainingDiverged, match="the loss is nan at step 0; lower the learning rate"):
        train_quantized(bench.quantized(), Broken(), bench.problem(), Uniform(LayerFormat.of(4, 4)), finetune(bench, 1), seed=0)


def test_reestimated_statistics_are_plain_averages(bench: Workbench) -> None:
    network = bench.network()
    norm = network.get_submodule("bn")
    assert isinstance(norm, nn.BatchNorm2d)
    means: list[Tensor] = []
    stem = network.get_submodule("stem")
    handle = stem.register_forward_hook(lambda module, args, out: means.append(out.detach().mean((0, 2, 3))))
    reestimate_norms(network, bench.task, seed=0)
    handle.remove()
    assert torch.allclose(norm.running_mean, torch.stack(means).mean(0), atol=1e-5)  # type: ignore[arg-type]  # it has one
    assert norm.momentum == 0.1
    assert not network.training


@pytest.mark.parametrize("make", [nn.BatchNorm1d, lambda c: nn.InstanceNorm1d(c, track_running_stats=True)])
def test_frozen_statistics_leave_running_ones_alone(make: Callable[[int], nn.Module]) -> None:
    norm = make(3).train()
    before = {k: v.clone() for k, v in norm.state_dict().items()}
    with frozen_statistics(norm):
        norm(torch.randn(4, 3, 5))
    assert all(torch.equal(v, before[k]) for k, v in norm.state_dict().items())
    assert norm.momentum == 0.1
    norm(torch.randn(4, 3, 5))
    assert not torch.equal(norm.state_dict()["running_mean"], before["running_mean"])


def test_scores_of_the_wrong_shape(bench: Workbench) -> None:
    class Broken(Digits):
        def scores(self, output: Tensor, target: Tensor) -> Tensor:
            return super().scores(output, target).mean()

    with pytest.raises(TaskError, match="scores\\(\\) must return one number per sample"):
        evaluate(bench.network(), Broken(), "validation")


def test_empty_split() -> None:
    class Broken(Digits):
        def batches(self, split: str, seed: int) -> list[object]:  # type: ignore[override]  # on purpose
            return []

    with pytest.raises(TaskError, match=r"batches\('validation'\) yielded nothing"):
        evaluate(Broken().model(), Broken(), "validation")  # type: ignore[arg-type]  # on purpose


def test_from_scratch_under_quantisation_learns_too(bench: Workbench) -> None:
    """An untrained network's norm statistics would put every range in the wrong place."""
    torch.manual_seed(0)
    model = QuantizedModel(bench.task.model(), bench.graph, Scheme())
    recipe = replace(recipes_of(bench.task).scratch, epochs=8)
    train_quantized(model, bench.task, bench.problem("bitops <= 100% of w4a4"), QBitOpt(), recipe, seed=0)
    assert evaluate(model.network, bench.task, "validation").mean > 0.85
