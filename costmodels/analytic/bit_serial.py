"""A bit-serial array: operands arrive a bit at a time, so that time is proportional to both widths.

    cycles = w · a · ceil(M / Dm) · ceil(N / Dn) · ceil(K / Dk),     t = max(cycles / clock, bits moved / bandwidth)

for a product of M x K by K x N on an array that takes Dm x Dk by Dk x Dn bits a cycle; convolutions as in :mod:`.systolic`.
Reference: Umuroglu et al., BISMO, FPL 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...formats import LayerFormat
from ..signature import Work
from .protocol import Estimate
from .traffic import Interface


@dataclass(frozen=True)
class BitSerial:
    """Parameters of the formula above: ``rows`` Dm, ``columns`` Dn, ``depth`` Dk, ``clock`` in Hz."""

    rows: int
    columns: int
    depth: int
    clock: float
    memory: Interface

    @property
    def sentence(self) -> str:
        """The rule in words."""
        return (
            f"bit-serial array of {self.rows}x{self.columns} dot products of {self.depth} bits at {self.clock:.3g} Hz: the longer of "
            f"weight bits x input bits x blocks, and {self.memory.sentence}"
        )

    def estimate(self, work: Work, pairs: Sequence[LayerFormat]) -> Estimate:
        """See the module's formula; operations without multiply-accumulates are all traffic."""
        planes = np.array([p.weight.bits * p.activation.bits if p.plain else np.nan for p in pairs], np.float64)
        blocks = (
            np.ceil(work.positions / self.rows)
            * np.ceil(work.out_channels / work.groups / self.columns)
            * np.ceil(work.in_channels_per_group * work.kernel / self.depth)
        )
        compute = np.where(work.macs > 0, work.groups * blocks, 0.0)[:, None] * planes / self.clock
        bits = self.memory.bits(work, pairs)
        moving = self.memory.seconds(bits)
        peak = self.rows * self.columns * self.depth * self.clock / planes
        return Estimate(np.maximum(compute, moving), compute, peak, {self.memory.name: moving}, {self.memory.name: bits})
