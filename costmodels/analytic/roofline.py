"""Roofline: an operation takes as long as its arithmetic or its memory traffic, whichever is longer.

    t = max(MACs / (rate(w, a) · efficiency(op)), bits moved / (8 · bandwidth))

with every weight, input and output element crossing the memory interface once: a lower bound on the traffic. Overheads
are added by the accelerator. Reference: Williams, Waterman and Patterson, Communications of the ACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...formats import LayerFormat
from ..signature import Work
from .protocol import Estimate
from .rates import Rates
from .traffic import Interface


@dataclass(frozen=True)
class Roofline:
    """Parameters of the formula above.

    Attributes:
        rates: multiply-accumulates a second.
        memory: that operands come from.
        efficiency: share of the rate that an operation reaches, by operation; ``default`` for those not named.
    """

    rates: Rates
    memory: Interface
    efficiency: Mapping[str, float] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The rule in words."""
        peak = ", ".join(f"{pair} {rate:.3g}" for pair, rate in sorted(self.rates.listed.items(), key=lambda item: item[0].order))
        reached = ", ".join(f"{op} {share:g}" for op, share in self.efficiency.items()) or "default 1"
        return f"roofline: the longer of MACs at the peak rate (MAC/s: {peak}; share reached: {reached}) and {self.memory.sentence}"

    def estimate(self, work: Work, pairs: Sequence[LayerFormat]) -> Estimate:
        """See the module's formula."""
        fallback = self.efficiency.get("default", 1.0)
        reached = np.array([self.efficiency.get(op, fallback) for op in work.ops], np.float64)
        rates = self.rates.of(pairs)
        compute = (work.macs / reached)[:, None] / rates
        bits = self.memory.bits(work, pairs)
        moving = self.memory.seconds(bits)
        return Estimate(np.maximum(compute, moving), compute, rates, {self.memory.name: moving}, {self.memory.name: bits})
