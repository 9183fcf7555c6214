"""The format of so many bits that a quantiser serves."""

from __future__ import annotations

from hwdse.formats import NumberFormat, plain_integer
from hwdse.quantizers import Quantizer


def in_bits(quantizer: Quantizer, bits: int) -> NumberFormat:
    """A plain integer, or what the quantiser puts in its place: a codebook."""
    return quantizer.counterpart(plain_integer(bits))
