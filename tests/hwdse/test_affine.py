"""Integers with a zero point: exact zeros, the definition, the benefit on one-sided tensors, and hand-over to integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from hwdse.formats import LayerFormat, NumberFormat
from hwdse.quantizers import Affine, LearntRange, Scheme

pytestmark = pytest.mark.numeric


def calibrated(x: torch.Tensor, bits: int) -> tuple[Affine, NumberFormat]:
    number = NumberFormat.parse(f"uint{bits}")
    quantizer = Affine()
    quantizer.calibrate(x, number)
    return quantizer, number


@given(st.integers(2, 16), st.floats(-3, 3), st.floats(0.01, 100), st.integers(0, 9))
def test_values_are_those_of_the_definition_and_zero_is_one(bits: int, shift: float, spread: float, seed: int) -> None:
    x = (torch.randn(257, generator=torch.Generator().manual_seed(seed)) + shift) * spread
    quantizer, number = calibrated(x, bits)
    grid = quantizer.levels(None, number)
    assert 0 <= grid.zero <= 2**bits - 1
    codes = np.clip(np.round(x.numpy() / grid.scale) + grid.zero, 0, 2**bits - 1).astype(np.int32)
    np.testing.assert_array_equal(quantizer.quantize(x, number).detach().numpy(), grid.values(codes))  # to the last bit
    assert quantizer.quantize(torch.zeros(3), number).tolist() == [0.0] * 3


@pytest.mark.parametrize("function", [F.silu, F.gelu], ids=["silu", "gelu"])
@pytest.mark.parametrize("bits", [4, 6, 8])
def test_one_sided_tensors_lose_less_than_with_signed_codes(function: object, bits: int) -> None:
    x = function(2 * torch.randn(20_000, generator=torch.Generator().manual_seed(0)))  # type: ignore[operator]  # a function
    quantizer, number = calibrated(x, bits)
    signed = LearntRange()
    signed.calibrate(x, NumberFormat.parse(f"int{bits}"))
    lost = [
        float((q - x).detach().square().mean())
        for q in (quantizer.quantize(x, number), signed.quantize(x, NumberFormat.parse(f"int{bits}")))
    ]
    assert lost[0] < 0.6 * lost[1]  # nearly a bit more: a quarter at best


def test_the_gradient_of_an_end_is_that_of_what_it_clips() -> None:
    quantizer, number = Affine(), NumberFormat.parse("uint4")
    with torch.no_grad():
        quantizer.low.fill_(-1.0), quantizer.high.fill_(2.0)
    x = torch.tensor([-5.0, 9.0, 8.0], requires_grad=True)
    quantizer.quantize(x, number).sum().backward()
    gain = 1 / np.sqrt(3 * 15)
    assert quantizer.low.grad is not None
    assert quantizer.high.grad is not None
    assert float(quantizer.low.grad) == pytest.approx(gain, rel=1e-5)  # one element at -1
    assert float(quantizer.high.grad) == pytest.approx(2 * gain, rel=1e-5)
    assert x.grad is not None
    assert x.grad.tolist() == [0.0] * 3


def test_a_scheme_may_name_it() -> None:
    scheme = Scheme.parse("lsq+affine")
    assert str(scheme.formats(LayerFormat.of(4, 8))) == "int4:uint8"
    assert scheme.activation_method(NumberFormat.parse("uint8")) == "affine"
    assert Scheme().weight_method(NumberFormat.parse("uint4")) == "affine"
    assert "zero point" in scheme.make_activation().requirement(NumberFormat.parse("uint8"))
