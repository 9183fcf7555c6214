# ruff: noqa: D102 (tests are named, not documented)
"""What a quantiser must do, as tests: subclass :class:`QuantizerContract` in a test file and say which quantiser it is about."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from ..errors import UsageError
from ..formats import NumberFormat, plain_integer
from ..quantizers import Quantizer

BITS = (2, 3, 4, 5, 8, 12, 16)


class QuantizerContract:
    """Tests that any quantiser passes, run by pytest in a subclass::

    class TestMine(QuantizerContract):
        def quantizer(self):
            return MyQuantizer()
    """

    #: Whether it takes negative values, and none.
    signs = (True, False)
    #: Whether quantising what is quantised changes nothing.
    idempotent = True
    #: Whether the error goes to zero with the width.
    converges = True
    #: Whether zero stays zero, so that padding and sparsity do.
    keeps_zero = True

    def quantizer(self) -> Quantizer:
        """A fresh quantiser under test."""
        raise NotImplementedError

    def sample(self, signed: bool, count: int = 4096) -> Tensor:
        """A tensor of the kind it is made for."""
        x = torch.randn(count, generator=torch.Generator().manual_seed(0))
        return (x if signed else x.relu()).reshape(64, -1)

    def format(self, bits: int) -> NumberFormat:
        """The format of so many bits that it serves."""
        return self.quantizer().counterpart(plain_integer(bits))

    def made(self, x: Tensor, bits: int) -> Quantizer:
        """The quantiser, told of its tensor and calibrated."""
        quantizer = self.quantizer()
        quantizer.prepare(x, 0)
        quantizer.calibrate(x, self.format(bits))
        return quantizer

    def slices(self, quantizer: Quantizer, y: Tensor) -> list[Tensor]:
        """The parts of a tensor that have one scale."""
        shape = getattr(quantizer, "range", torch.ones(())).shape
        return list(y) if len(shape) else [y]

    @pytest.mark.parametrize("bits", BITS)
    @pytest.mark.parametrize("signed", [True, False])
    def test_at_most_two_to_the_bits_levels_a_scale(self, bits: int, signed: bool) -> None:
        if signed not in self.signs:
            pytest.skip("not made for these signs")
        x = self.sample(signed)
        quantizer = self.made(x, bits)
        y = quantizer.quantize(x, self.format(bits)).detach()
        assert y.shape == x.shape
        assert y.dtype == x.dtype
        assert all(1 < len(torch.unique(part)) <= 2**bits for part in self.slices(quantizer, y))

    @pytest.mark.parametrize("bits", BITS)
    @pytest.mark.parametrize("signed", [True, False])
    def test_quantising_twice_is_quantising_once(self, bits: int, signed: bool) -> None:
        if signed not in self.signs or not self.idempotent:
            pytest.skip("it says that this does not hold")
        x = self.sample(signed)
        quantizer = self.made(x, bits)
        once = quantizer.quantize(x, self.format(bits)).detach()
        step = (once.amax() - once.amin()) / 2**bits
        assert float((quantizer.quantize(once, self.format(bits)).detach() - once).abs().max()) <= 1e-3 * float(step)

    @pytest.mark.parametrize("signed", [True, False])
    def test_the_error_falls_with_the_width(self, signed: bool) -> None:
        if signed not in self.signs or not self.converges:
            pytest.skip("it says that this does not hold")
        x = self.sample(signed)
        errors = [float((self.made(x, bits).quantize(x, self.format(bits)) - x).detach().pow(2).mean()) for bits in BITS]
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] < 1e-4 * float(x.pow(2).mean())

    @pytest.mark.parametrize("bits", [2, 4, 8])
    def test_bfloat16_is_close_to_float32(self, bits: int) -> None:
        x = self.sample(self.signs[0])
        quantizer = self.made(x, bits)
        half = quantizer.quantize(x.bfloat16(), self.format(bits)).detach()
        assert half.dtype == torch.bfloat16
        assert all(len(torch.unique(part)) <= 2**bits for part in self.slices(quantizer, half))
        whole = quantizer.quantize(x.bfloat16().float(), self.format(bits)).detach()
        step = float(whole.amax() - whole.amin()) / (2**bits - 1)
        assert float((half.float() - whole).abs().mean()) <= 0.05 * step + 2**-8 * float(whole.abs().mean())

    @pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 1e-12, 1e12])
    def test_constant_tensors_stay_finite(self, value: float) -> None:
        if (value < 0) not in self.signs and value < 0:
            pytest.skip("not made for these signs")
        x = torch.full((8, 8), value, requires_grad=True)
        quantizer = self.made(x.detach(), 3)
        y = quantizer.quantize(x, self.format(3))
        y.sum().backward()  # type: ignore[no-untyped-call]  # torch's stub
        assert torch.isfinite(y).all()
        assert x.grad is not None
        assert torch.isfinite(x.grad).all()
        if value == 0 and self.keeps_zero:
            assert torch.equal(y.detach().abs(), torch.zeros(8, 8))

    def test_the_gradient_reaches_the_input_and_every_parameter_in_use(self) -> None:
        x = self.sample(self.signs[0]).requires_grad_()
        quantizer = self.made(x.detach(), 4)
        (quantizer.quantize(x, self.format(4)) * torch.linspace(-1, 2, x.numel()).reshape(x.shape)).sum().backward()  # type: ignore[no-untyped-call]  # torch's stub
        assert x.grad is not None
        assert float((x.grad != 0).float().mean()) > 0.3
        gradients = [p.grad for p in quantizer.parameters() if p.grad is not None]
        assert all(torch.isfinite(g).all() for g in gradients)
        if list(quantizer.parameters()):
            assert any(bool((g != 0).any()) for g in gradients)

    def test_the_state_goes_through_a_checkpoint(self) -> None:
        x = self.sample(self.signs[0])
        quantizer = self.made(x, 3)
        again = self.quantizer()
        again.prepare(x, 0)
        again.load_state_dict(copy.deepcopy(quantizer.state_dict()))
        assert torch.equal(again.quantize(x, self.format(3)), quantizer.quantize(x, self.format(3)))

    def test_formats_that_it_does_not_serve_are_refused(self) -> None:
        x = self.sample(self.signs[0])
        quantizer = self.made(x, 4)
        other = next(f for f in map(NumberFormat.parse, ("int1", "int17", "mxfp4", "cb4", "fp32")) if not quantizer.serves(f))
        with pytest.raises(UsageError, match=f"does not round to {other}"):
            quantizer.quantize(x, other)
