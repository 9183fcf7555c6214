"""Energy of arithmetic and of moving bits: ``E = MACs · e_mac(w, a) + sum over memories of bits moved · e_memory``.

45 nm figures after Horowitz (ISSCC 2014), fitted over the width b, in picojoules:

    addition        0.003125 · b                           an 8-bit one 0.03, a 32-bit one 0.1
    multiplication  0.002994791667 · b² + 0.001041666667 · b      with b = sqrt(w · a); 8-bit 0.2, 32-bit 3.1
    SRAM, a bit     9.02427321e-4 · x³ - 2.68847858e-2 · x² + 0.208900804 · x     x = log2(bits of the array)
    DRAM, a bit     20.3125                                a 64-bit access 1300
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...costs import FloatArray
from ...errors import UsageError
from ...formats import LayerFormat
from ..signature import Work
from .protocol import ComputeModel
from .rates import Rates

DRAM_PJ_PER_BIT = 20.3125
_PICO = 1e-12


def add_pj(bits: float) -> float:
    """Picojoules of a fixed-point addition."""
    return 0.003125 * bits


def multiply_pj(weight_bits: float, activation_bits: float) -> float:
    """Picojoules of a fixed-point multiplication of two widths."""
    width = math.sqrt(weight_bits * activation_bits)
    return 0.002994791667 * width**2 + 0.001041666667 * width


def sram_pj_per_bit(size: float) -> float:
    """Picojoules of reading one bit from an SRAM of ``size`` bytes. The fit covers 8 KiB to 1 MiB.

    Raises:
        UsageError: a size outside that range, where the polynomial means nothing.
    """
    if not 8 * 1024 <= size <= 1024 * 1024:
        raise UsageError(f"the 45 nm SRAM fit covers 8 KiB to 1 MiB, got {size:g} B; split the memory into banks or state its pj_per_bit.")
    x = math.log2(8 * size)
    return 9.02427321e-4 * x**3 - 2.68847858e-2 * x**2 + 0.208900804 * x


@dataclass(frozen=True)
class Level:
    """A memory. ``reuse`` 0: every operand element moves once. Else operands are fetched for every MAC, ``reuse`` MACs per fetch."""

    name: str
    pj_per_bit: float
    reuse: float = 0.0


class Arithmetic(Protocol):
    """Energy of a multiply-accumulate."""

    @property
    def sentence(self) -> str:
        """The rule in words."""
        ...

    def pj(self, pairs: Sequence[LayerFormat]) -> FloatArray:
        """(P,) picojoules."""
        ...


@dataclass(frozen=True)
class Horowitz45nm:
    """A multiplication, and an addition at ``accumulator_bits``."""

    accumulator_bits: int

    @property
    def sentence(self) -> str:
        """The rule in words."""
        return f"45 nm multiply and {self.accumulator_bits}-bit add after Horowitz"

    def pj(self, pairs: Sequence[LayerFormat]) -> FloatArray:
        """(P,) picojoules; NaN for formats that the fit, which is of integers, says nothing of."""
        fixed_point = [multiply_pj(p.weight.bits, p.activation.bits) if p.plain else np.nan for p in pairs]
        return np.array(fixed_point, np.float64) + add_pj(self.accumulator_bits)


@dataclass(frozen=True)
class Stated:
    """As the device's file says; a pair that it does not list costs what the next wider one does."""

    rates: Rates

    @property
    def sentence(self) -> str:
        """The rule in words."""
        return (
            "stated pJ per multiply-accumulate ("
            + ", ".join(f"{p} {pj:g}" for p, pj in sorted(self.rates.listed.items(), key=lambda item: item[0].order))
            + ")"
        )

    def pj(self, pairs: Sequence[LayerFormat]) -> FloatArray:
        """(P,) picojoules."""
        return self.rates.of(pairs)


@dataclass(frozen=True)
class Moved:
    """Energy of arithmetic and of the memories as listed; outputs move at ``output_bits``.

    Attributes:
        time: whose traffic is taken where it gives that of a level; None, and levels that it does not give: every operand once.
    """

    arithmetic: Arithmetic
    levels: tuple[Level, ...]
    output_bits: int
    time: ComputeModel | None = None

    @property
    def sentence(self) -> str:
        """The rule in words."""
        moved = [
            f"{one.name} {one.pj_per_bit:.3g} pJ/bit "
            + (f"(fetched every {one.reuse:g} MACs)" if one.reuse else "(the traffic of the model of time, else every operand once)")
            for one in self.levels
        ]
        return f"energy: {self.arithmetic.sentence}, plus bits moved: {', '.join(moved)}"

    def joules(self, work: Work, pairs: Sequence[LayerFormat]) -> FloatArray:
        """(N, P) joules."""
        w = np.array([p.weight.stored_bits for p in pairs], np.float64)
        a = np.array([p.activation.stored_bits for p in pairs], np.float64)
        macs = work.macs[:, None]
        written = (work.outputs * self.output_bits)[:, None]
        total = macs * self.arithmetic.pj(pairs)
        traffic = self.time.estimate(work, pairs).bits if self.time else {}
        for level in self.levels:
            if level.reuse:
                moved = macs * (w + a) / level.reuse + written
            elif level.name in traffic:
                moved = traffic[level.name]
            else:
                moved = work.weights[:, None] * w + work.inputs[:, None] * a + written
            total = total + moved * level.pj_per_bit
        return np.asarray(total * _PICO, np.float64)
