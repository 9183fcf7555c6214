"""A systolic array of R x C multipliers working through a product of M x K by K x N.

    weight stationary   ceil(K/R) · ceil(N/C) · (2R + C + M - 2)      cycles; R rows hold K, C columns hold N
    input stationary    ceil(K/R) · ceil(M/C) · (2R + C + N - 2)
    output stationary   ceil(M/R) · ceil(N/C) · (R + C + K - 2)
    t = max(cycles / clock, bits moved / bandwidth)

A convolution is the product of M = batch · rows · columns of the output, K = input channels · kernel, N = output channels, once
per group; a product or attention is taken as one matrix product. Where a unit multiplies ``macs_per_unit`` pairs of narrower
operands at once, they are summed along K: K becomes ceil(K / macs_per_unit). Cycles are those of SCALE-Sim (Samajdar et al.,
ISPASS 2020), whose report gives one less, with double buffering that hides all traffic up to the bandwidth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...costs import FloatArray
from ...formats import LayerFormat
from ..signature import Work
from .protocol import Estimate
from .rates import Rates
from .traffic import Interface

Dataflow = Literal["weight_stationary", "input_stationary", "output_stationary"]


@dataclass(frozen=True)
class Systolic:
    """Parameters of the formulas above: ``rows`` R, ``columns`` C, ``clock`` in Hz, ``macs_per_unit`` by pair."""

    rows: int
    columns: int
    dataflow: Dataflow
    clock: float
    macs_per_unit: Rates
    memory: Interface

    @property
    def sentence(self) -> str:
        """The rule in words."""
        listed = ", ".join(f"{pair} {rate:g}" for pair, rate in sorted(self.macs_per_unit.listed.items(), key=lambda item: item[0].order))
        return (
            f"systolic array {self.rows}x{self.columns}, {self.dataflow.replace('_', ' ')}, at {self.clock:.3g} Hz "
            f"(MACs per unit and cycle: {listed}): the longer of its cycles and {self.memory.sentence}"
        )

    def cycles(self, m: FloatArray, k: FloatArray, n: FloatArray) -> FloatArray:
        """Cycles of products M x K by K x N, element by element."""
        r, c = self.rows, self.columns
        if self.dataflow == "weight_stationary":
            return np.ceil(k / r) * np.ceil(n / c) * (2 * r + c + m - 2)
        if self.dataflow == "input_stationary":
            return np.ceil(k / r) * np.ceil(m / c) * (2 * r + c + n - 2)
        return np.ceil(m / r) * np.ceil(n / c) * (r + c + k - 2)

    def estimate(self, work: Work, pairs: Sequence[LayerFormat]) -> Estimate:
        """See the module's formula; operations without multiply-accumulates are all traffic."""
        at_once = self.macs_per_unit.of(pairs)
        inner = np.ceil((work.in_channels_per_group * work.kernel)[:, None] / at_once)
        cycles = work.groups[:, None] * self.cycles(work.positions[:, None], inner, (work.out_channels / work.groups)[:, None])
        compute = np.where(work.macs[:, None] > 0, cycles, 0.0 * at_once) / self.clock
        bits = self.memory.bits(work, pairs)
        moving = self.memory.seconds(bits)
        peak = self.rows * self.columns * self.clock * at_once
        return Estimate(np.maximum(compute, moving), compute, peak, {self.memory.name: moving}, {self.memory.name: bits})
