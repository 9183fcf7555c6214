"""What a quantiser is: a module that rounds a tensor to the values of a number format, with a straight-through gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..formats import NumberFormat
from .calibrators import Calibrator, mean_square
from .levels import Grid, Thresholds

MIN_BITS, MAX_BITS = 2, 16  # of the integers that quantisers round to


class _Round(torch.autograd.Function):
    """round() forward, identity backward."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        return grads[0]


class StraightThrough(torch.autograd.Function):
    """The second argument forward, the identity to the first backward."""

    @staticmethod
    def forward(ctx: object, x: Tensor, q: Tensor) -> Tensor:
        """Returns ``q``."""
        return q

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> tuple[Tensor, None]:
        """Hands the gradient to ``x``."""
        return grads[0], None


def round_ste(x: Tensor) -> Tensor:
    """Round to the nearest integer; the gradient passes straight through."""
    rounded: Tensor = _Round.apply(x)  # type: ignore[no-untyped-call]  # torch's stub
    return rounded


class Quantizer(nn.Module, ABC):
    """Base of all quantisers; adding one is one file and one line in ``WEIGHT_QUANTIZERS`` or ``ACTIVATION_QUANTIZERS``.

    A quantiser belongs to one tensor. Its state (ranges, codebooks) survives a change of format: *the range is kept, not the
    step*, unless :meth:`calibrate` is called again.

    Attributes:
        calibrator: the rule by which a range is found; used by quantisers that have one.
        elementwise: whether an element's level depends on that element alone, and on the state.
        post_training: whether it can be used on trained weights without training on.
    """

    elementwise = True
    post_training = True

    calibrator: Calibrator = staticmethod(mean_square)

    def prepare(self, weight: Tensor, axis: int, groups: int = 1) -> None:
        """Told once, before anything else, of the weight that it will quantise, of the axis of its output channels, and of its groups."""

    def serves(self, number: NumberFormat) -> bool:
        """Whether it rounds to this format: plain integers of 2 to 16 bits, where a quantiser does not say otherwise."""
        return number.plain and MIN_BITS <= number.bits <= MAX_BITS

    def counterpart(self, number: NumberFormat) -> NumberFormat:
        """The format that a plain integer stands for where this quantiser was asked for by name: itself, for most."""
        return number

    def check(self, number: NumberFormat) -> int:
        """The bits of a format that it serves.

        Raises:
            UsageError: a format that it does not serve.
        """
        if not self.serves(number):
            raise UsageError(f"{type(self).__name__} does not round to {number}.")
        return number.bits

    @abstractmethod
    def calibrate(self, sample: Tensor, number: NumberFormat) -> None:
        """Fits the quantiser's state to a sample of the tensor (the weight itself, or calibration activations) in a format."""

    @abstractmethod
    def quantize(self, x: Tensor, number: NumberFormat) -> Tensor:
        """``x`` in a format: same shape, at most ``2^bits`` levels per scale."""

    def refit(self, product: Tensor, square: Tensor) -> Tensor:
        """Multiplies all levels of a scale by its least-squares factor.

        Args:
            product, square: (C,) inner products of each channel's quantised weight with the wanted one, and with itself.

        Returns:
            (C,) factors that were applied; ones where a quantiser has no scale to change.
        """
        return torch.ones_like(product)

    def levels(self, quantised: Tensor | None, number: NumberFormat) -> Grid | Thresholds | None:
        """What the values are on a device; None where the quantiser cannot say, and nothing can be exported from it.

        Args:
            quantised: the weight as this quantiser rounds it; None for an activation.
            number: the format. Of a codebook the grid is that of its codes.
        """
        return None

    def requirement(self, number: NumberFormat) -> str:
        """What the device must do for it beyond multiplying numbers; empty where it must do nothing more."""
        return ""

    def adapt(self, x: Tensor, number: NumberFormat) -> None:
        """One step of adaptation outside the gradient (codebooks); nothing for most quantisers."""
