"""A rate per pair of widths, as a device's file lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...bits import BitWidths
from ...costs import FloatArray


@dataclass(frozen=True)
class Rates:
    """Rate of each listed pair. A pair that is not listed runs at the narrowest listed pair that is at least as wide."""

    listed: Mapping[BitWidths, float]

    def of(self, pairs: Sequence[BitWidths]) -> FloatArray:
        """(P,) rates; NaN where no listed pair is wide enough."""
        order = sorted(self.listed, key=lambda p: (p.weight + p.activation, p))
        found = []
        for pair in pairs:
            wide = [p for p in order if p.weight >= pair.weight and p.activation >= pair.activation]
            found.append(self.listed[pair] if pair in self.listed else self.listed[wide[0]] if wide else np.nan)
        return np.array(found, np.float64)
