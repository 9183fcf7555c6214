"""What one number of a tensor is stored as: an integer, a small floating-point number, a code of a table or of a codebook.

Floats follow OCP MX 1.0 (section 5.3) and OCP FP8 (section 5): E4M3 has one NaN a sign and no infinity, E5M2 has both, FP6 and FP4 have
neither. Values are those *before* the scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..errors import UsageError

FloatArray = npt.NDArray[np.float64]
MOST_BITS = 32  # of an element
_LISTED = 16  # elements of so many bits have few enough values to list them


@dataclass(frozen=True)
class Integer:
    """An integer of ``bits`` bits.

    ``symmetric``: no zero point; two's complement, or unsigned where the tensor has no negative value, as devices hold what follows a
    ReLU. Otherwise unsigned codes with a zero point beside the scale.
    ``unit`` is the value of code 1: 1, but 1/64 in MXINT8, which leaves out the lowest code to stay symmetric (OCP MX 1.0, 5.3.4).
    """

    bits: int
    symmetric: bool = True
    unit: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MOST_BITS:
            raise UsageError(f"an integer has 1 to {MOST_BITS} bits, got {self.bits}.")

    @property
    def largest(self) -> float:
        """Largest value of the signed codes; of the unsigned ones with a zero point."""
        return ((1 << (self.bits - 1)) - 1 if self.symmetric else (1 << self.bits) - 1) * self.unit

    @cached_property
    def values(self) -> FloatArray:
        """Every value, ascending: of both the signed and the unsigned codes where the sign follows the data."""
        half = 1 << (self.bits - 1)
        low = 0 if not self.symmetric else -half if self.unit == 1 else 1 - half
        high = 2 * half if self.unit == 1 else half
        return np.arange(low, high, dtype=np.float64) * self.unit


@dataclass(frozen=True)
class Float:
    """A floating-point number with a sign, ``exponent`` and ``mantissa`` bits, subnormals, and a bias of ``2^(exponent-1) - 1``.

    ``specials``: what the largest exponent holds beside numbers: ``none``, one ``nan`` a sign (E4M3), or ``ieee`` (E5M2: infinities and
    NaN, so that it holds no number).
    """

    exponent: int
    mantissa: int
    specials: str = "none"

    def __post_init__(self) -> None:
        if not (1 <= self.exponent <= 8 and 0 <= self.mantissa <= 23):
            raise UsageError(
                f"a floating-point element has 1 to 8 exponent and 0 to 23 mantissa bits, got E{self.exponent}M{self.mantissa}."
            )
        if self.specials not in ("none", "nan", "ieee"):
            raise UsageError(f"the specials of a floating-point format are none, nan or ieee, got '{self.specials}'.")

    @property
    def bits(self) -> int:
        """Bits in memory, the sign among them."""
        return 1 + self.exponent + self.mantissa

    @property
    def bias(self) -> int:
        """What is subtracted from a stored exponent."""
        return int((1 << (self.exponent - 1)) - 1)

    @property
    def smallest_exponent(self) -> int:
        """Exponent of normal numbers at least; subnormals share it."""
        return 1 - self.bias

    @property
    def largest_exponent(self) -> int:
        """``emax`` of OCP MX: exponent of the largest number."""
        return (1 << self.exponent) - 1 - self.bias - (self.specials == "ieee")

    @property
    def quantum(self) -> float:
        """Smallest positive number, a subnormal: every number is a multiple of it."""
        return math.ldexp(1.0, self.smallest_exponent - self.mantissa)

    @property
    def largest(self) -> float:
        """Largest finite number."""
        steps = (2 << self.mantissa) - 1 - (self.specials == "nan")
        return math.ldexp(steps, self.largest_exponent - self.mantissa)

    @cached_property
    def values(self) -> FloatArray:
        """Every finite value, ascending, zero once."""
        exponents = np.arange(self.smallest_exponent, self.largest_exponent + 1)
        steps = np.arange(1 << self.mantissa, dtype=np.float64)
        subnormal = np.ldexp(steps, self.smallest_exponent - self.mantissa)
        normal = np.ldexp(steps + (1 << self.mantissa), (exponents - self.mantissa)[:, None]).ravel()
        positive = np.concatenate([subnormal, normal])
        positive = positive[(positive > 0) & (positive <= self.largest)]
        return np.concatenate([-positive[::-1], [0.0], positive])


@dataclass(frozen=True)
class Values:
    """One of a table of values, ascending: ternary, NF4, powers of two. A code has ``ceil(log2(values))`` bits, and the device looks it up.

    Raises:
        UsageError: fewer than two values, some that are not finite, not ascending, or all of them zero.
    """

    table: tuple[float, ...]

    def __post_init__(self) -> None:
        table = self.table
        if len(table) < 2 or not all(map(math.isfinite, table)) or any(a >= b for a, b in pairwise(table)):
            raise UsageError("a table of values must hold two finite numbers or more, ascending, each once.")
        if len(table) > 1 << _LISTED:
            raise UsageError(f"a table of values holds at most 2^{_LISTED} numbers, got {len(table)}.")

    @property
    def bits(self) -> int:
        """Bits of a code in memory."""
        return max(1, (len(self.table) - 1).bit_length())

    @property
    def largest(self) -> float:
        """Largest absolute value."""
        return max(abs(self.table[0]), abs(self.table[-1]))

    @cached_property
    def values(self) -> FloatArray:
        """(V,) the table."""
        return np.array(self.table, np.float64)


@dataclass(frozen=True)
class Codebook:
    """An index of ``bits`` bits into codes that each tensor learns (ADQ, arXiv 2510.19760): integers of :attr:`code` bits."""

    bits: int

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= _LISTED:
            raise UsageError(f"the indices of a codebook have 2 to {_LISTED} bits, got {self.bits}.")

    @property
    def code(self) -> Integer:
        """What an index stands for and the multiplier sees: 8 bits, or the index's own where that is wider (ours; the paper is silent)."""
        return Integer(max(8, self.bits))

    @property
    def codes(self) -> int:
        """Codes of a tensor: zero, and as many on each side of it."""
        return int((1 << self.bits) - 1)


Element = Integer | Float | Values | Codebook

E2M1, E2M3, E3M2 = Float(2, 1), Float(2, 3), Float(3, 2)
E4M3, E5M2 = Float(4, 3, "nan"), Float(5, 2, "ieee")
BINARY16, BFLOAT16, BINARY32 = Float(5, 10, "ieee"), Float(8, 7, "ieee"), Float(8, 23, "ieee")
MXINT8 = Integer(8, unit=1 / 64)


def contains(wide: Element, narrow: Element) -> bool:
    """Whether every value of ``narrow`` is one of ``wide``: a partial order. A codebook learns its values: only codebooks contain one."""
    if wide == narrow:
        return True
    if isinstance(wide, Codebook) and isinstance(narrow, Codebook):
        return wide.code == narrow.code and wide.bits >= narrow.bits
    if isinstance(wide, Codebook) or isinstance(narrow, Codebook):
        return False
    if isinstance(wide, Integer) and isinstance(narrow, Integer) and wide.symmetric != narrow.symmetric:
        return False  # a zero point shifts every value
    if isinstance(wide, Integer) and isinstance(narrow, Integer) and wide.unit == narrow.unit:
        return wide.bits >= narrow.bits
    if isinstance(wide, Float) and isinstance(narrow, Float) and max(wide.bits, narrow.bits) > _LISTED:
        same_or_finer = wide.mantissa >= narrow.mantissa and wide.quantum <= narrow.quantum
        return same_or_finer and wide.largest >= narrow.largest
    if isinstance(wide, Float) and isinstance(narrow, Integer) and narrow.bits > _LISTED:
        return narrow.unit == 1 and narrow.largest + 1 <= 2 << wide.mantissa
    if narrow.bits > _LISTED:
        return False
    return bool(_holds(wide, narrow.values).all())


def _holds(element: Integer | Float | Values, values: FloatArray) -> npt.NDArray[np.bool_]:
    """Which of some values an element has."""
    if isinstance(element, Values) or element.bits <= _LISTED:
        return np.isin(values, element.values)
    if isinstance(element, Integer):
        steps = values / element.unit
        lowest = -element.largest - element.unit if element.symmetric else 0.0
        return np.asarray((steps == np.round(steps)) & (values >= lowest) & (values <= element.largest))
    exponent = np.maximum(np.frexp(values)[1] - 1, element.smallest_exponent) - element.mantissa
    steps = np.ldexp(values, -exponent)
    return np.asarray((steps == np.round(steps)) & (np.abs(values) <= element.largest))
