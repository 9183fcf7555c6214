"""One pass of every operand over a memory interface: the least that any schedule can move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...bits import BitWidths
from ...costs import FloatArray
from ..signature import Work


@dataclass(frozen=True)
class Interface:
    """The memory that operands come from and results go to.

    Attributes:
        name: of the level. bandwidth: bytes a second.
        output_bits: width at which outputs are written.
        scale_bits: bits beside each weight: scale and zero point over the weights that share them, ``(scale + zero) / group``.
    """

    name: str
    bandwidth: float
    output_bits: int
    scale_bits: float = 0.0

    def bits(self, work: Work, pairs: Sequence[BitWidths]) -> FloatArray:
        """(N, P) bits if every element moves once: ``weights · (w + scale bits) + inputs · a + outputs · output_bits``."""
        w = np.array([p.weight for p in pairs], np.float64)
        a = np.array([p.activation for p in pairs], np.float64)
        return work.weights[:, None] * (w + self.scale_bits) + work.inputs[:, None] * a + work.outputs[:, None] * self.output_bits

    def seconds(self, bits: FloatArray) -> FloatArray:
        """Time to move them."""
        return bits / (8 * self.bandwidth)

    @property
    def sentence(self) -> str:
        """The rule in words."""
        beside = f" with {self.scale_bits:.3g} bits of scale each" if self.scale_bits else ""
        return f"one pass of every operand over {self.bandwidth:.3g} B/s, weights{beside}, outputs at {self.output_bits} bits"
