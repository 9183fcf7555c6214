"""What a cost or a score is called, its unit, and which direction is better.

Values are stored in SI units (seconds, joules, bytes, plain counts) and shown in the prefix that fits. The sign flip
for scores that are better when higher is here and nowhere else: everything inside is minimised.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from .errors import UsageError
from .numerals import number, sound

# unit -> {symbol: factor to the stored unit}, largest first where prefixes are chosen for showing
UNITS: dict[str, dict[str, float]] = {
    "s": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
    "J": {"J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "nJ": 1e-9, "pJ": 1e-12},
    "B": {"GiB": 1024.0**3, "MiB": 1024.0**2, "KiB": 1024.0, "B": 1.0, "GB": 1e9, "MB": 1e6, "kB": 1e3},
    "bitop": {"T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "": 1.0},
    "bit": {"bit": 1.0, "bits": 1.0, "": 1.0},
    "fraction": {"%": 1e-2, "": 1.0},
    "nat": {"": 1.0, "nat": 1.0},
    "": {"": 1.0},
}
_SHOWN = {  # prefixes used for showing; the others are read but not printed
    "s": ("s", "ms", "us", "ns"),
    "J": ("J", "mJ", "uJ", "nJ", "pJ"),
    "B": ("GiB", "MiB", "KiB", "B"),
    "bitop": ("T", "G", "M", "k", ""),
    "fraction": ("%",),
}
_WRITTEN = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"  # commas only between thousands
_QUANTITY = re.compile(rf"^\s*([+-]?{_WRITTEN})\s*([^0-9\s]*)\s*$")


def _symbols(unit: str) -> str:
    return ", ".join(s or "no unit" for s in UNITS.get(unit, {unit: 1.0}))


@dataclass(frozen=True)
class Metric:
    """A named quantity.

    Attributes:
        name: ``"latency"``, ``"weights"``, ``"accuracy"``.
        unit: the stored unit, a key of :data:`UNITS` (``"s"``, ``"B"``, ``"bitop"``, ``"fraction"``).
        better: direction of improvement.
        on: the accelerator it was computed for; None where it depends on none.
    """

    name: str
    unit: str
    better: Literal["lower", "higher"] = "lower"
    on: str | None = None

    @property
    def key(self) -> str:
        """``"latency@t4"``, or the bare name where no accelerator is involved."""
        return f"{self.name}@{self.on}" if self.on else self.name

    def minimised(self, value: float) -> float:
        """The value with the sign that makes smaller better."""
        return value if self.better == "lower" else -value

    def scale(self, value: float) -> tuple[float, str]:
        """Factor and symbol of the prefix in which ``value`` is best shown."""
        shown = _SHOWN.get(self.unit)
        if not shown:
            return 1.0, {"bit": "bit"}.get(self.unit, "")
        units = UNITS[self.unit]
        if not math.isfinite(value) or value == 0:
            symbol = {"s": "ms", "J": "mJ", "B": "KiB"}.get(self.unit, shown[-1])
            return units[symbol], symbol
        for symbol in shown:
            if abs(value) >= units[symbol]:
                return units[symbol], symbol
        return units[shown[-1]], shown[-1]

    def format(self, value: float, like: float | None = None) -> str:
        """``value`` with its unit, four significant digits, in the prefix that fits ``like`` (default: the value itself)."""
        if not math.isfinite(value):
            return "unsupported" if value > 0 else "-"
        factor, symbol = self.scale(value if like is None else like)
        number = value / factor
        if self.unit == "fraction":
            return f"{number:z.2f} %"
        text = f"{number:,.0f}" if number == int(number) and abs(number) < 1e6 else f"{number:.4g}"
        if symbol and self.unit == "bitop":
            return f"{text} {symbol}BitOPs"
        return f"{text} {symbol}".rstrip() if self.unit != "bitop" else f"{text} BitOPs"

    def bound(self, value: float, digits: int = 4) -> str:
        """Like :meth:`format`, rounded to the worse side, so that the value meets the text as a limit: costs up, scores down."""
        text = self._digits(value, digits)
        if self.minimised(self.parse(text)) < self.minimised(value) - 1e-12 * abs(value):
            factor = self.scale(value)[0]
            places = 2 - digits if self.unit == "fraction" else math.floor(math.log10(abs(value) / factor)) - digits + 1
            step = 10.0**places * factor
            text = self._digits(value + self.minimised(step), digits)
        return text

    def apart(self, limit: float, reach: float) -> tuple[str, str]:
        """A limit and a value beyond it as text, with digits enough to tell them apart, the value as a :meth:`bound`."""
        for digits in range(4, 17):
            texts = self._digits(limit, digits), self.bound(reach, digits)
            if texts[0] != texts[1]:
                break
        return texts

    def _digits(self, value: float, digits: int) -> str:
        factor, symbol = self.scale(value)
        number = f"{value / factor:z.{digits - 2}f}" if self.unit == "fraction" else f"{value / factor:z.{digits}g}"
        return f"{number} {symbol}{'BitOPs' if self.unit == 'bitop' else ''}".rstrip()

    def parse(self, text: str) -> float:
        """``"3 ms"`` as a number in the stored unit.

        Raises:
            UsageError: not a number, or a unit that this metric does not have.
        """
        match = _QUANTITY.match(text)
        units = UNITS.get(self.unit, {"": 1.0})
        if not match:
            raise UsageError(f"'{text.strip()}' is not a quantity of {self.key}; write a number and a unit: {_symbols(self.unit)}.")
        symbol = match[2]
        if self.unit == "bitop" and symbol.lower().endswith("bitops"):
            symbol = symbol[: -len("bitops")]
        if symbol not in units:
            wanted = _symbols(self.unit)
            raise UsageError(
                f"'{text.strip()}': {self.key} is measured in {wanted}; got {f'the unit {symbol!r}' if symbol else 'no unit'}."
            )
        written = number(match[1].replace(",", ""))
        value = None if written is None else sound(written * units[symbol], zero=written == 0)
        if value is None:
            raise UsageError(f"'{text.strip()}' is not a finite quantity that can be told from 0, or a zero with a sign.")
        return value


BITOPS = Metric("bitops", "bitop")
WEIGHTS = Metric("weights", "B")
ACTIVATIONS = Metric("activations", "B")
LATENCY = Metric("latency", "s")
ENERGY = Metric("energy", "J")
INTERVAL = Metric("interval", "s")  # between two results of a pipeline
AVERAGE_BITS = Metric("average_bits", "bit")
LOSS = Metric("loss", "nat")
