"""What a quantiser is: a module that rounds a tensor to at most 2^bits levels per scale, with a straight-through gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .calibrators import Calibrator, mean_square

MIN_BITS, MAX_BITS = 2, 16


class _Round(torch.autograd.Function):
    """round() forward, identity backward."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        return grads[0]


def round_ste(x: Tensor) -> Tensor:
    """Round to the nearest integer; the gradient passes straight through."""
    rounded: Tensor = _Round.apply(x)  # type: ignore[no-untyped-call]  # torch's stub
    return rounded


class Quantizer(nn.Module, ABC):
    """Base of all quantisers; adding one is one file and one line in ``WEIGHT_QUANTIZERS`` or ``ACTIVATION_QUANTIZERS``.

    A quantiser belongs to one tensor. Its state (ranges, codebooks) survives a change of width: *the range is kept, not the
    step*, unless :meth:`calibrate` is called again.

    Attributes:
        calibrator: the rule by which a range is found; used by quantisers that have one.
        elementwise: whether an element's level depends on that element alone, and on the state.
    """

    elementwise = True

    calibrator: Calibrator = staticmethod(mean_square)

    def prepare(self, weight: Tensor, axis: int) -> None:
        """Told once, before anything else, of the weight that it will quantise, and of the axis of its output channels."""

    @abstractmethod
    def calibrate(self, sample: Tensor, bits: int) -> None:
        """Fits the quantiser's state to a sample of the tensor (the weight itself, or calibration activations) at ``bits``."""

    @abstractmethod
    def quantize(self, x: Tensor, bits: int) -> Tensor:
        """``x`` at ``bits``: same shape, at most 2^bits levels per scale."""

    def refit(self, product: Tensor, square: Tensor) -> Tensor:
        """Multiplies all levels of a scale by its least-squares factor.

        Args:
            product, square: (C,) inner products of each channel's quantised weight with the wanted one, and with itself.

        Returns:
            (C,) factors that were applied; ones where a quantiser has no scale to change.
        """
        return torch.ones_like(product)

    def adapt(self, x: Tensor, bits: int) -> None:
        """One step of adaptation outside the gradient (codebooks); nothing for most quantisers."""


def check_bits(bits: int) -> None:
    """Raises UsageError unless 2 <= bits <= 16."""
    if not MIN_BITS <= bits <= MAX_BITS:
        raise UsageError(f"quantisers take {MIN_BITS} to {MAX_BITS} bits, got {bits}.")
