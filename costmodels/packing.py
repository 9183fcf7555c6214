"""How many bytes a tensor of narrow numbers takes: a property of the accelerator, not of the model."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from ..costs import FloatArray
from ..errors import UsageError
from ..formats import FLOAT_BITS, NumberFormat

_RULES = "'dense', 'byte', 'pow2' or 'align=N'"
_PER = "'tensor', 'channel' or 'group=N'"


@dataclass(frozen=True)
class Packing:
    """A packing rule.

    ``dense``: ``ceil(elements · bits / 8)``. ``byte``: every element in whole bytes. ``pow2``: every element in 1, 2, 4, 8,
    16 or 32 bits. ``align=N``: dense, and the tensor padded to a multiple of N bytes.

    Raises:
        UsageError: another rule, or an alignment below 1 byte.
    """

    rule: str = "dense"

    def __post_init__(self) -> None:
        if self.rule not in ("dense", "byte", "pow2") and not self._align:
            raise UsageError(f"packing must be {_RULES} (N in bytes, at least 1), got '{self.rule}'.")

    @property
    def _align(self) -> int:
        match = re.fullmatch(r"align=([1-9]\d{0,8})", self.rule)
        return int(match[1]) if match else 0

    def width(self, bits: int) -> int:
        """Bits that one element occupies."""
        if self.rule == "byte":
            return 8 * -(-bits // 8)
        return 1 << (bits - 1).bit_length() if self.rule == "pow2" else bits

    def bytes(self, elements: int, bits: int) -> int:
        """Bytes of a tensor."""
        dense = -(-elements * self.width(bits) // 8)
        return self._align * -(-dense // self._align) if self._align else dense

    def table(self, elements: list[int], bits: list[int]) -> FloatArray:
        """(tensors, widths) bytes of every tensor at every width."""
        widths = np.array([self.width(b) for b in bits], np.int64)
        dense = -(-np.multiply.outer(np.array(elements, np.int64), widths) // 8)
        align = self._align or 1
        return (align * -(-dense // align)).astype(np.float64)

    def stored(self, elements: list[int], formats: list[NumberFormat]) -> FloatArray:
        """(tensors, formats) bytes of every tensor in every format, the scales of blocks beside the elements."""
        found = self.table(elements, [number.bits for number in formats])
        beside = np.array([number.stored_bits - number.bits for number in formats])
        with_scales: FloatArray = found + np.ceil(np.multiply.outer(np.array(elements, np.float64), beside) / 8)
        return with_scales


@dataclass(frozen=True)
class Metadata:
    """Scales and zero points that go with quantised weights.

    Attributes:
        scale_bits, zero_point_bits: width of one scale and of one zero point; 0 for none.
        per: one pair per ``tensor``, per output ``channel``, or per ``group=N`` of N consecutive weights of a channel.

    Raises:
        UsageError: another granularity, or widths outside 0..32 bits.
    """

    scale_bits: int = FLOAT_BITS
    zero_point_bits: int = 0
    per: str = "channel"

    def __post_init__(self) -> None:
        if self.per not in ("tensor", "channel") and not self._group:
            raise UsageError(f"per must be {_PER} (N weights, at least 1), got '{self.per}'.")
        for what, bits in (("scale_bits", self.scale_bits), ("zero_point_bits", self.zero_point_bits)):
            if not 0 <= bits <= FLOAT_BITS:
                raise UsageError(f"{what} must lie in 0..{FLOAT_BITS}, got {bits}.")

    @property
    def _group(self) -> int:
        match = re.fullmatch(r"group=([1-9]\d{0,8})", self.per)
        return int(match[1]) if match else 0

    def bytes(self, elements: int, channels: int) -> int:
        """Bytes beside a weight tensor of so many elements in so many output channels."""
        each = -(-elements // max(1, channels))
        pairs = 1 if self.per == "tensor" else channels
        if self._group:
            pairs = channels * -(-each // self._group)
        return -(-pairs * (self.scale_bits + self.zero_point_bits) // 8)
