"""Which elements of a tensor share a scale, and what the scale is.

Blocks lie along K, the dimension that a layer sums over: of a weight (out, in / groups, ...) all but the first, of a transposed
convolution's (in, out / groups, ...) all but the second, of an activation the channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError

Scale = Literal["fp32", "fp16", "e8m0", "ue4m3"]
Rule = Literal["", "floor", "even", "ceil", "rceil"]
SCALE_BITS: dict[str, int] = {"fp32": 32, "fp16": 16, "e8m0": 8, "ue4m3": 8}
SCALE_RULES: tuple[Rule, ...] = ("floor", "even", "ceil", "rceil")
TENSOR_SCALE_BITS = 32  # the second scale of NVFP4, one a tensor


@dataclass(frozen=True)
class Scaling:
    """How a tensor is scaled.

    Attributes:
        per: ``plain``: one scale a tensor or an output channel, as the quantiser finds them and the device stores them (an accelerator's
            file says how); ``tensor``; ``channel``; or the length of a block along K.
        scale: type of a scale. Powers of two (``e8m0``) need a ``rule`` for the exponent, for hardware differs: ``floor`` of OCP MX 1.0
            (section 6.3), ``even`` (AMD), ``ceil``, ``rceil`` (NVIDIA; it never clamps).
        zero_point: a zero point as wide as the element beside each scale.
        second: an FP32 scale a tensor over the scales of its blocks (NVFP4).

    Raises:
        UsageError: a block shorter than 2, or a rule where there is no exponent to choose.
    """

    per: Literal["plain", "tensor", "channel"] | int = "plain"
    scale: Scale = "fp32"
    rule: Rule = ""
    zero_point: bool = False
    second: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.per, int) and not 2 <= self.per <= 1 << 16:
            raise UsageError(f"a block has 2 to {1 << 16:,} elements, got {self.per}.")
        if (self.scale == "e8m0") != bool(self.rule):
            raise UsageError("a scale that is a power of two needs a rule for its exponent, and no other scale has one.")

    @property
    def block(self) -> int | None:
        """Elements that share a scale, along K; None where a whole channel or tensor does."""
        return self.per if isinstance(self.per, int) else None

    @property
    def family(self) -> tuple[str, str, str, bool, bool]:
        """What must be equal for two formats to be held against one another: everything but the length of the blocks."""
        return ("block" if self.block else str(self.per), self.scale, self.rule, self.zero_point, self.second)

    def each(self, element_bits: int) -> int:
        """Bits of one scale, and of the zero point beside it."""
        return SCALE_BITS[self.scale] + (element_bits if self.zero_point else 0)

    def storage_bits(self, rows: int, k: int, element_bits: int) -> int:
        """Bits of the scales and zero points of a weight of ``rows`` output channels with ``k`` elements each; 0 for ``plain``."""
        if self.per == "plain":
            return 0
        scales = 1 if self.per == "tensor" else rows if self.per == "channel" else rows * -(-k // self.per)
        return scales * self.each(element_bits) + (TENSOR_SCALE_BITS if self.second else 0)
