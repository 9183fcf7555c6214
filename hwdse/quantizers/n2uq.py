"""Activations at learnt, unevenly spaced thresholds: N2UQ (Liu et al., "Nonuniform-to-Uniform Quantization", arXiv 2111.14826)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from ..formats import NumberFormat
from .base import MIN_BITS, Quantizer
from .levels import Grid, Thresholds
from .uniform import LearntRange

_NONUNIFORM = 8  # widest threshold set; 255 thresholds follow any distribution
_PASSES = 15  # up to so many thresholds a pass over the tensor for each is faster than looking every element up


class _N2UQ(torch.autograd.Function):
    """Thresholding forward; generalised straight-through backward: the piecewise linear function through the knots."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, start: Tensor, a: Tensor) -> Tensor:
        thresholds = start + torch.cumsum(a, 0) - a / 2  # T_1 = start + a_1/2, T_{i+1} = T_i + (a_i + a_{i+1})/2
        ctx.save_for_backward(x, start, a)
        return _levels(x.float(), thresholds).mul_(2.0 / len(a)).to(x.dtype)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, start, a = ctx.saved_tensors  # type: ignore[attr-defined]  # set in forward
        slope = 2.0 / len(a) / a
        knots = torch.cat([start[None], start + torch.cumsum(a, 0)])
        passed, total, moment = _by_segment(grads[0].float(), x.float(), knots, slope)
        # h(x) = i D + D (x - k_i) / a_{i+1}: every earlier width and the start shift the segment, its own width also stretches it
        shift = -slope * total
        stretch = -slope / a * (moment - knots[:-1] * total)
        later = shift.flip(0).cumsum(0).flip(0) - shift  # of the segments behind
        return passed.to(grads[0].dtype), shift.sum(), stretch + later


def _levels(x: Tensor, thresholds: Tensor) -> Tensor:
    """How many thresholds each element lies above."""
    if len(thresholds) > _PASSES or x.is_cuda:
        return torch.bucketize(x, thresholds, out_int32=True).to(x.dtype)
    found, above = torch.zeros_like(x), torch.empty_like(x)
    for threshold in thresholds.tolist():
        found += torch.sub(x, threshold, out=above).sign_().clamp_min_(0)
    return found


def _by_segment(gradient: Tensor, x: Tensor, knots: Tensor, slope: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient times the slope of the segment between knots that x lies in (0 outside), and by segment the sums of g and of g x."""
    flat, g = x.reshape(-1), gradient.reshape(-1)
    if len(slope) > _PASSES or x.is_cuda:
        at = torch.bucketize(flat, knots)  # 0 up to the start, n + 1 above the last knot
        outside = slope.new_zeros(1)
        sums = [torch.bincount(at, weights=w, minlength=len(knots) + 1)[1:-1].to(x.dtype) for w in (g, g * flat)]
        return (gradient * torch.cat([outside, slope, outside])[at].reshape(x.shape)), sums[0], sums[1]
    passed, total, moment = torch.zeros_like(g), torch.empty_like(slope), torch.empty_like(slope)
    edges = knots.tolist()
    for i, (low, high) in enumerate(pairwise(edges)):
        inside = torch.ops.aten.hardtanh_backward(g, flat, low, high)  # g between the two, else 0
        total[i], moment[i] = inside.sum(), torch.dot(inside, flat)
        passed.add_(inside, alpha=float(slope[i]))
    return passed.reshape(x.shape), total, moment


class N2UQ(Quantizer):
    """Activations: learnt thresholds, uniform levels. Liu et al., "Nonuniform-to-Uniform Quantization", arXiv 2111.14826.

    With ``n = 2^b - 1``, ``D = 2/n``: thresholds from a learnt ``start`` and widths ``a_1 .. a_n`` (started at D, kept >= 1e-3), output
    ``i D``, on the input divided by half its calibrated range (ours: the paper's inputs are normalised already). Every bit-width up
    to 8 has thresholds of its own, so that a change of width and back forgets nothing. Above 8 bits, and for inputs that take
    negative values, which have no non-negative start, :class:`~hwdse.quantizers.uniform.LearntRange` is used (ours).
    """

    def __init__(self) -> None:
        super().__init__()
        self.clip = LearntRange()  # finds sign and range
        self.start = nn.Parameter(torch.zeros(()))
        self.widths = nn.ParameterDict({str(b): nn.Parameter(torch.empty(2**b - 1)) for b in range(MIN_BITS, _NONUNIFORM + 1)})
        self._reset()

    def _reset(self) -> None:
        with torch.no_grad():
            self.start.zero_()
            for widths in self.widths.values():
                widths.fill_(2.0 / len(widths))

    def calibrate(self, sample: Tensor, number: NumberFormat) -> None:
        """Finds the range and starts at uniform thresholds."""
        self.clip.calibrate(sample, number)
        self._reset()

    def levels(self, quantised: Tensor | None, number: NumberFormat) -> Grid | Thresholds:
        """Counts of thresholds; a plain grid where the input takes negative values or the format is wide."""
        if self.clip.is_signed or str(number.bits) not in self.widths:
            return self.clip.levels(quantised, number)
        with torch.no_grad():
            widths = self.widths[str(number.bits)].clamp_min(1e-3).float()
            thresholds = (self.start + torch.cumsum(widths, 0) - widths / 2).cpu().numpy()
            half = float(self.clip.range.abs().clamp_min(1e-8) / 2)
        return Thresholds(number.bits, half, thresholds.astype(np.float32), 2.0 / len(thresholds) * half)

    def requirement(self, number: NumberFormat) -> str:
        """Thresholds have to be applied."""
        return "activations are rounded at learnt, unevenly spaced thresholds, which the device must apply"

    def quantize(self, x: Tensor, number: NumberFormat) -> Tensor:
        """See the class's formula."""
        bits = self.check(number)
        if self.clip.is_signed or bits > _NONUNIFORM:
            return self.clip.quantize(x, number)
        half = (self.clip.range.abs().clamp_min(1e-8) / 2).to(x.dtype)
        out: Tensor = _N2UQ.apply(x / half, self.start, self.widths[str(bits)].clamp_min(1e-3))  # type: ignore[no-untyped-call]  # torch's stub
        return out * half
