"""Adaptive rounding and bias correction: against brute force, closed forms, and the network's own outputs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwdse.allocators import Uniform
from hwdse.bias_correction import correct_biases
from hwdse.errors import UsageError
from hwdse.evaluation import evaluate
from hwdse.formats import FP32, Allocation, LayerFormat, plain_integer
from hwdse.quantized import QuantizedModel
from hwdse.quantizers import LearntRange, Scheme
from hwdse.rounding import DAMPING, _descend, _rows, _spread, round_adaptively
from hwdse.task import Recipe, batches_of
from hwdse.trace import trace
from hwdse.training import train_quantized
from hwdse.workbench import Workbench

pytestmark = pytest.mark.numeric


def wrapped(network: nn.Module, x: Tensor, bits: int = 3, scheme: Scheme | None = None, activation: int = 32) -> QuantizedModel:
    model = QuantizedModel(network.eval(), trace(network, (x[:1],)), scheme)
    model.observe([((x,), None)])
    model.set(Allocation(dict.fromkeys(model.layers, model.scheme.formats(LayerFormat.of(bits, 8)))), calibrate=True)
    for path in model.inputs:
        model.input_formats[path] = plain_integer(activation)
    return model


@pytest.mark.parametrize(
    "make",
    [
        lambda: (nn.Conv2d(6, 8, 3, padding=1, stride=2), torch.randn(2, 6, 9, 9)),
        lambda: (nn.Conv2d(6, 8, (3, 1), padding="same", dilation=2, groups=2, padding_mode="reflect"), torch.randn(2, 6, 9, 9)),
        lambda: (nn.Conv2d(6, 6, 3, groups=6), torch.randn(2, 6, 9, 9)),
        lambda: (nn.Conv1d(4, 8, 5, padding=2, stride=2, groups=2), torch.randn(3, 4, 17)),
        lambda: (nn.Linear(7, 5), torch.randn(2, 3, 7)),
    ],
)
def test_rows_make_the_layer_a_matrix_product(make: Callable[[], tuple[nn.Module, Tensor]]) -> None:
    torch.manual_seed(0)
    layer, x = make()
    rows = _rows(layer, x)
    weight = layer.weight.reshape(len(rows), -1, rows.shape[2])
    products = (rows @ weight.mT).movedim(0, 1).flatten(1)  # (samples, outputs)
    plain = layer(x) - (layer.bias if isinstance(layer, nn.Linear) else layer.bias.reshape(-1, *(1,) * (x.ndim - 2)))
    channels = -1 if isinstance(layer, nn.Linear) else 1
    assert torch.allclose(products, plain.movedim(channels, -1).reshape(products.shape), atol=1e-5)


def test_descent_finds_nearly_the_best_of_all_roundings_and_never_worse_than_nearest() -> None:
    gaps = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        inputs = torch.randn(50, 5, generator=generator, dtype=torch.float64) @ torch.randn(5, 5, generator=generator, dtype=torch.float64)
        h = (inputs.T @ inputs / 50 + 0.01 * torch.eye(5, dtype=torch.float64))[None]
        target = torch.randn(1, 1, 5, generator=generator, dtype=torch.float64)

        def nearest(x: Tensor) -> Tensor:
            return (x / 0.7).round().clamp(-2, 1) * 0.7

        def error(v: Tensor, target: Tensor = target, h: Tensor = h) -> float:
            return float((v - target)[0] @ h[0] @ (v - target)[0].T)

        levels = torch.tensor([-1.4, -0.7, 0.0, 0.7], dtype=torch.float64)
        best = min(error(levels[list(chosen)].reshape(1, 1, 5)) for chosen in itertools.product(range(4), repeat=5))
        spread = _spread(target, h, nearest)
        found = _descend(spread, target, h, nearest)
        assert error(found) <= error(spread) + 1e-12
        assert error(_descend(nearest(target), target, h, nearest)) <= error(nearest(target)) + 1e-12
        gaps.append(error(found) / best)
    assert min(gaps) == pytest.approx(1)
    assert sorted(gaps)[10] <= 1.05  # the median case
    assert sum(gaps) / len(gaps) < 1.3


@pytest.mark.parametrize("scheme", [Scheme(), Scheme("lsq_channel"), Scheme("codebook"), Scheme("affine")])
def test_the_output_changes_less_and_weights_lie_on_their_levels(scheme: Scheme) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10)
    )
    x = torch.randn(64, 3, 8, 8).cumsum(2).cumsum(3) / 8 + 0.5  # neighbours agree, as in images
    with torch.no_grad():
        truth = network(x)
        model = wrapped(network, x, scheme=scheme)
        before = F.mse_loss(model.network(x), truth)
        assert round_adaptively(model, [((x,), None)]) == ()
        after = F.mse_loss(model.network(x), truth)
        assert after < 0.5 * before
        for path, weight in model.weights.items():
            original = model.original(path)
            assert (weight.format.bits, weight.quantizer.method(weight.format)) == (3, scheme.weight)
            assert torch.allclose(weight.quantizer.quantize(original, weight.format), original, atol=1e-6)
        assert (model.network(x) - truth).mean(0).abs().max() < 1e-4  # with the bias, outputs keep their mean


def test_without_bias_correction_there_is_no_offset() -> None:
    torch.manual_seed(1)
    x = torch.randn(64, 6) + 1
    model = wrapped(nn.Sequential(nn.Linear(6, 4)), x)
    round_adaptively(model, [((x,), None)], correct_bias=False)
    assert not model.offsets


def test_one_linear_layer_reaches_the_least_squares_optimum_of_its_levels() -> None:
    """Against every combination of levels of each output, 4^4 of them."""
    torch.manual_seed(3)
    x = torch.randn(40, 4) @ torch.randn(4, 4)
    layer = nn.Linear(4, 3, bias=False)
    original = layer.weight.detach().clone()
    model = wrapped(nn.Sequential(layer), x, bits=2)
    quantizer = model.weight_quantizer(model.layers[0]).of(plain_integer(2))
    assert isinstance(quantizer, LearntRange)
    round_adaptively(model, [((x,), None)], correct_bias=False)
    levels = torch.arange(-2, 2) * float(quantizer.scale(2).detach())  # refitted
    h = x.T @ x / len(x)
    h = h + DAMPING * h.diagonal().mean() * torch.eye(4)
    everything = torch.cartesian_prod(*[levels] * 4)
    for row, found in zip(original, model.original("0").detach(), strict=True):
        errors = ((everything - row) @ h * (everything - row)).sum(1)
        mine = float((found - row) @ h @ (found - row))
        assert mine <= float(errors.min()) * 1.1 + 1e-9


def test_what_cannot_be_rounded_is_named() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(3, 4, 2, stride=2)
            self.twice = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.twice(F.relu(self.twice(self.up(x))))

    torch.manual_seed(0)
    x = torch.randn(4, 3, 5, 5)
    model = wrapped(Odd(), x)
    before = {path: model.original(path).clone() for path in model.weights}
    assert set(round_adaptively(model, [((x,), None)])) == {"up", "twice"}
    assert all(torch.equal(model.original(path), weight) for path, weight in before.items())


def test_bias_correction_gives_each_output_its_mean_back() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.ConvTranspose2d(5, 4, 2), nn.Flatten(), nn.Linear(4 * 49, 6))
    x = torch.randn(32, 3, 8, 8) + 1
    with torch.no_grad():
        truth = network(x).mean(0)
        model = wrapped(network, x, bits=2, activation=3)
        apart = float((model.network(x).mean(0) - truth).abs().max())
        correct_biases(model, [((x[:8],), None), ((x[8:],), None)])
        assert float((model.network(x).mean(0) - truth).abs().max()) < 1e-4 < apart
        with model.in_float():
            assert torch.allclose(network(x).mean(0), truth, atol=1e-6)  # no offset without quantisation


@pytest.mark.parametrize("recipe", [Recipe(epochs=0, bias_correction=True), pytest.param(Recipe().post_training(), marks=pytest.mark.slow)])
def test_post_training_options_help_on_a_real_network_and_survive_a_checkpoint(bench: Workbench, recipe: Recipe) -> None:
    def quantised(chosen: Recipe) -> QuantizedModel:
        model = bench.quantized()
        train_quantized(model, bench.task, bench.problem(), Uniform(LayerFormat.of(3, 8)), chosen, seed=0)
        return model

    def loss(model: QuantizedModel) -> float:
        with torch.no_grad():
            return sum(float(bench.task.loss(model.network(*x), y)) for x, y in batches_of(bench.task, "validation"))

    plain, better = quantised(replace(recipe, rounding="nearest", bias_correction=False)), quantised(recipe)
    assert loss(better) < loss(plain)
    again = bench.quantized()
    again.load_state(better.state())
    assert evaluate(again.network, bench.task, "test").scores.tolist() == evaluate(better.network, bench.task, "test").scores.tolist()
    assert loss(again) == pytest.approx(loss(better), rel=1e-6)


def test_post_training_options_are_refused_where_training_would_undo_them() -> None:
    with pytest.raises(UsageError, match="set epochs to 0"):
        Recipe(epochs=1, rounding="adaptive")
    with pytest.raises(UsageError, match="rounding must be nearest or adaptive, got 'up'"):
        Recipe(epochs=0, rounding="up")  # type: ignore[arg-type]


def test_inputs_far_from_zero_and_shared_weights_and_full_precision() -> None:
    torch.manual_seed(0)
    x = 1000 + 0.1 * torch.randn(200, 6)
    model = wrapped(nn.Sequential(nn.Linear(6, 4)), x)
    truth = model.calls("0", (x,), floating=True)[0][1]
    assert round_adaptively(model, [((x,), None)]) == ()
    after = model.network(x).detach()
    assert float((after.mean(0) - truth.mean(0)).abs().max()) < 1e-2  # of outputs about 1000
    assert float((after - truth).std()) < float(truth.std(0).mean())

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(F.relu(self.a(x)))

    y = torch.randn(64, 6)
    tied = wrapped(Tied(), y)
    truth, before = tied.calls("b", (y,), floating=True)[0][1], tied.original("a").clone()
    assert set(round_adaptively(tied, [((y,), None)])) == {"a", "b"}
    assert torch.equal(tied.original("a"), before)
    assert torch.allclose(tied.network(y).mean(0), truth.mean(0), atol=1e-5)  # biases are corrected all the same
    assert len(tied.parameters()[1]) == len(set(tied.parameters()[1]))

    full = wrapped(nn.Sequential(nn.Linear(6, 4)), y)
    full.weights["0"].format = FP32
    assert round_adaptively(full, [((y,), None)]) == ()
    assert not full.offsets
