"""What an analytic model is, and what it says of an operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...costs import FloatArray
from ...formats import LayerFormat
from ..signature import Work


@dataclass(frozen=True)
class Estimate:
    """Time of N operations at P pairs, and what it is made of. NaN where a model has no answer.

    Attributes:
        seconds: (N, P) from start to end.
        compute: (N, P) seconds of arithmetic, as if operands were always there.
        memory: memory level -> (N, P) seconds of its traffic, as if arithmetic took no time.
        bits: memory level -> (N, P) bits moved through it.
        peak: (P,) or (N, P) multiply-accumulates a second with every unit busy.
    """

    seconds: FloatArray
    compute: FloatArray
    peak: FloatArray
    memory: Mapping[str, FloatArray] = field(default_factory=dict)
    bits: Mapping[str, FloatArray] = field(default_factory=dict)

    @cached_property
    def bound(self) -> npt.NDArray[np.str_]:
        """(N, P) what takes longest: ``compute``, or the name of a memory level."""
        names = np.array(["compute", *self.memory])
        found: npt.NDArray[np.str_] = names[np.argmax(np.nan_to_num(np.stack([self.compute, *self.memory.values()]), nan=-1.0), axis=0)]
        return found

    def utilisation(self, work: Work) -> FloatArray:
        """(N, P) share of the peak rate that is used over the whole time."""
        used: FloatArray = work.macs[:, None] / (self.peak * self.seconds)
        return used


class ComputeModel(Protocol):
    """Time of operations from their shape."""

    @property
    def sentence(self) -> str:
        """The rule in words, with its parameters and units. Printed in reports."""
        ...

    def estimate(self, work: Work, pairs: Sequence[LayerFormat]) -> Estimate:
        """Every operation at every pair that it may be executed at."""
        ...


class EnergyModel(Protocol):
    """Energy of operations from their shape."""

    @property
    def sentence(self) -> str:
        """The rule in words, with its parameters and units."""
        ...

    def joules(self, work: Work, pairs: Sequence[LayerFormat]) -> FloatArray:
        """(N, P) joules of every operation at every pair; NaN where the model has no answer."""
        ...
