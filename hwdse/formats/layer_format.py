"""The formats of one layer: of its weights and of its *input* activation. The unit of choice."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from ..errors import UsageError
from .definition import load_format
from .number_format import FP32, NumberFormat, plain_integer

_WIDTHS = re.compile(r"w([0-9]{1,3})a([0-9]{1,3})")
_RANGE = re.compile(r"([a-z]+)([0-9]{1,2})((?:\.[a-z][a-z0-9]*)?)\.\.([a-z]+)([0-9]{1,2})((?:\.[a-z][a-z0-9]*)?)")


@dataclass(frozen=True)
class LayerFormat:
    """Formats of a layer's weights and of its input activation. ``str`` gives ``"w4a8"`` for plain integers, else ``"mxfp4:mxfp8"``."""

    weight: NumberFormat
    activation: NumberFormat

    def __str__(self) -> str:
        if self.plain:
            return f"w{self.weight.bits}a{self.activation.bits}"
        return f"{self.weight}:{self.activation}"

    @classmethod
    def parse(cls, text: str) -> LayerFormat:
        """Reads ``"w4a8"``, ``"mxfp4:mxfp8"``, or one format for both, ``"mxfp8"``.

        Raises:
            UsageError: no such form, or an unknown format.
        """
        return _parsed(text.strip().lower())

    @classmethod
    def of(cls, weight: int, activation: int) -> LayerFormat:
        """Plain integers of so many bits; 32 stands for FP32.

        Raises:
            UsageError: a width outside 1..32.
        """
        for what, bits in (("weight", weight), ("activation", activation)):
            if not 1 <= bits <= FP32.bits:
                raise UsageError(f"{what} width must lie in 1..{FP32.bits} bits, got {bits}.")
        return cls(plain_integer(weight), plain_integer(activation))

    @property
    def plain(self) -> bool:
        """Whether both are plain, so that two widths say all."""
        return self.weight.plain and self.activation.plain

    @property
    def blocked(self) -> bool:
        """Whether either operand has a scale for each block."""
        return self.weight.scaling.block is not None or self.activation.scaling.block is not None

    def refines(self, other: LayerFormat) -> bool:
        """Whether both formats are at least as fine as the other's: a partial order."""
        return self.weight.refines(other.weight) and self.activation.refines(other.activation)

    @property
    def order(self) -> tuple[tuple[int, str], tuple[int, str]]:
        """Where a list shows it. Says nothing of which is finer."""
        return self.weight.order, self.activation.order


@cache
def _parsed(text: str) -> LayerFormat:
    match = _WIDTHS.fullmatch(text)
    if match:
        return LayerFormat.of(int(match[1]), int(match[2]))
    weight, colon, activation = text.partition(":")
    what = f"'{text[:40]}' is not the format of a layer, such as w4a8, mxfp8 or mxfp4:mxfp8"
    if not weight or (colon and not activation):
        raise UsageError(f"{what}.")
    try:
        return LayerFormat(NumberFormat.parse(weight), NumberFormat.parse(activation or weight))
    except UsageError as error:
        raise UsageError(f"{what}: {error}") from None


def listed(formats: Iterable[LayerFormat]) -> tuple[LayerFormat, ...]:
    """The formats, each once, in the order in which lists show them."""
    return tuple(sorted(set(formats), key=lambda one: one.order))


def grid(weights: Iterable[int | NumberFormat], activations: Iterable[int | NumberFormat]) -> tuple[LayerFormat, ...]:
    """Every pair of weight and activation formats; a number is a plain integer of so many bits."""
    of_weights, of_activations = (
        [f if isinstance(f, NumberFormat) else plain_integer(f) for f in given] for given in (weights, activations)
    )
    return listed(LayerFormat(w, a) for w in of_weights for a in of_activations)


def parse_options(text: str) -> tuple[LayerFormat, ...]:
    """The options that a text such as ``"int2..int8, mxfp4:mxfp8, nvfp4"`` lists.

    Plain integers pair with one another: ``int2..int8`` is every pair from w2a2 to w8a8. Any other format alone is that of both
    operands, ``W:A`` names the two, and either may be a range, ``int2.g128..int8.g128:int8``, or the file of a format, ``nf4.toml:int8``.

    Raises:
        UsageError: an empty list, a range that runs backwards, or an unknown format.
    """
    integers: list[NumberFormat] = []
    pairs: list[LayerFormat] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        part = part if ".toml" in part else part.lower()  # a file's name keeps its capitals
        if _WIDTHS.fullmatch(part):
            pairs.append(LayerFormat.parse(part))
            continue
        weight, colon, activation = part.partition(":")
        found = _members(weight)
        if colon:
            pairs += [LayerFormat(w, a) for w in found for a in _members(activation)]
        elif all(one.plain for one in found):
            integers += found
        else:
            pairs += [LayerFormat(one, one) for one in found]
    options = listed([*grid(integers, integers), *pairs])
    if not options:
        raise UsageError("the list of formats is empty; write for example int2..int8, mxfp4.")
    return options


def _members(text: str) -> list[NumberFormat]:
    """The formats of a range, ``int2..int8``, or one by its name."""
    text = text.strip()
    if text.endswith(".toml"):
        return [load_format(text)]
    span = _RANGE.fullmatch(text)
    if span is None:
        return [NumberFormat.parse(text)]
    low, high = int(span[2]), int(span[5])
    if (span[1], span[3]) != (span[4], span[6]) or low > high:
        raise UsageError(
            f"'{text}' is no range: write two formats that differ in their bits alone, the narrower first, such as int2..int8."
        )
    return [NumberFormat.parse(f"{span[1]}{bits}{span[3]}") for bits in range(low, high + 1)]
