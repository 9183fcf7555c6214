"""A rate per pair of widths, as a device's file lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...costs import FloatArray
from ...formats import LayerFormat


@dataclass(frozen=True)
class Rates:
    """Rate of each listed pair. A pair that is not listed runs at the narrowest listed pair that is at least as wide."""

    listed: Mapping[LayerFormat, float]

    def of(self, pairs: Sequence[LayerFormat]) -> FloatArray:
        """(P,) rates; NaN where no listed pair is wide enough."""
        order = sorted(self.listed, key=lambda p: (p.weight.bits + p.activation.bits, p.order))
        found = []
        for pair in pairs:
            wide = [p for p in order if p.refines(pair)]
            found.append(self.listed[pair] if pair in self.listed else self.listed[wide[0]] if wide else np.nan)
        return np.array(found, np.float64)
