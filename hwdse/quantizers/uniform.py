"""Uniform quantiser with a learnt range (LSQ-style).

Esser et al., "Learned Step Size Quantization", ICLR 2020, with the range R in place of the step as the learnt parameter, so that a
change of width keeps the range (QBitOpt, arXiv 2307.04535, leaves this open; ours):

    signed    s = R / 2^(b-1)     q = s clip(round(x / s), -2^(b-1), 2^(b-1) - 1)
    unsigned  s = R / (2^b - 1)   q = s clip(round(x / s), 0, 2^b - 1)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from ..formats import NumberFormat
from .base import Quantizer
from .calibrators import mean_square
from .levels import Grid

_SEARCHED = 1 << 12  # elements of each channel (or of the tensor) looked at by the search of a range


class _Uniform(torch.autograd.Function):
    """s clip(round(x / s), low, high), with LSQ's gradients (section 2.1): straight through inside, and of s

    q - x / s inside, the bound outside, which is (sum g q - sum over the inside of g x) / s: two inner products, no mask kept.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, scale: Tensor, low: int, high: int, gain: float) -> Tensor:
        # in float32 whatever x is: bfloat16 has 8 significant bits, too few to count 2^16 levels
        q = x.float().div(scale).round_().clamp_(low, high).mul_(scale).to(x.dtype)
        ctx.save_for_backward(x, q, scale)
        ctx.bounds = low, high, gain  # type: ignore[attr-defined]  # the way torch passes non-tensors
        return q

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, q, scale = ctx.saved_tensors  # type: ignore[attr-defined]  # set in forward
        low, high, gain = ctx.bounds  # type: ignore[attr-defined]  # set in forward
        inside = _inside(grads[0], x, scale, low - 1e-6, high + 1e-6)
        if not ctx.needs_input_grad[1]:  # type: ignore[attr-defined]  # torch's stub
            return inside, None, None, None, None
        return inside, _inner(grads[0], q, scale).sub_(_inner(inside, x, scale)).div_(scale).mul_(gain), None, None, None


def _inside(gradient: Tensor, x: Tensor, scale: Tensor, low: float, high: float) -> Tensor:
    """The gradient where low <= x / s <= high, else 0."""
    if scale.ndim or scale.is_cuda:  # reading a scale back would wait for the device
        return gradient * ((x >= low * scale) & (x <= high * scale))
    s = float(scale)
    masked: Tensor = torch.ops.aten.hardtanh_backward(gradient, x, low * s, high * s)  # one pass, no mask in memory
    return masked


def _inner(a: Tensor, b: Tensor, like: Tensor) -> Tensor:
    """Sum of a b over everything that shares one element of ``like``."""
    if not like.ndim:
        return torch.dot(a.reshape(-1).float(), b.reshape(-1).float())
    return (a.float() * b.float()).sum([d for d in range(a.ndim) if like.shape[d] == 1], keepdim=True)


class LearntRange(Quantizer):
    """See the module's formula; ``signed`` is found by :meth:`calibrate`, and the range by :attr:`calibrator`.

    The gradient of R is scaled by 1/sqrt(elements of a range * levels), as in LSQ section 2.2.

    Args:
        per_channel: a range for each output channel, for weights; otherwise one for the tensor.
    """

    def __init__(self, per_channel: bool = False) -> None:
        super().__init__()
        self.per_channel, self.axis = per_channel, 0
        self.range = nn.Parameter(torch.ones(()))
        self.register_buffer("signed", torch.tensor(True))
        self.signed: Tensor
        self.is_signed = True

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.is_signed = bool(self.signed)

    def prepare(self, weight: Tensor, axis: int, groups: int = 1) -> None:
        """One range per slice along ``axis``, where ranges are per channel."""
        if self.per_channel:
            self.axis = axis
            self.range = nn.Parameter(torch.ones([n if d == axis else 1 for d, n in enumerate(weight.shape)]))

    def code_range(self, bits: int) -> tuple[int, int, float]:
        """Lowest and highest level, and the number of steps in the range."""
        if self.is_signed:
            return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, float(2 ** (bits - 1))
        return 0, 2**bits - 1, float(2**bits - 1)

    def calibrate(self, sample: Tensor, number: NumberFormat) -> None:
        """Sets sign and range by the calibrator's rule; a channel of zeros is exact at any range, and gets 1."""
        bits = self.check(number)
        with torch.no_grad():
            sample = sample.detach().float()
            self.is_signed = bool((sample < 0).any())
            self.signed.fill_(self.is_signed)
            rows = sample.movedim(self.axis, 0).flatten(1) if self.range.ndim else sample.reshape(1, -1)
            if not rows.numel():
                return
            if rows.shape[1] > _SEARCHED:
                rows = self._thinned(rows)
            found = self.calibrator(rows, *self.code_range(bits))
            found = torch.where(torch.isfinite(found) & (found > 0), found, torch.ones_like(found))
            self.range.copy_(found.reshape(self.range.shape))

    def _thinned(self, rows: Tensor) -> Tensor:
        """Fewer elements for a search; those of a rule that counts elements are left alone."""
        if self.calibrator is not mean_square:
            return rows
        extremes = torch.stack(rows.aminmax(dim=1), 1)  # an even sample misses them, and ranges are about them
        return torch.cat([rows[:, :: rows.shape[1] // _SEARCHED + 1], extremes], 1)

    def refit(self, product: Tensor, square: Tensor) -> Tensor:
        """See the base; one factor for all channels where they share a range."""
        if not self.range.ndim:
            product, square = product.sum().expand_as(product), square.sum().expand_as(square)
        factors = torch.where((square > 0) & (product > 0), product / square, torch.ones_like(product)).to(self.range.dtype)
        with torch.no_grad():
            self.range.mul_(factors.reshape(self.range.shape) if self.range.ndim else factors[0])
        return factors

    def scale(self, bits: int) -> Tensor:
        """The step of each range."""
        return self.range.abs().clamp_min(1e-8) / self.code_range(bits)[2]

    def levels(self, quantised: Tensor | None, number: NumberFormat) -> Grid:
        """Integers with a scale for the tensor, or for each channel."""
        low, high, _ = self.code_range(number.bits)
        scale = self.scale(number.bits).detach().float().cpu().numpy()
        return Grid(number.bits, low, high, scale.reshape(-1) if scale.ndim else scale, self.axis)

    def requirement(self, number: NumberFormat) -> str:
        """A scale per channel has to be applied."""
        return "weights have one scale per output channel, which the device must apply" if self.per_channel else ""

    def quantize(self, x: Tensor, number: NumberFormat) -> Tensor:
        """See the module's formula."""
        bits = self.check(number)
        low, high, _ = self.code_range(bits)
        gain = math.sqrt(max(self.range.numel(), 1) / (max(x.numel(), 1) * max(high, 1)))
        result: Tensor = _Uniform.apply(x, self.scale(bits), low, high, gain)  # type: ignore[no-untyped-call]  # torch's stub
        return result
