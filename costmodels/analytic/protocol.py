"""What an analytic model is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ...bits import BitWidths
from ...costs import FloatArray
from ..signature import Work


class ComputeModel(Protocol):
    """Time of operations from their shape."""

    @property
    def sentence(self) -> str:
        """The rule in words, with its parameters and units. Printed in reports."""
        ...

    def seconds(self, work: Work, pairs: Sequence[BitWidths]) -> FloatArray:
        """(N, P) seconds of every operation at every pair it may be executed at; NaN where the model has no answer."""
        ...


class EnergyModel(Protocol):
    """Energy of operations from their shape."""

    @property
    def sentence(self) -> str:
        """The rule in words, with its parameters and units."""
        ...

    def joules(self, work: Work, pairs: Sequence[BitWidths]) -> FloatArray:
        """(N, P) joules of every operation at every pair; NaN where the model has no answer."""
        ...
