"""What one operand of a layer is stored and multiplied in: an element, and how elements are scaled.

Formats are *not* ordered by their bits: MXFP8 E5M2 is no finer than MXFP6 E3M2. What can be asked is whether two are the same (``==``),
whether one is at least as fine as the other (:meth:`NumberFormat.refines`, a partial order), what a tensor weighs
(:meth:`NumberFormat.storage_bits`) and what multiplies (:attr:`NumberFormat.operand`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from ..errors import UsageError
from .element import (
    BFLOAT16,
    BINARY16,
    BINARY32,
    E2M1,
    E2M3,
    E3M2,
    E4M3,
    E5M2,
    MOST_BITS,
    MXINT8,
    Codebook,
    Element,
    Float,
    Integer,
    contains,
)
from .scaling import SCALE_RULES, Rule, Scaling

_MX: Mapping[str, Element] = {
    "mxfp8": E4M3, "mxfp8e5m2": E5M2, "mxfp6": E2M3, "mxfp6e3m2": E3M2, "mxfp4": E2M1, "mxint8": MXINT8,
}  # fmt: skip
_FLOATS: Mapping[str, Float] = {"fp8e4m3": E4M3, "fp8e5m2": E5M2, "fp6e2m3": E2M3, "fp6e3m2": E3M2, "fp4": E2M1}
_UNSCALED: Mapping[str, Float] = {"fp32": BINARY32, "fp16": BINARY16, "bf16": BFLOAT16}
_ALIASES = {"mxfp8e4m3": "mxfp8", "mxfp6e2m3": "mxfp6", "fp4e2m1": "fp4", "mxfp4e2m1": "mxfp4", "fp8": "fp8e4m3"}
_DEFINED: dict[str, NumberFormat] = {}  # by a file, under names that no other definition can have
NVFP4_SCALING = Scaling(16, "ue4m3", second=True)
EXAMPLES = "int4, int4.t, int4.c, int4.g128, uint8, fp8e4m3, mxfp4, mxfp4.rceil, mxfp6, mxfp8, mxint8, nvfp4, cb4"


@dataclass(frozen=True)
class NumberFormat:
    """One format. ``str`` gives its name, which :meth:`parse` reads."""

    name: str
    element: Element
    scaling: Scaling

    def __str__(self) -> str:
        return self.name

    def __hash__(self) -> int:
        return hash(self.name)  # formats are looked up at every step of a training

    @classmethod
    def parse(cls, text: str) -> NumberFormat:
        """Reads a name, such as ``int4``, ``int4.g128``, ``mxfp4.rceil``.

        Raises:
            UsageError: no such format; the nearest is suggested.
        """
        name = text.strip().lower()
        return _DEFINED[name] if name in _DEFINED else _parsed(name)

    @property
    def bits(self) -> int:
        """Bits of an element in memory, scales not counted."""
        return self.element.bits

    @property
    def operand(self) -> Element:
        """What the multiplier sees: the codes of a codebook, else the element."""
        return self.element.code if isinstance(self.element, Codebook) else self.element

    @property
    def family(self) -> tuple[object, ...]:
        """Formats of one family differ in the element and the length of a block alone."""
        kind = "codebook" if isinstance(self.element, Codebook) else "values"
        return (kind, *self.scaling.family)

    @property
    def plain(self) -> bool:
        """Whether ``w4a8`` is short for it: an integer whose scale is the quantiser's, or FP32 in place of 32 bits."""
        return self.floating or (self.scaling == Scaling() and self.element == Integer(self.bits))

    @property
    def floating(self) -> bool:
        """Whether this is FP32, in which nothing is rounded."""
        return self.element == BINARY32

    @property
    def label(self) -> str:
        """Its width where that says all, else its name: ``4``, ``mxfp4``."""
        return str(self.bits) if self.plain else self.name

    @property
    def order(self) -> tuple[int, str]:
        """Where a list shows it. Says nothing of which is finer."""
        return self.bits, self.name

    @property
    def stored_bits(self) -> float:
        """Bits of an element in memory with its share of the scales of its block; scales a tensor or a channel are not in it."""
        block, each = self.scaling.block, self.scaling.each(self.bits)
        return self.bits if block is None else self.bits + each / block

    def refines(self, other: NumberFormat) -> bool:
        """Whether every tensor that ``other`` can hold exactly, this one can: a partial order within a family."""
        return _refines(self, other)

    def storage_bits(self, rows: int, k: int) -> int:
        """Bits of a weight of ``rows`` output channels with ``k`` elements each, scales and codes counted.

        The last block of a channel is padded where the block does not divide ``k``. Scales of plain integers are the device's, and
        counted by its file (:class:`~hwdse.costmodels.WeightMemory`).
        """
        block = self.scaling.block
        elements = rows * (k if block is None else block * -(-k // block))
        codes = self.element.codes * self.element.code.bits if isinstance(self.element, Codebook) else 0
        return elements * self.bits + self.scaling.storage_bits(rows, k, self.bits) + codes


def add_defined(number: NumberFormat) -> None:
    """Makes the name of a format that a file defines known to :meth:`NumberFormat.parse`."""
    _DEFINED[number.name] = number


@cache
def _refines(fine: NumberFormat, coarse: NumberFormat) -> bool:
    if fine.family != coarse.family or not contains(fine.element, coarse.element):
        return False
    mine, theirs = fine.scaling.block, coarse.scaling.block
    return mine is None or theirs is None or theirs % mine == 0


@cache
def _parsed(name: str) -> NumberFormat:
    if "@" in name:
        raise UsageError(
            f"the format '{name[:40]}' is defined in a file: load that file first (hwdse.formats.load_format, or --formats FILE)."
        )
    known = _ALIASES.get(name, name)
    base, _, suffix = known.partition(".")
    base = _ALIASES.get(base, base)
    if known in _UNSCALED:
        return NumberFormat(known, _UNSCALED[known], Scaling())
    if known == "nvfp4":
        return NumberFormat(known, E2M1, NVFP4_SCALING)
    if base in _MX and (not suffix or suffix in SCALE_RULES):
        rule: Rule = next((r for r in SCALE_RULES if r == suffix), "floor")
        return NumberFormat(base if rule == "floor" else f"{base}.{rule}", _MX[base], Scaling(32, "e8m0", rule))
    if base in _FLOATS and suffix in ("", "t", "c"):
        return NumberFormat(known if suffix else base, _FLOATS[base], Scaling("channel" if suffix == "c" else "tensor"))
    match = re.fullmatch(r"(u?int|cb)([1-9]\d?)", base)
    if match is None or (match[1] == "cb" and suffix):
        raise _unknown(name)
    bits = int(match[2])
    if match[1] == "cb":
        return NumberFormat(base, Codebook(bits), Scaling())
    element = Integer(bits, symmetric=match[1] == "int")
    if suffix in ("", "t", "c"):
        per = {"": "plain", "t": "tensor", "c": "channel"}[suffix]
        return NumberFormat(known, element, Scaling(per, zero_point=not element.symmetric))  # type: ignore[arg-type]  # one of three
    group = re.fullmatch(r"g([1-9]\d{0,4})", suffix)
    if group is None:
        raise _unknown(name)
    return NumberFormat(known, element, Scaling(int(group[1]), "fp16", zero_point=not element.symmetric))


def _unknown(name: str) -> UsageError:
    known = [*_UNSCALED, *_MX, *(f"{m}.{r}" for m in _MX for r in SCALE_RULES), *_FLOATS, "nvfp4"]
    known += [
        f"{kind}{bits}{scales}" for kind in ("int", "uint") for bits in range(2, 17) for scales in ("", ".t", ".c", ".g32", ".g64", ".g128")
    ]
    known += [f"cb{bits}" for bits in range(2, 17)]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return UsageError(f"unknown number format '{name[:40]}'{f'; did you mean {near[0]!r}?' if near else '.'} Examples: {EXAMPLES}.")


FP32 = _parsed("fp32")


def plain_integer(bits: int) -> NumberFormat:
    """What a bare width stands for: ``int{bits}``, and FP32 for 32.

    Raises:
        UsageError: less than 1 bit, or more than 32.
    """
    if not 1 <= bits <= MOST_BITS:
        raise UsageError(f"a width must lie in 1..{MOST_BITS} bits, got {bits}.")
    return FP32 if bits == MOST_BITS else _parsed(f"int{bits}")
