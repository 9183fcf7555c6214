"""Bit Fusion: an array of units that split into more multipliers as operands get narrower.

    fuse(w, a) = floor(p / max(a, q)) · floor(p / max(w, q))              p, q: widest and narrowest operand of a unit
    compute    = positions · ceil(oc / M) · kernel · ceil(ic / (N · fuse))   cycles; positions = batch · rows · columns
               = positions · ceil(oc / M) · ceil(kernel · ic / (N · fuse))   where the input is unrolled (im2col)

with N x M the array, oc output channels, ic input channels per group. Six bits fuse like eight: ``fuse(6, 6) = 1``. Memory stalls
come from the search over tiles and loop orders of :mod:`.tiling`. Reference: Sharma et al., ISCA 2018, and its simulator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...costs import FloatArray
from ...formats import LayerFormat
from ..signature import OpWork, Work
from .protocol import Estimate
from .tiling import Buffers, Tiled, Tiling, search


@dataclass(frozen=True)
class BitFusion:
    """Parameters of the formulas above.

    Attributes:
        rows, columns: N and M.
        max_bits, min_bits: p and q.
        clock: Hz. interface_bits: bits a cycle from the memory outside, which is called ``memory``.
        buffers: on chip.
        sum_bits: width at which partial sums and outputs are written.
        unrolled: convolutions with at most this many input channels are unrolled; the simulator unrolls the first layer.
    """

    rows: int
    columns: int
    max_bits: int
    min_bits: int
    clock: float
    interface_bits: float
    buffers: Buffers
    sum_bits: int = 32
    unrolled: int = 3
    memory: str = "dram"

    @property
    def sentence(self) -> str:
        """The rule in words."""
        sizes = "/".join(f"{size / 1024:g}" for size in (self.buffers.weights, self.buffers.inputs, self.buffers.outputs))
        return (
            f"Bit Fusion array {self.rows}x{self.columns} of {self.max_bits}/{self.min_bits}-bit units at {self.clock:.3g} Hz, "
            f"{sizes} KiB for weights, inputs and outputs, {self.interface_bits:g} bit/cycle: the fastest over tiles and loop orders"
        )

    def fuse(self, pair: LayerFormat) -> int:
        """Multipliers per unit; 0 for operands wider than a unit, and for formats that are no integers of so many bits."""
        if not pair.plain:
            return 0
        return (self.max_bits // max(pair.activation.bits, self.min_bits)) * (self.max_bits // max(pair.weight.bits, self.min_bits))

    def cycles(self, op: OpWork, pair: LayerFormat) -> Tiled | None:
        """Compute, stalls and traffic of one operation; None where no tile fits, or :meth:`fuse` is 0."""
        fused = self.fuse(pair)
        if not fused or not op.macs:
            return None
        unrolled = op.op == "conv" and op.in_channels_per_group <= self.unrolled
        return search(
            Tiling(op, pair.weight.bits, pair.activation.bits, self.sum_bits, self.rows * fused, self.columns, unrolled),
            self.buffers,
            self.interface_bits,
        )

    def estimate(self, work: Work, pairs: Sequence[LayerFormat]) -> Estimate:
        """See the module's formula; what has no multiply-accumulates moves once."""
        shape = len(work), len(pairs)
        total, compute, moved = (np.full(shape, np.nan) for _ in range(3))
        for i in range(len(work)):
            for j, pair in enumerate(pairs):
                op = work[i]
                if not op.macs:
                    moved[i, j] = (
                        op.weights * pair.weight.stored_bits + op.inputs * pair.activation.stored_bits + op.outputs * self.sum_bits
                    )
                    total[i, j], compute[i, j] = np.ceil(moved[i, j] / self.interface_bits), 0.0
                elif found := self.cycles(op, pair):
                    total[i, j], compute[i, j], moved[i, j] = found.compute + found.stalled, found.compute, found.bits
        moving: FloatArray = moved / self.interface_bits / self.clock
        fused = np.array([self.fuse(p) or np.nan for p in pairs])
        return Estimate(
            total / self.clock, compute / self.clock, self.rows * self.columns * self.clock * fused, {self.memory: moving},
            {self.memory: moved},
        )  # fmt: skip
