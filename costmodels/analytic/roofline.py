"""Roofline: an operation takes as long as its arithmetic or its memory traffic, whichever is longer.

    t = max(MACs / (rate(w, a) · efficiency(op)), bits moved / (8 · bandwidth))

with every weight, input and output element crossing the memory interface once: a lower bound on the traffic. Overheads
are added by the accelerator. Reference: Williams, Waterman and Patterson, Communications of the ACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...bits import BitWidths
from ...costs import FloatArray
from ..signature import Work
from .rates import Rates, bits_moved


@dataclass(frozen=True)
class Roofline:
    """Parameters of the formula above.

    Attributes:
        rates: multiply-accumulates a second.
        bandwidth: bytes a second of the memory that operands come from.
        output_bits: width at which outputs are written.
        efficiency: share of the rate that an operation reaches, by operation; ``default`` for those not named.
    """

    rates: Rates
    bandwidth: float
    output_bits: int
    efficiency: Mapping[str, float] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The rule in words."""
        peak = ", ".join(f"{pair} {rate:.3g}" for pair, rate in sorted(self.rates.listed.items()))
        reached = ", ".join(f"{op} {share:g}" for op, share in self.efficiency.items()) or "default 1"
        return (
            f"roofline: the longer of MACs at the peak rate (MAC/s: {peak}; share reached: {reached}) and one pass of every operand "
            f"over {self.bandwidth:.3g} B/s, outputs at {self.output_bits} bits"
        )

    def seconds(self, work: Work, pairs: Sequence[BitWidths]) -> FloatArray:
        """(N, P) seconds."""
        fallback = self.efficiency.get("default", 1.0)
        reached = np.array([self.efficiency.get(op, fallback) for op in work.ops], np.float64)
        compute = (work.macs / reached)[:, None] / self.rates.of(pairs)
        traffic = bits_moved(work, pairs, self.output_bits) / (8 * self.bandwidth)
        return np.maximum(compute, traffic)
