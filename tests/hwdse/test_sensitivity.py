"""Sensitivities against hand-made sums, against one another, and where data or gradients are broken."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from in_bits import in_bits
from torch import Tensor, nn

from hwdse.allocators import QBitOpt
from hwdse.choices import Choices
from hwdse.costs import FloatArray
from hwdse.errors import TrainingDiverged, UnknownName, UsageError
from hwdse.formats import FP32, LayerFormat, plain_integer
from hwdse.metrics import Metric
from hwdse.quantized import QuantizedModel
from hwdse.quantizers import LearntRange
from hwdse.sensitivity import SENSITIVITIES, FisherTraces, fit, measured, sensitivity
from hwdse.sensitivity.fit import fisher_traces
from hwdse.sensitivity.noise import Sample, mean_square_errors
from hwdse.task import batches_of, recipes_of
from hwdse.trace import trace
from hwdse.training import train_quantized
from hwdse.workbench import Workbench

pytestmark = pytest.mark.numeric


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


def prepared(task: Tiny) -> tuple[Tiny, QuantizedModel, Choices]:
    network = task.model()
    graph = trace(network, task.example_inputs())
    return task, QuantizedModel(network, graph), Choices.of(graph, (2, 4, 8), (2, 4, 8), ends=None)


def tiny() -> tuple[Tiny, QuantizedModel, Choices]:
    return prepared(Tiny())


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
    table = fit(model, task, choices, noise="model")
    samples = [model.input_sample(name) for name in choices.layers]
    for i, name in enumerate(choices.layers):
        for j, option in enumerate(choices.options):
            w_span = 2 * float(model.weight_of(name).detach().abs().max())
            a_span = 2 * float(samples[i].abs().max())  # type: ignore[union-attr]  # observed
            noise_w = (w_span / (2**option.weight.bits - 1)) ** 2 / 12
            noise_a = (a_span / (2**option.activation.bits - 1)) ** 2 / 12
            assert table.cells[i, j] == pytest.approx(0.5 * (weight[i] * noise_w + activation[i] * noise_a), rel=1e-4)


def test_measured_noise_is_the_quantisers_own_error() -> None:
    _, model, choices = tiny()
    weight = model.weight_of(choices.layers[0]).detach()
    q = LearntRange()
    q.calibrate(weight, in_bits(q, 3))
    with torch.no_grad():
        expected = float((q.quantize(weight, in_bits(q, 3)) - weight).pow(2).mean())
    found = mean_square_errors(Sample(LearntRange(), weight, weight), [plain_integer(3), FP32])
    assert found == [pytest.approx(expected), 0.0]


def test_measured_is_the_loss_difference_of_one_tensor() -> None:
    task, model, choices = tiny()
    table = measured(model, task, choices)
    data = list(batches_of(task, "calibration"))

    def loss(network: nn.Module) -> float:
        return float(np.mean([float(task.loss(network(*x), y).detach()) for x, y in data]))

    base = loss(task.model())
    network = task.model()
    q = LearntRange()
    with torch.no_grad():
        q.calibrate(network[0].weight, in_bits(q, 2))
        network[0].weight.copy_(q.quantize(network[0].weight, in_bits(q, 2)))
    change = max(loss(network) - base, 0.0)
    wide = table.cells[0, choices.column[LayerFormat.of(8, 8)]]
    narrow = table.cells[0, choices.column[LayerFormat.of(2, 8)]]
    # the narrow cell holds the weight's change at 2 bits and the input's at 8; the wide one only noise
    assert narrow == pytest.approx(change + wide, abs=max(0.02 * change, 1e-4))
    assert model.allocation is None
    assert all(w.format.floating for w in model.weights.values())


@pytest.mark.parametrize("method", SENSITIVITIES)
def test_tables_are_monotone_and_positive(method: str) -> None:
    task, model, choices = tiny()
    table = sensitivity(method, model, task, choices)
    cells, options = table.cells, table.options
    assert (cells >= 0).all()
    assert cells.max() > 0
    for j, wide in enumerate(options):
        for k, narrow in enumerate(options):
            if narrow.weight.bits <= wide.weight.bits and narrow.activation.bits <= wide.activation.bits:
                assert (cells[:, j] <= cells[:, k] + 1e-12).all()
    assert all(w.format.floating for w in model.weights.values())
    assert all(number.floating for number in model.input_formats.values())
    assert all(p.grad is None for p in model.network.parameters())


def test_fit_ranks_as_the_measured_change_does(bench: Workbench) -> None:
    from scipy.stats import spearmanr

    low = [bench.choices.column[LayerFormat.of(b, b)] for b in (2, 3, 4)]
    truth = sensitivity("measured", bench.quantized(), bench.task, bench.choices).cells[:, low].ravel()
    for method in ("fit", "fit_noise", "fit_exact"):
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


def test_traces_of_inputs_are_those_of_single_samples() -> None:
    """However the samples are put into batches, a last smaller one included: each counts once."""
    x, y = (torch.cat(parts) for parts in zip(*Tiny().batches("calibration", 0), strict=True))
    found = []
    for size in (1, 4, 10):
        task, model, _ = tiny()
        data = [((a,), b) for a, b in zip(x.split(size), y.split(size), strict=True)]
        found.append(list(fisher_traces(model, task, data).activation.values()))
    w1, w2 = (p.detach() for p in Tiny().model().parameters())
    slope = 2 * (x @ w1.T @ w2.T - y)  # of each sample's own loss
    assert found[0] == pytest.approx([float((slope @ w2 @ w1).pow(2).sum() / 10), float((slope @ w2).pow(2).sum() / 10)], rel=1e-5)
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert found[2] == pytest.approx(found[0], rel=1e-5)


def test_traces_survive_a_checkpoint() -> None:
    task, model, _ = tiny()
    x, y = task.batches("calibration", 0)[0]

    def see(*traces: FisherTraces) -> None:
        model.network.zero_grad()
        with contextlib.ExitStack() as stack:
            for one in traces:
                stack.enter_context(model.tapped(one.tap))
            task.loss(model.network(x), y).backward()
        for one in traces:
            one.update(5)

    whole, first = FisherTraces(model, momentum=0.9), FisherTraces(model, momentum=0.9)
    see(whole, first)
    second = FisherTraces(model, momentum=0.9)
    second.load_state(first.state())
    with torch.no_grad():
        model.weight_of("0").mul_(2)
    see(whole, second)
    assert (second.weight, second.activation, second.passes) == (whole.weight, whole.activation, 2)
    assert second.weight["0"] != first.weight["0"]


def test_one_forward_pass_serves_ranges_and_gradients() -> None:
    task, model, choices = tiny()
    calls = []
    model.network.register_forward_hook(lambda *_: calls.append(1))
    fit(model, task, choices)
    assert len(calls) == 2  # batches
    other = tiny()[1]
    other.observe(batches_of(task, "calibration"))
    for name in choices.layers:
        assert torch.equal(model.input_sample(name), other.input_sample(name))  # type: ignore[arg-type]  # observed


def test_the_model_is_left_as_it_was(bench: Workbench) -> None:
    model = bench.quantized()
    before = {k: v.clone() for k, v in model.network.state_dict().items()}
    sensitivity("fit", model, bench.task, bench.choices)
    assert all(torch.equal(v, before[k]) for k, v in model.network.state_dict().items() if "quantizer" not in k)
    assert all(p.grad is None for p in model.network.parameters())


@pytest.mark.parametrize("method", SENSITIVITIES)
def test_non_finite_calibration_loss(method: str) -> None:
    class Broken(Tiny):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            return super().loss(output, target) / 0

    _, model, choices = tiny()
    with pytest.raises(TrainingDiverged, match="the calibration loss is inf; check the data and the trained weights"):
        sensitivity(method, model, Broken(), choices)
    assert all(p.grad is None for p in model.network.parameters())


@pytest.mark.parametrize("method", ["fit", "fit_noise", "fit_exact", "hessian"])
def test_non_finite_gradients_name_the_layer(method: str) -> None:
    class Cusp(Tiny):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            return torch.sqrt((0 * output).sum())  # 0, with a gradient of 0 times infinity

    _, model, choices = tiny()
    with pytest.raises(TrainingDiverged, match="the gradients of layer '0' are not finite"):
        sensitivity(method, model, Cusp(), choices)


@pytest.mark.parametrize("method", SENSITIVITIES)
def test_frozen_weights_are_as_sensitive_as_others(method: str) -> None:
    """A layer that is not trained is not insensitive for that."""
    task, model, choices = tiny()
    free = sensitivity(method, model, task, choices)
    _, model, _ = tiny()
    for parameter in model.network.parameters():
        parameter.requires_grad_(False)
    found = sensitivity(method, model, task, choices)
    assert found.cells == pytest.approx(free.cells, rel=1e-4)
    assert not any(p.requires_grad for p in model.network.parameters() if p.ndim > 1)


@pytest.mark.parametrize("method", SENSITIVITIES)
def test_a_layer_that_the_loss_does_not_see(method: str) -> None:
    class Blind(Tiny):
        def model(self) -> nn.Module:
            return Heads()

    task, model, choices = prepared(Blind())
    table = sensitivity(method, model, task, choices)
    assert (table.cells[choices.position["unseen"]] == 0).all()
    assert (table.cells[choices.position["seen"]] > 0).any()
    if method != "measured":
        measured_instead, none = table.notes
        assert " the weights and inputs of unseen: what these lose was measured" in measured_instead
        assert none == "the loss does not rise at any width of unseen: they count as insensitive."


class Heads(nn.Module):
    """Two layers that both run; the output of one is thrown away."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.seen, self.unseen = nn.Linear(3, 1), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.seen(x) + 0 * self.unseen(x).detach()


@pytest.mark.parametrize("method", SENSITIVITIES)
def test_a_layer_that_never_runs(method: str) -> None:
    class Rare(Tiny):
        def model(self) -> nn.Module:
            return Sometimes()

    task, model, choices = prepared(Rare())
    assert "second" in choices.layers
    with pytest.raises(UsageError, match="layer 'second' never ran on the calibration split"):
        sensitivity(method, model, task, choices)


class Sometimes(nn.Module):
    """Its second layer runs for single samples only: when it is traced, not when it is calibrated."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.last(self.second(h) if len(x) == 1 else h)


@pytest.mark.parametrize(("method", "power"), [("fit", 2), ("fit_noise", 2), ("fit_exact", 2), ("hessian", 1)])
@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_losses_of_any_size(method: str, power: int, scale: float) -> None:
    class Scaled(Tiny):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            return scale * super().loss(output, target)

    task, model, choices = tiny()
    plain = sensitivity(method, model, task, choices)
    scaled = sensitivity(method, tiny()[1], Scaled(), choices)
    assert scaled.cells == pytest.approx(plain.cells * scale**power, rel=1e-3)


class Shared(Tiny):
    """Two layers hold one weight."""

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        second.weight = first.weight
        return nn.Sequential(first, second, nn.Linear(3, 1, bias=False))


def narrowing(choices: Choices, cells: FloatArray) -> list[float]:
    """What each layer loses when its weight goes from 8 bits to 2."""
    narrow, wide = (choices.column[LayerFormat.of(w, 8)] for w in (2, 8))
    return list(cells[:, narrow] - cells[:, wide])


def test_a_shared_weight_counts_once_in_fit() -> None:
    task, model, choices = prepared(Shared())
    assert choices.weight_ties == (("0", "1"),)
    network, squares = task.model(), []
    for x, y in task.batches("calibration", 0):
        network.zero_grad()
        task.loss(network(x), y).backward()
        squares.append(5 * float(network[0].weight.grad.pow(2).sum()))
    weight = network[0].weight.detach()
    narrow, wide = mean_square_errors(Sample(LearntRange(), weight, weight), [plain_integer(2), plain_integer(8)])
    first, second, _ = narrowing(choices, fit(model, task, choices).cells)
    assert first + second == pytest.approx(0.5 * np.mean(squares) * (narrow - wide), rel=1e-4)
    assert first == pytest.approx(second)


def test_a_shared_weight_counts_once_when_measured() -> None:
    class Solved(Shared):
        """The targets are the network's own outputs: any change costs."""

        def batches(self, split: str, seed: int) -> list[tuple[Tensor, Tensor]]:
            network = self.model()
            return [(x, network(x).detach()) for x, _ in super().batches(split, seed)]

    task, model, choices = prepared(Solved())

    def loss(bits: int) -> float:
        network, q = task.model(), LearntRange()
        with torch.no_grad():
            q.calibrate(network[0].weight, in_bits(q, bits))
            network[0].weight.copy_(q.quantize(network[0].weight, in_bits(q, bits)))  # it is the second layer's as well
            return float(np.mean([float(task.loss(network(x), y)) for x, y in task.batches("calibration", 0)]))

    first, second, _ = narrowing(choices, measured(model, task, choices).cells)
    assert loss(2) > loss(8) + 1e-3
    assert first + second == pytest.approx(loss(2) - loss(8), rel=1e-4)
    assert first == pytest.approx(second)


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
    assert trained.solution.allocation["block1.conv1"].weight.bits > 2


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
