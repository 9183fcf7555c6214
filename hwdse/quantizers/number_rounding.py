"""A tensor in a number format: scales by each format's rule, elements to the nearest value, ties to the even code.

Sources: OCP MX 1.0 (sections 5.3 and 6.3) for E8M0 scales and their elements; NVIDIA's two-level scaling for NVFP4. Everything is
computed in float32: products with powers of two are exact there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UsageError
from ..formats import Codebook, Element, Float, Integer, NumberFormat, Values

_E8M0 = 127  # exponents of a scale lie in -127..127
_UE4M3 = 2.0**-6, 448.0  # NVFP4's block scales are kept among the normal numbers of E4M3
_TINY = torch.finfo(torch.float32).tiny


def round_to_element(x: Tensor, element: Element) -> Tensor:
    """The nearest value of an element, in float32; what lies beyond the largest becomes the largest. NaN stays.

    Raises:
        UsageError: a codebook, whose values belong to a tensor.
    """
    x = x.float()
    if isinstance(element, Integer):
        low = -element.largest if element.unit != 1 else -element.largest - 1 if element.symmetric else 0.0
        return (x / element.unit).round().mul(element.unit).clamp(low, element.largest)
    if isinstance(element, Float):
        x = x.clamp(-element.largest, element.largest)
        exponent = torch.frexp(x)[1] - 1  # |x| lies in [2^exponent, 2^(exponent + 1))
        step = exponent.clamp_min(element.smallest_exponent) - element.mantissa
        return torch.ldexp(torch.ldexp(x, -step).round(), step)
    if isinstance(element, Values):
        return _nearest(x, torch.tensor(element.table, dtype=torch.float32, device=x.device))
    raise UsageError("a codebook's values belong to a tensor: ask its quantiser to round.")


def _nearest(x: Tensor, table: Tensor) -> Tensor:
    """The nearest entry of an ascending table; halfway the one of even index, as floating-point codes do."""
    middle = (table[1:] + table[:-1]) / 2
    below = torch.bucketize(x, middle)
    above = torch.bucketize(x, middle, right=True)
    found = table[torch.where(below % 2 == 0, below, above)]
    return torch.where(x.isnan(), x, found)


def in_format(x: Tensor, number: NumberFormat, axis: int = -1) -> Tensor:
    """``x`` in a format: each block, channel or tensor scaled by its largest value, rounded, and scaled back.

    Args:
        x: any shape.
        number: a format whose scales follow from the data.
        axis: the dimension along which blocks lie; of formats with a scale per channel, the dimension that is *not* shared.

    Returns:
        The same shape and type. A NaN makes everything that shares its scale NaN.

    Raises:
        UsageError: a codebook, or a plain integer, whose scale its quantiser finds.
    """
    per, element = number.scaling.per, number.element
    if per == "plain" or isinstance(element, Codebook):
        raise UsageError(f"{number} leaves its scale to a quantiser; {number}.t has one a tensor by the largest value.")
    moved = x.float().movedim(axis, -1)
    blocks = (
        _blocks(moved, number.scaling.block)
        if isinstance(per, int)
        else moved.reshape(1, -1)
        if per == "tensor"
        else moved.flatten(0, -2).T
    )
    rounded = (_with_zero_point if number.scaling.zero_point else _scaled)(blocks, number, element)
    if isinstance(per, int):
        back = rounded.flatten(-2)[..., : moved.shape[-1]]
    else:
        back = rounded.reshape(moved.shape) if per == "tensor" else rounded.T.reshape(moved.shape)
    return back.movedim(-1, axis).to(x.dtype)


def _blocks(x: Tensor, block: int | None) -> Tensor:
    """(..., K) -> (..., blocks, block), the last block padded with zeros."""
    assert block is not None
    missing = -x.shape[-1] % block
    padded = torch.nn.functional.pad(x, (0, missing))
    return padded.reshape(*padded.shape[:-1], -1, block)


def _scaled(blocks: Tensor, number: NumberFormat, element: Integer | Float | Values) -> Tensor:
    """Scaled by the largest value of the last dimension, without a zero point."""
    scaling = number.scaling
    largest = blocks.abs().amax(-1, keepdim=True)
    if scaling.scale == "e8m0":
        exponent = scale_exponent(largest, element, scaling.rule)
        rounded = torch.ldexp(round_to_element(torch.ldexp(blocks, -exponent), element), exponent)
        return torch.where(largest.isnan(), largest, rounded)
    top = element.largest
    if scaling.second:
        over = (largest.max() / (top * _UE4M3[1])).clamp_min(_TINY)
        scale = round_to_element((largest / top / over).clamp(*_UE4M3), Float(4, 3, "nan")) * over
    else:
        scale = (largest / top).clamp_min(_TINY)
        scale = scale.half().float().clamp_min(2.0**-24) if scaling.scale == "fp16" else scale
    return round_to_element(blocks / scale, element) * scale


def _with_zero_point(blocks: Tensor, number: NumberFormat, element: Integer | Float | Values) -> Tensor:
    """From the smallest to the largest value, zero among them; the zero point is one of the codes."""
    low, high = blocks.amin(-1, keepdim=True).clamp_max(0), blocks.amax(-1, keepdim=True).clamp_min(0)
    scale = (high / element.largest - low / element.largest).clamp_min(_TINY)
    scale = scale.half().float().clamp_min(2.0**-24) if number.scaling.scale == "fp16" else scale
    zero = (-low / scale).round()
    return ((blocks / scale).round() + zero).clamp(0, element.largest).sub(zero) * scale


def scale_exponent(largest: Tensor, element: Integer | Float | Values, rule: str) -> Tensor:
    """Exponent of a block's E8M0 scale, by the rule in the format's name; -127 of a block of zeros.

    Args:
        largest: largest absolute value of each block.
        element: what the block holds.
        rule: ``floor``, ``even``, ``ceil`` or ``rceil`` (see :class:`~hwdse.formats.Scaling`).
    """
    top = element.largest_exponent if isinstance(element, Float) else 0
    mantissa = element.mantissa if isinstance(element, Float) else element.bits - 2
    if rule == "rceil":
        exponent = _ceil_log2(largest / element.largest)
    elif rule == "ceil":
        exponent = _ceil_log2(largest) - top
    else:
        fraction, exponent = torch.frexp(largest)  # a fraction in [1/2, 1)
        if rule == "even":  # round to the element's mantissa, halves away from zero, as torchao's and AMD's rule do
            step = 2.0 ** -(mantissa + 1)
            exponent = exponent + (((fraction / step) + 0.5).floor() * step >= 1).int()
        exponent = exponent - 1 - top
    exponent = torch.where(largest > 0, exponent, torch.full_like(exponent, -_E8M0))
    return exponent.clamp(-_E8M0, _E8M0)


def _ceil_log2(x: Tensor) -> Tensor:
    fraction, exponent = torch.frexp(x)
    return torch.where(fraction == 0.5, exponent - 1, exponent)
