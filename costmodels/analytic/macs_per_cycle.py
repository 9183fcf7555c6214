"""A processor whose kernels run at a measured number of multiply-accumulates per cycle: ``t = MACs / rate(w, a) / clock``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...formats import LayerFormat
from ..signature import Work
from .protocol import Estimate
from .rates import Rates


@dataclass(frozen=True)
class MacsPerCycle:
    """Parameters of the formula above: ``rates`` in MACs per cycle, ``clock`` in Hz.

    It has no answer for operations without multiply-accumulates (embeddings), whose time is all memory.
    """

    rates: Rates
    clock: float

    @property
    def sentence(self) -> str:
        """The rule in words."""
        listed = ", ".join(f"{pair} {rate:g}" for pair, rate in sorted(self.rates.listed.items(), key=lambda item: item[0].order))
        return (
            f"MACs over a measured rate (MACs per cycle: {listed}) at {self.clock:.3g} Hz; memory stalls only as far as the rates hold them"
        )

    def estimate(self, work: Work, pairs: Sequence[LayerFormat]) -> Estimate:
        """See the module's formula; NaN for operations without multiply-accumulates."""
        macs = np.where(work.macs > 0, work.macs, np.nan)
        rates = self.rates.of(pairs) * self.clock
        seconds = macs[:, None] / rates
        return Estimate(seconds, seconds, rates)
