"""Uniform quantiser with learnt ends and a zero point, for tensors that are not symmetric about 0, such as what follows SiLU or GELU.

Bhalgat et al., "LSQ+", CVPR Workshops 2020 (arXiv 2004.09576), with the ends L <= 0 <= H as the learnt parameters in place of step and
offset, so that a change of width keeps them, and with an offset that is a whole number of steps, so that 0 is a level (ours: padding stays
exact, and the device's zero point is an integer):

    s = (H - L) / (2^b - 1)     z = round(-L / s)     q = s (clip(round(x / s) + z, 0, 2^b - 1) - z)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..formats import Integer, NumberFormat
from .base import MAX_BITS, MIN_BITS, Quantizer, round_ste
from .levels import Grid

_SEARCHED = 1 << 12  # elements that the search of the ends looks at


class Affine(Quantizer):
    """See the module's formula; the ends are found by :attr:`calibrator`, the upper one first.

    The gradient of each end is 1 for what it clips, and that of the step inside; both are scaled as in LSQ (section 2.2).
    """

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.Parameter(torch.zeros(())), nn.Parameter(torch.ones(()))
        self.of_weight = False

    def prepare(self, weight: Tensor, axis: int, groups: int = 1) -> None:
        """From now on the tensor is a weight."""
        self.of_weight = True

    def serves(self, number: NumberFormat) -> bool:
        """Integers with a zero point whose scale is the quantiser's: ``uint8``."""
        element = number.element
        integer = isinstance(element, Integer) and not element.symmetric
        return integer and number.scaling.per == "plain" and MIN_BITS <= number.bits <= MAX_BITS

    def counterpart(self, number: NumberFormat) -> NumberFormat:
        """The integer with a zero point."""
        return NumberFormat.parse(f"uint{number.bits}") if number.plain and not number.floating else number

    def calibrate(self, sample: Tensor, number: NumberFormat) -> None:
        """Sets the ends: the calibrator finds the range above the lowest value, then the one below the end that was found."""
        steps = 2 ** self.check(number) - 1
        with torch.no_grad():
            row = sample.detach().float().reshape(1, -1)
            if not row.numel():
                return
            low, high = row.min().clamp_max(0), row.max().clamp_min(0)
            if row.numel() > _SEARCHED:
                row = torch.cat([row[:, :: row.numel() // _SEARCHED + 1], low.reshape(1, 1), high.reshape(1, 1)], 1)
            high = (low + self.calibrator(row - low, 0, steps, float(steps))[0]).clamp_min(0)
            low = (high - self.calibrator((high - row).clamp_min(0), 0, steps, float(steps))[0]).clamp_max(0)
            if not (torch.isfinite(high - low) and high > low):
                low, high = torch.zeros_like(low), torch.ones_like(high)
            self.low.copy_(low), self.high.copy_(high)

    def step(self, bits: int) -> tuple[Tensor, Tensor]:
        """The scale, and the zero point before it is rounded."""
        low, high = self.low.clamp_max(0), self.high.clamp_min(0)
        scale = (high - low).clamp_min(1e-8) / (2**bits - 1)
        return scale, -low / scale

    def levels(self, quantised: Tensor | None, number: NumberFormat) -> Grid:
        """Unsigned integers with a scale and a zero point for the tensor."""
        scale, zero = (t.detach().float().cpu() for t in self.step(number.bits))
        return Grid(number.bits, 0, 2**number.bits - 1, scale.numpy(), zero=int(zero.round()))

    def requirement(self, number: NumberFormat) -> str:
        """Zero points have to be taken out of the sum."""
        what, other = ("weights", "inputs") if self.of_weight else ("activations", "weights")
        return f"{what} in {number} have a zero point: the device subtracts it times the sum of each output's {other}"

    def quantize(self, x: Tensor, number: NumberFormat) -> Tensor:
        """See the module's formula."""
        most = 2 ** self.check(number) - 1
        scale, zero = self.step(number.bits)
        gain = 1 / math.sqrt(max(x.numel(), 1) * most)
        scale, zero = (t.detach() + (t - t.detach()) * gain for t in (scale, zero))  # exactly what levels() says
        zero = round_ste(zero)
        codes = (round_ste(x.float() / scale) + zero).clamp(0, most)
        return ((codes - zero) * scale).to(x.dtype)
