"""A pipelined dataflow: every layer has its own unit, and results leave as often as the slowest unit lets them.

    cycles = ceil(MH / PE) · ceil(MW / SIMD) · vectors,     interval = max over layers, not their sum

with MH = output channels of all groups, MW = input channels of a group · kernel, ``vectors`` = batch · rows · columns of the output, ``PE``
outputs and ``SIMD`` inputs at a time. Where a unit multiplies ``macs_per_unit`` pairs of narrower operands at
once, SIMD is as many times larger. Reference: Umuroglu et al., FINN, FPGA 2017; Blott et al., FINN-R, TRETS 2018.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...formats import LayerFormat
from ..signature import Work
from .protocol import Estimate
from .rates import Rates


@dataclass(frozen=True)
class Pipelined:
    """Parameters of the formula above; ``clock`` in Hz. ``folding``: (PE, SIMD) by operation, ``default`` for the rest."""

    folding: Mapping[str, tuple[int, int]]
    clock: float
    macs_per_unit: Rates = field(default_factory=lambda: Rates({LayerFormat.of(32, 32): 1.0}))

    @property
    def sentence(self) -> str:
        """The rule in words."""
        units = ", ".join(f"{op} {pe}x{simd}" for op, (pe, simd) in self.folding.items())
        return (
            f"pipelined dataflow at {self.clock:.3g} Hz, a unit per layer (PE x SIMD: {units}); latency: all layers in turn, "
            "interval: the slowest"
        )

    def estimate(self, work: Work, pairs: Sequence[LayerFormat]) -> Estimate:
        """Cycles of each layer's own unit; NaN for operations without multiply-accumulates."""
        folds = [self.folding.get(op, self.folding["default"]) for op in work.ops]
        pe, simd = np.array(folds, np.float64).reshape(-1, 2).T
        at_once = self.macs_per_unit.of(pairs)
        rows = np.ceil(work.out_channels / pe)
        columns = np.ceil((work.in_channels_per_group * work.kernel)[:, None] / (simd[:, None] * at_once))
        cycles = np.where(work.macs > 0, rows * work.positions, np.nan)[:, None] * columns
        seconds = cycles / self.clock
        return Estimate(seconds, seconds, (pe * simd)[:, None] * self.clock * at_once)
