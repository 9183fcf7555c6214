"""One pass of every operand over a memory interface: the least that any schedule can move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...costs import FloatArray
from ...formats import LayerFormat
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

    def bits(self, work: Work, pairs: Sequence[LayerFormat]) -> FloatArray:
        """(N, P) bits if every element moves once: ``weights · (w + scale bits) + inputs · a + outputs · output_bits``."""
        w = np.array([p.weight.stored_bits for p in pairs], np.float64)
        a = np.array([p.activation.stored_bits for p in pairs], np.float64)
        beside = np.array([self.scale_bits if p.weight.plain else 0.0 for p in pairs])  # other formats bring their own scales
        moved: FloatArray = work.weights[:, None] * (w + beside) + work.inputs[:, None] * a + work.outputs[:, None] * self.output_bits
        return moved

    def seconds(self, bits: FloatArray) -> FloatArray:
        """Time to move them."""
        return bits / (8 * self.bandwidth)

    @property
    def sentence(self) -> str:
        """The rule in words."""
        beside = f" with {self.scale_bits:.3g} bits of scale each" if self.scale_bits else ""
        return f"one pass of every operand over {self.bandwidth:.3g} B/s, weights{beside}, outputs at {self.output_bits} bits"
