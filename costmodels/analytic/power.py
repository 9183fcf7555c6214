"""Energy of a device that draws about the same power whatever it runs: ``E = P · t``, t from its model of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...costs import FloatArray
from ...formats import LayerFormat
from ..signature import Work
from .protocol import ComputeModel


@dataclass(frozen=True)
class ConstantPower:
    """Parameters of the formula above: ``watts``, and the model of time."""

    watts: float
    time: ComputeModel

    @property
    def sentence(self) -> str:
        """The rule in words."""
        return f"energy: {self.watts:.4g} W times the time; {self.time.sentence}"

    def joules(self, work: Work, pairs: Sequence[LayerFormat]) -> FloatArray:
        """(N, P) joules."""
        return self.watts * self.time.estimate(work, pairs).seconds
