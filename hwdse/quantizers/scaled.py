"""Formats whose scales follow from the data: blocks, FP8, integers with a stated granularity, tables of values."""

from __future__ import annotations

import torch
from torch import Tensor

from ..formats import Codebook, NumberFormat
from .base import Quantizer, StraightThrough
from .number_rounding import in_format


class Scaled(Quantizer):
    """Every block, channel or tensor is scaled by its own largest value, of activations at run time, and rounded to nearest.

    Nothing is learnt, so nothing is calibrated. The gradient passes straight through.

    Args:
        axis: the dimension of an activation along which blocks lie, its channels. Blocks of a weight lie along all that an output
            channel sums over, which :meth:`prepare` tells.
    """

    elementwise = False

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis
        self._channels: int | None = None
        self._groups = 1

    def prepare(self, weight: Tensor, axis: int, groups: int = 1) -> None:
        """From now on the tensor is a weight."""
        self._channels, self._groups = axis, groups

    def serves(self, number: NumberFormat) -> bool:
        """Every format that says what its scales are."""
        return number.scaling.per != "plain" and not isinstance(number.element, Codebook)

    def counterpart(self, number: NumberFormat) -> NumberFormat:
        """The integer with one scale a tensor."""
        return NumberFormat.parse(f"int{number.bits}.t") if number.plain and not number.floating else number

    def calibrate(self, sample: Tensor, number: NumberFormat) -> None:
        """Fits nothing: scales follow from the tensor itself."""
        self.check(number)

    def requirement(self, number: NumberFormat) -> str:
        """Blocks have to be scaled one by one, those of activations while the network runs."""
        block = number.scaling.block
        if block is None:
            return ""
        if self._channels is None:
            return f"activations in {number}: the device finds a scale for each block of {block} channels while the network runs"
        return f"weights in {number}: the device applies a scale to each block of {block}"

    def quantize(self, x: Tensor, number: NumberFormat) -> Tensor:
        """See :func:`~.number_rounding.in_format`."""
        self.check(number)
        with torch.no_grad():
            rounded = self._rounded(x.detach(), number)
        result: Tensor = StraightThrough.apply(x, rounded)  # type: ignore[no-untyped-call]  # torch's stub
        return result

    def _rounded(self, x: Tensor, number: NumberFormat) -> Tensor:
        if self._channels is None or x.ndim < 2:
            return in_format(x, number, self.axis)
        rows = weight_rows(x, self._channels, self._groups)
        rounded = in_format(rows, number, axis=0 if number.scaling.per == "channel" else 1)
        return weight_from_rows(rounded, x, self._channels, self._groups)


def weight_rows(weight: Tensor, axis: int, groups: int = 1) -> Tensor:
    """(output channels, K): what each output channel of a layer sums over.

    Args:
        weight: (out, in / groups, ...) with ``axis`` 0; of a transposed convolution (in, out / groups, ...) with ``axis`` 1.
    """
    if axis == 0:
        return weight.flatten(1)
    split = weight.reshape(groups, -1, *weight.shape[1:])  # (groups, in / groups, out / groups, ...)
    rows: Tensor = split.transpose(1, 2).flatten(0, 1).flatten(1)
    return rows


def weight_from_rows(rows: Tensor, like: Tensor, axis: int, groups: int = 1) -> Tensor:
    """Puts :func:`weight_rows` back into the shape of ``like``."""
    if axis == 0:
        return rows.reshape(like.shape)
    split = rows.reshape(groups, like.shape[1], like.shape[0] // groups, *like.shape[2:])
    return split.transpose(1, 2).reshape(like.shape)
