"""Bit Fusion: an array of units that split into more multipliers as operands get narrower.

    fuse(w, a) = floor(p / max(a, q)) · floor(p / max(w, q))              p, q: widest and narrowest operand of a unit
    compute    = positions · ceil(oc / M) · kernel · ceil(ic / (N · fuse))   cycles; positions = batch · rows · columns
    t          = max(compute, bits moved / interface bits per cycle) / clock

with N x M the array, oc output channels, ic input channels per group. Six bits fuse like eight: ``fuse(6, 6) = 1``. The
traffic is one pass of every operand, without the search over tiles and loop orders of the published simulator, so this is
a lower bound on it. Reference: Sharma et al., ISCA 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...bits import BitWidths
from ...costs import FloatArray
from ..signature import Work
from .rates import bits_moved


@dataclass(frozen=True)
class BitFusion:
    """Parameters of the formulas above.

    Attributes:
        rows, columns: N and M.
        max_bits, min_bits: p and q.
        clock: Hz. interface_bits: bits a cycle from the memory outside.
        output_bits: width at which outputs are written.
    """

    rows: int
    columns: int
    max_bits: int
    min_bits: int
    clock: float
    interface_bits: float
    output_bits: int

    @property
    def sentence(self) -> str:
        """The rule in words."""
        return (
            f"Bit Fusion array {self.rows}x{self.columns} of {self.max_bits}/{self.min_bits}-bit units at {self.clock:.3g} Hz: "
            f"the longer of compute cycles and one pass of every operand at {self.interface_bits:g} bit/cycle "
            "(no tiling search: a lower bound)"
        )

    def fuse(self, pair: BitWidths) -> int:
        """Multipliers per unit; 0 for operands wider than a unit."""
        return (self.max_bits // max(pair.activation, self.min_bits)) * (self.max_bits // max(pair.weight, self.min_bits))

    def cycles(self, work: Work, pairs: Sequence[BitWidths]) -> FloatArray:
        """(N, P) compute cycles, 0 where there is nothing to multiply; NaN where the operand is wider than a unit."""
        fused = np.array([self.fuse(p) or np.nan for p in pairs], np.float64)
        outer = work.positions * np.ceil(work.out_channels / self.columns) * work.kernel
        passes = np.ceil(work.in_channels_per_group[:, None] / (self.rows * fused))
        return outer[:, None] * passes

    def seconds(self, work: Work, pairs: Sequence[BitWidths]) -> FloatArray:
        """(N, P) seconds."""
        traffic = bits_moved(work, pairs, self.output_bits) / self.interface_bits
        return np.maximum(self.cycles(work, pairs), traffic) / self.clock
