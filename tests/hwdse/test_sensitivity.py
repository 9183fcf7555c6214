"""Sensitivities against hand-made sums, against one another, and where data or gradients are broken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hwdse.allocators import QBitOpt
from hwdse.bits import BitWidths
from hwdse.choices import Choices
from hwdse.errors import TrainingDiverged, UnknownName
from hwdse.metrics import Metric
from hwdse.quantized import QuantizedModel
from hwdse.quantizers import LearntRange
from hwdse.sensitivity import SENSITIVITIES, FisherTraces, fit, measured, sensitivity
from hwdse.sensitivity.noise import mean_square_errors
from hwdse.task import batches_of, recipes_of
from hwdse.tasks.digits import Digits
from hwdse.trace import trace
from hwdse.training import train_quantized
from hwdse.workbench import Workbench


class Tiny:
    """Two linear layers and a squared loss: every gradient can be written down."""

    name = "tiny"
    metric = Metric("error", "", "lower")

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 1, bias=False))

    def example_inputs(self) -> tuple[Tensor, ...]:
        return (torch.zeros(1, 3),)

    def batches(self, split: str, seed: int) -> list[tuple[Tensor, Tensor]]:
        random = torch.Generator().manual_seed(1)
        return [(torch.randn(5, 3, generator=random), torch.randn(5, 1, generator=random)) for _ in range(2)]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return ((output - target) ** 2).mean()

    def scores(self, output: Tensor, target: Tensor) -> Tensor:
        return ((output - target) ** 2)[:, 0]


def tiny() -> tuple[Tiny, QuantizedModel, Choices]:
    task = Tiny()
    network = task.model()
    graph = trace(network, task.example_inputs())
    return task, QuantizedModel(network, graph), Choices.of(graph, (2, 4, 8), (2, 4, 8), ends=None)


def by_hand(task: Tiny, network: nn.Module) -> tuple[list[float], list[float]]:
    """s_q of both weights and both inputs: mean over batches of B times the sum of squared gradients of the batch-mean loss."""
    w1, w2 = (p.detach() for p in network.parameters())
    weight, activation = np.zeros(2), np.zeros(2)
    for x, y in task.batches("calibration", 0):
        h = x @ w1.T
        d_out = 2 * (h @ w2.T - y) / len(x)
        d_h = d_out @ w2
        for i, g in enumerate((d_h.T @ x, d_out.T @ h)):
            weight[i] += len(x) * float((g**2).sum()) / 2
        for i, g in enumerate((d_h @ w1, d_h)):
            activation[i] += len(x) * float((g**2).sum()) / 2
    return list(weight), list(activation)


def test_fit_is_the_formula() -> None:
    task, model, choices = tiny()
    weight, activation = by_hand(task, task.model())
    table = fit(model, task, choices, noise="model")  # type: ignore[arg-type]  # a task
    samples = [model.input_sample(name) for name in choices.layers]
    for i, name in enumerate(choices.layers):
        for j, option in enumerate(choices.options):
            w_span = 2 * float(model.weight_of(name).detach().abs().max())
            a_span = 2 * float(samples[i].abs().max())  # type: ignore[union-attr]  # observed
            noise_w = (w_span / (2**option.weight - 1)) ** 2 / 12
            noise_a = (a_span / (2**option.activation - 1)) ** 2 / 12
            assert table.cells[i, j] == pytest.approx(0.5 * (weight[i] * noise_w + activation[i] * noise_a), rel=1e-4)


def test_measured_noise_is_the_quantisers_own_error() -> None:
    _, model, choices = tiny()
    weight = model.weight_of(choices.layers[0]).detach()
    q = LearntRange()
    q.calibrate(weight, 3)
    with torch.no_grad():
        expected = float((q.quantize(weight, 3) - weight).pow(2).mean())
    assert mean_square_errors(LearntRange(), weight, [3, 32]) == {3: pytest.approx(expected), 32: 0.0}


def test_measured_is_the_loss_difference_of_one_tensor() -> None:
    task, model, choices = tiny()
    table = measured(model, task, choices)  # type: ignore[arg-type]  # a task
    data = list(batches_of(task, "calibration"))  # type: ignore[arg-type]  # a task

    def loss(network: nn.Module) -> float:
        return float(np.mean([float(task.loss(network(*x), y).detach()) for x, y in data]))

    base = loss(task.model())
    network = task.model()
    q = LearntRange()
    with torch.no_grad():
        q.calibrate(network[0].weight, 2)
        network[0].weight.copy_(q.quantize(network[0].weight, 2))
    change = max(loss(network) - base, 0.0)
    wide = table.cells[0, choices.column[BitWidths(8, 8)]]
    narrow = table.cells[0, choices.column[BitWidths(2, 8)]]
    # the narrow cell holds the weight's change at 2 bits and the input's at 8; the wide one only noise
    assert narrow == pytest.approx(change + wide, abs=max(0.02 * change, 1e-4))
    assert model.allocation is None
    assert all(w.bits == 32 for w in model.weights.values())


@pytest.mark.parametrize("method", SENSITIVITIES)
def test_tables_are_monotone_and_positive(bench: Workbench, method: str) -> None:
    table = sensitivity(method, bench.quantized(), bench.task, bench.choices)
    cells, options = table.cells, table.options
    assert (cells >= 0).all()
    for j, wide in enumerate(options):
        for k, narrow in enumerate(options):
            if narrow.weight <= wide.weight and narrow.activation <= wide.activation:
                assert (cells[:, j] <= cells[:, k] + 1e-12).all()


def test_fit_ranks_as_the_measured_change_does(bench: Workbench) -> None:
    from scipy.stats import spearmanr

    low = [bench.choices.column[BitWidths(b, b)] for b in (2, 3, 4)]
    truth = sensitivity("measured", bench.quantized(), bench.task, bench.choices).cells[:, low].ravel()
    for method in ("fit", "fit_noise"):
        found = sensitivity(method, bench.quantized(), bench.task, bench.choices).cells[:, low].ravel()
        assert spearmanr(found, truth).statistic > 0.5


def test_traces_average_over_passes_and_by_momentum() -> None:
    task, model, _ = tiny()
    plain, moving = FisherTraces(model), FisherTraces(model, momentum=0.5)
    values = []
    for x, y in task.batches("calibration", 0):
        model.network.zero_grad()
        task.loss(model.network(x), y).backward()
        values.append(5 * float(model.weight_of("0").grad.pow(2).sum()))  # type: ignore[union-attr]  # there after backward
        plain.update(5)
        moving.update(5)
    assert plain.weight["0"] == pytest.approx(np.mean(values))
    assert moving.weight["0"] == pytest.approx(0.5 * values[0] + 0.5 * values[1])


def test_the_model_is_left_as_it_was(bench: Workbench) -> None:
    model = bench.quantized()
    before = {k: v.clone() for k, v in model.network.state_dict().items()}
    sensitivity("fit", model, bench.task, bench.choices)
    assert all(torch.equal(v, before[k]) for k, v in model.network.state_dict().items() if "quantizer" not in k)
    assert all(p.grad is None for p in model.network.parameters())


def test_non_finite_calibration_loss(bench: Workbench) -> None:
    class Broken(Digits):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            return super().loss(output, target) / 0

    for method in SENSITIVITIES:
        with pytest.raises(TrainingDiverged, match="the calibration loss is inf; check the data and the trained weights"):
            sensitivity(method, bench.quantized(), Broken(), bench.choices)


def test_frozen_weights_are_as_sensitive_as_others(bench: Workbench) -> None:
    """A layer that is not trained is not insensitive for that."""
    model = bench.quantized()
    for parameter in model.network.parameters():
        parameter.requires_grad_(False)
    found = sensitivity("fit", model, bench.task, bench.choices)
    assert found.cells == pytest.approx(bench.loss().cells, rel=1e-4)
    assert not any(p.requires_grad for p in model.network.parameters() if p.ndim > 1)


def test_frozen_weights_stay_frozen_while_widths_are_re_allocated(bench: Workbench) -> None:
    model = bench.quantized()
    weight = model.weight_of("block1.conv1")
    weight.requires_grad_(False)
    before = weight.clone()
    recipe = replace(recipes_of(bench.task).finetune, epochs=1)
    allocator = QBitOpt(tau=2)
    trained = train_quantized(model, bench.task, bench.problem("bitops <= 25% of w8a8"), allocator, recipe, seed=0)
    assert torch.equal(model.weight_of("block1.conv1"), before)
    assert allocator._traces.weight["block1.conv1"] > 0
    assert trained.solution.allocation["block1.conv1"].weight > 2


def test_other_readers_of_a_tensor_do_not_count_for_a_layer() -> None:
    """h + b(h): the skip path's gradient is not b's; with b near zero its input hardly matters."""

    class Residual(Tiny):
        def model(self) -> nn.Module:
            class Net(nn.Module):
                def __init__(self) -> None:
                    super().__init__()
                    self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 1)

                def forward(self, x: Tensor) -> Tensor:
                    h = self.a(x)
                    return self.c(h + self.b(h))

            torch.manual_seed(0)
            net = Net()
            with torch.no_grad():
                net.b.weight.mul_(1e-4)
            return net

    task = Residual()
    network = task.model()
    graph = trace(network, task.example_inputs())
    model = QuantizedModel(network, graph)
    traces = FisherTraces(model)
    x, y = task.batches("calibration", 0)[0]
    with model.tapped(traces.tap):
        task.loss(network(x), y).backward()
    traces.update(5)
    assert traces.activation["b"] < 1e-6 * traces.activation["c"]


def test_unknown_method() -> None:
    with pytest.raises(UnknownName, match="unknown sensitivity 'fitt'; did you mean 'fit'"):
        sensitivity("fitt", None, None, None)  # type: ignore[arg-type]  # never looked at
