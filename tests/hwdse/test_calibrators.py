"""Rules that find ranges: closed forms, exhaustive search, channels; and what schemes say of them."""

from __future__ import annotations

import pytest
import torch
from in_bits import in_bits
from torch import Tensor, nn

from hwdse.errors import UnknownName, UsageError
from hwdse.formats import Allocation, LayerFormat
from hwdse.quantized import QuantizedModel
from hwdse.quantizers import CALIBRATORS, LearntRange, Scheme
from hwdse.trace import trace

pytestmark = pytest.mark.numeric


def error(rows: Tensor, found: Tensor, low: int, high: int, steps: float) -> Tensor:
    scale = found[:, None] / steps
    return ((rows / scale).round().clamp(low, high) * scale - rows).pow(2).mean(1)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("signed", [True, False])
def test_rules_by_channel(bits: int, signed: bool) -> None:
    torch.manual_seed(0)
    rows = torch.randn(5, 3000) * torch.tensor([0.01, 0.1, 1, 10, 100])[:, None]
    rows = rows if signed else rows.relu()
    low, high, steps = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 2.0 ** (bits - 1)) if signed else (0, 2**bits - 1, 2.0**bits - 1)
    found = {name: rule(rows, low, high, steps) for name, rule in CALIBRATORS.items()}
    top, bottom = found["minmax"] * high / steps, found["minmax"] * low / steps
    assert (rows <= top[:, None] * (1 + 1e-6)).all()  # nothing is clipped, and one end is reached
    assert (rows >= bottom[:, None] * (1 + 1e-6)).all()
    assert torch.isclose(rows.amax(1), top).logical_or(torch.isclose(rows.amin(1), bottom)).all()
    clipped = (rows.abs() > (found["percentile"] * high / steps)[:, None] * (1 + 1e-6)).float().mean(1)
    assert (clipped <= 1e-4).all()
    assert (found["percentile"] <= found["minmax"] * (1 + 1e-6) * steps / high).all()
    best = error(rows, found["mse"], low, high, steps)
    fine = torch.stack([error(rows, rows.abs().amax(1) * f, low, high, steps) for f in torch.linspace(0.02, 2.1, 400)]).amin(0)
    assert (best <= fine * 1.03).all()  # a search much finer finds nothing much better
    assert (best <= error(rows, found["minmax"], low, high, steps) * (1 + 1e-6)).all()


def test_a_channel_of_zeros_or_of_one_value() -> None:
    q = LearntRange(per_channel=True)
    weight = torch.stack([torch.zeros(6), torch.full((6,), 0.5), torch.randn(6)])
    q.prepare(weight, 0)
    for bits in (2, 8, 16):
        q.calibrate(weight, in_bits(q, bits))
        out = q.quantize(weight, in_bits(q, bits)).detach()
        assert torch.equal(out[0], torch.zeros(6))
        assert torch.allclose(out[1], weight[1], rtol=1e-3)
        assert torch.isfinite(out).all()


def test_per_channel_is_per_tensor_on_each_channel() -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 3, 3, 3) * torch.tensor([1, 2, 3, 4.0]).reshape(4, 1, 1, 1)
    upstream = torch.randn_like(weight)
    together = LearntRange(per_channel=True)
    together.prepare(weight, 0)
    together.calibrate(weight, in_bits(together, 3))
    x = weight.clone().requires_grad_()
    out = together.quantize(x, in_bits(together, 3))
    (out * upstream).sum().backward()
    for channel in range(4):
        alone = LearntRange()
        alone.calibrate(weight[channel], in_bits(alone, 3))
        y = weight[channel].clone().requires_grad_()
        single = alone.quantize(y, in_bits(alone, 3))
        (single * upstream[channel]).sum().backward()
        assert torch.allclose(single, out[channel])
        assert torch.equal(y.grad, x.grad[channel])  # type: ignore[arg-type,index]
        assert float(together.range.grad[channel]) == pytest.approx(float(alone.range.grad), rel=1e-4)  # type: ignore[arg-type,index]


def test_transposed_convolutions_have_their_outputs_second() -> None:
    network = nn.Sequential(nn.ConvTranspose2d(2, 5, 3), nn.Conv2d(5, 4, 1))
    x = torch.randn(1, 2, 6, 6)
    model = QuantizedModel(network, trace(network, (x,)), Scheme("lsq_channel"))
    shapes = {path: tuple(w.quantizer.methods["lsq_channel"].range.shape) for path, w in model.weights.items()}  # type: ignore[union-attr]
    assert shapes == {"0": (1, 5, 1, 1), "1": (4, 1, 1, 1)}
    model.observe([((x,), None)])
    model.set(Allocation({n: LayerFormat.of(2, 8) for n in model.layers}), calibrate=True)
    for channel in network[0].weight.unbind(1):
        assert len(channel.unique()) <= 4


def test_schemes_are_read_as_they_are_written() -> None:
    assert str(Scheme()) == "lsq+lsq@mse"
    for text in ("lsq_channel+pact@percentile", "codebook+n2uq@minmax"):
        assert str(Scheme.parse(text)) == text
    assert Scheme.parse(" lsq + lsq ") == Scheme()
    for wrong in ("lsq", "", "+lsq", "lsq+"):
        with pytest.raises(UsageError, match=r"WEIGHT\+ACTIVATION"):
            Scheme.parse(wrong)
    with pytest.raises(UnknownName, match="range calibrator 'ms'"):
        Scheme.parse("lsq+lsq@ms")
    assert "one scale per output channel" in Scheme("lsq_channel").requirements([LayerFormat.of(4, 8)])[0]


def test_percentile_of_observed_inputs_clips_the_tail() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(50, 2))
    batches = [((torch.randn(64, 50),), None) for _ in range(20)]
    batches[3][0][0][0, 0] = 500.0
    model = QuantizedModel(network, trace(network, (torch.zeros(1, 50),)), Scheme("lsq", "lsq", "percentile"))
    model.observe(batches)
    model.set(Allocation({n: LayerFormat.of(8, 8) for n in model.layers}), calibrate=True)
    found = float(model.inputs["0"].of(model.input_formats["0"]).range.detach())  # type: ignore[arg-type]
    everything = torch.cat([x.flatten() for (x,), _ in batches]).abs().sort().values
    true = float(everything[int(len(everything) * 0.9999)])
    assert found * 127 / 128 == pytest.approx(true, rel=0.25)  # the sample holds half of the elements
    assert found < 10
