"""The quantisers of AdaQAT: DoReFa weights and PACT activations, with the SAT corrections.

Zhou et al., "DoReFa-Net", arXiv 1606.06160; Choi et al., "PACT", arXiv 1805.06085; Jin et al., "Towards Efficient Training for Neural
Network Quantization" (SAT), arXiv 1912.10207; used together in AdaQAT, arXiv 2404.16876, section III.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..formats import NumberFormat
from .base import Quantizer, round_ste
from .levels import Grid
from .uniform import LearntRange, _Uniform


class DoReFa(Quantizer):
    """Weights: ``w~ = tanh(w) / (2 max|tanh w|) + 1/2``, ``q = 2 round(w~ s) / s - 1``, ``s = 2^b - 1``, then a spread.

    DoReFa forgets the magnitude of the weights: q fills [-1, 1]. SAT rescales it to variance 1/fan_out in layers without batch norm behind
    them, and leaves the others as they are. Here every layer is rescaled (ours), to a root mean square of

    - ``calibrated``: what the weight had when :meth:`calibrate` was called, so that trained weights can be fine-tuned;
    - ``fan_out``: 1/sqrt(fan_out), SAT's rule, for training from scratch.

    Behind a batch norm both are SAT's: it divides the scale out again, of the output and, since the gain is a constant to the backward
    pass as SAT has it, of the gradient. Without one they are the same where the weight was initialised with variance 1/fan_out.

    The gradient is straight through the rounding: ``dq/dw = gain (1 - tanh(w)^2) / max|tanh w|``. Quantising twice is not quantising
    once, as tanh bends the levels: ``Q(Q(w)) = Q(w)`` while the largest output y obeys ``0.13 y^2 < 1/s``, and never has more
    levels than Q(w). There is no level at zero, but a weight of zeros alone stays zero.
    """

    elementwise = False
    post_training = False  # tanh bends the weights, and training has to make up for it

    def __init__(self, rescale: Literal["calibrated", "fan_out"] = "calibrated") -> None:
        super().__init__()
        self.rescale, self.fan_out = rescale, 1.0
        self.register_buffer("spread", torch.ones(()))
        self.spread: Tensor

    def prepare(self, weight: Tensor, axis: int, groups: int = 1) -> None:
        """Takes the fan-out from the shape: output channels times kernel size."""
        self.fan_out = weight.numel() / max(weight.shape[1 - axis] if weight.ndim > 1 else 1, 1)

    def calibrate(self, sample: Tensor, number: NumberFormat) -> None:
        """Sets the root mean square to keep."""
        self.check(number)
        with torch.no_grad():
            own = sample.detach().float().pow(2).mean().sqrt()
            self.spread.copy_(own if self.rescale == "calibrated" else torch.tensor(self.fan_out**-0.5))

    def quantize(self, x: Tensor, number: NumberFormat) -> Tensor:
        """See the class's formula. Worked out in float32 at least: bfloat16 cannot count the levels."""
        steps = 2 ** self.check(number) - 1
        squashed = torch.tanh(x if x.dtype == torch.float64 else x.float())
        largest = squashed.detach().abs().max()
        q = 2 * round_ste((squashed / (2 * largest.clamp_min(1e-30)) + 0.5) * steps) / steps - 1
        gain = torch.where(largest > 0, self.spread / q.detach().square().mean().sqrt(), 0.0)
        scaled: Tensor = (q * gain).to(x.dtype)
        return scaled

    def levels(self, quantised: Tensor | None, number: NumberFormat) -> Grid | None:
        """Half-steps of the largest weight: ``(2 k - n) / n``."""
        largest = 0.0 if quantised is None or not quantised.numel() else float(quantised.abs().max())
        if not largest > 0:
            return None
        steps = 2**number.bits - 1
        return Grid(number.bits, 0, steps, np.array(2 * largest / steps, np.float32), offset=float(np.float32(largest)))


class Pact(LearntRange):
    """Activations: ``alpha round(clip(x / alpha, 0, 1) s) / s``, ``s = 2^b - 1``, with learnt alpha (:attr:`range`).

    Signed inputs, which the paper has none of, are clipped to (-1, 1) with ``s = 2^(b-1) - 1`` (ours). SAT's gradient of alpha keeps the
    term ``q(x / alpha) - x / alpha`` below the clip and is the bound beyond it: LSQ's, without LSQ's scale. Alpha starts where the
    calibrator's rule puts the range.
    """

    def __init__(self) -> None:
        super().__init__()

    def code_range(self, bits: int) -> tuple[int, int, float]:
        """Lowest and highest level, and the number of steps in alpha."""
        high = 2 ** (bits - 1) - 1 if self.is_signed else 2**bits - 1
        return -high if self.is_signed else 0, high, float(high)

    def quantize(self, x: Tensor, number: NumberFormat) -> Tensor:
        """See the class's formula."""
        bits = self.check(number)
        low, high, _ = self.code_range(bits)
        result: Tensor = _Uniform.apply(x, self.scale(bits), low, high, 1.0)  # type: ignore[no-untyped-call]  # torch's stub
        return result
