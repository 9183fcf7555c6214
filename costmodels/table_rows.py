"""A row of a look-up table, from the text of its cells.

Large tables repeat themselves: the same shape at many widths, the same few numbers in every row. What was read once is kept, so that a
row costs little more than its numbers.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from ..errors import FileFormatError, UsageError
from ..formats import LayerFormat, NumberFormat, plain_integer
from ..names import cell_text
from ..numerals import number as number_in
from ..numerals import sound
from .signature import OPS, Signature
from .table_columns import ENERGIES, FORMATS, LARGEST, NEEDED, SHAPE, SPREADS, TIMES

_PAIRS = 2**20  # more pairs of formats than a table has


class Row(NamedTuple):
    """One measurement. ``unsupported`` rows have no costs."""

    signature: Signature
    widths: LayerFormat
    output_bits: int | None
    fused: str
    instance: str
    seconds: float | None
    spread: float | None
    joules: float | None
    source: str
    line: int

    @property
    def unsupported(self) -> bool:
        """Whether the row says that the device cannot run this."""
        return self.source == "unsupported"


class _Column(NamedTuple):
    """Where a quantity stands: its place, name, factor to SI units, and the clock where it is in cycles."""

    place: int
    name: str
    factor: float
    clock: float | None


class RowReader:
    """Reads the rows under one header.

    Args:
        path: of the file, for messages. clock: Hz, for columns in cycles. header: names of the columns, checked already.
    """

    def __init__(self, path: Path, clock: float | None, header: Sequence[str]) -> None:
        self.path, self.clock = path, clock
        self._at = {name: i for i, name in enumerate(header)}
        self._shape = itemgetter(*(i for name, i in self._at.items() if name in ("op", *SHAPE)))
        self._names = [name for name in self._at if name in ("op", *SHAPE)]
        texts = ("source", *FORMATS, *FORMATS.values(), "o_bits", "fused", "instance")
        self._texts = itemgetter(*(self._at.get(name, -1) for name in texts))  # -1: the blank cell behind each row
        self._time, self._spread, self._energy = (self._column(group) for group in (TIMES, SPREADS, ENERGIES))
        self._signatures: dict[tuple[str, ...], tuple[Signature, int]] = {}
        self._numbers: dict[Signature, int] = {}
        self._widths: dict[tuple[str, ...], tuple[LayerFormat, int]] = {}  # with its number
        self._pairs: dict[LayerFormat, int] = {}
        self._wholes: dict[tuple[str, int, int], int] = {}
        self._seen: dict[object, int] = {}

    def _column(self, group: Mapping[str, float | None]) -> _Column | None:
        for name, factor in group.items():
            if name in self._at:
                return _Column(self._at[name], name, factor or 1.0, self.clock if factor is None else None)
        return None

    def row(self, cells: list[str], number: int) -> Row:
        """One row.

        Args:
            cells: as many as the header has. number: of its line.

        Raises:
            FileFormatError: a cell that is wrong, or a row that says the same as one before it.
        """
        cells.append("")
        source, w_bits, a_bits, w_format, a_format, o_bits, fused, instance = self._texts(cells)
        if instance.startswith("'"):
            instance = cell_text(instance)
        seconds = self._cost(cells, self._time, number)
        spread = self._cost(cells, self._spread, number, zero=True)
        joules = self._cost(cells, self._energy, number)
        if (source == "unsupported") is not (seconds is None and joules is None):
            self._contradiction(source, number)
        widths, pair = self._widths.get((w_bits, a_bits, w_format, a_format)) or self._pair((w_bits, a_bits, w_format, a_format), number)
        shape = self._shape(cells)
        known = self._signatures.get(shape)
        if known is None:
            signature = self._signature(dict(zip(self._names, shape, strict=True)), number)
            known = self._signatures[shape] = signature, self._numbers.setdefault(signature, len(self._numbers))
        output_bits = self._whole(o_bits, "o_bits", number, 1, 32) if o_bits else None
        # one number and not five: it is kept for each row. An output has at most 6 bits
        key: object = (known[1] * _PAIRS + pair) * 64 + (output_bits or 0)
        if fused or instance:
            key = key, fused, instance
        before = self._seen.setdefault(key, number)
        if before != number:
            raise FileFormatError(
                self.path, f"has the same operation, widths and instance as line {before}: {known[0]} at {widths}."
                " Keep one, or their mean.", f"line {number}",
            )  # fmt: skip
        return Row(known[0], widths, output_bits, fused, instance, seconds, spread, joules, source, number)

    def _contradiction(self, source: str, number: int) -> None:
        if source == "unsupported":
            text = "says 'unsupported' and gives a cost; leave the cost blank, or name the source."
        else:
            text = "gives no cost. Remove the row if it was not measured, or set its source to 'unsupported'."
        raise FileFormatError(self.path, text, f"line {number}")

    def _pair(self, texts: tuple[str, str, str, str], number: int) -> tuple[LayerFormat, int]:
        formats = (self._format(texts[i], texts[i + 2], name, number) for i, name in enumerate(FORMATS))
        widths = LayerFormat(*formats)
        return self._widths.setdefault(texts, (widths, self._pairs.setdefault(widths, len(self._pairs))))

    def _format(self, bits: str, text: str, name: str, number: int) -> NumberFormat:
        """The format of an operand: plain integers by their width, others by their name."""
        width = self._whole(bits, name, number, 1, 32) if bits else None
        if not text:
            if width is None:
                raise FileFormatError(self.path, f"must give {name}, or {FORMATS[name]}.", f"line {number}")
            return plain_integer(width)
        try:
            found = NumberFormat.parse(text)
        except UsageError as error:
            raise FileFormatError(self.path, str(error), f"line {number}, column '{FORMATS[name]}'") from None
        if width is not None and found != plain_integer(width):
            raise FileFormatError(
                self.path, f"says {name} = {width} and {FORMATS[name]} = {found}, which differ; give one.", f"line {number}"
            )
        return found

    def _signature(self, cells: Mapping[str, str], number: int) -> Signature:
        op = cells["op"]
        if op not in OPS:
            near = difflib.get_close_matches(op, OPS, n=1, cutoff=0.5)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            raise FileFormatError(self.path, f"op '{op}' is not known{hint} Known: {', '.join(OPS)}.", f"line {number}")
        shape = {name: self._whole(cells.get(name, ""), name, number, 0 if name.startswith("pad") else 1, LARGEST) for name in SHAPE}
        lacking = [name for name in NEEDED.get(op, SHAPE[:3]) if shape[name] is None]
        if lacking:
            raise FileFormatError(
                self.path, f"lacks the shape of its {op}: {', '.join(lacking)}. Without it no other layer can use the row.",
                f"line {number}",
            )  # fmt: skip
        given = {name: value for name, value in shape.items() if value is not None}
        if op == "conv" and given.get("groups", 1) > 1 and given["groups"] == given["in_channels"]:
            op = "depthwise"
        signature = Signature(op, **given)
        if signature.in_channels % signature.groups or signature.out_channels % signature.groups:
            raise FileFormatError(self.path, f"has channels that {signature.groups} groups do not divide.", f"line {number}")
        if signature.out_h < 1 or signature.out_w < 1:
            raise FileFormatError(self.path, f"has a kernel larger than its input: {signature}.", f"line {number}")
        return signature

    def _whole(self, text: str, name: str, number: int, low: int, high: int) -> int | None:
        if not text:
            return None
        value = self._wholes.get((text, low, high))
        if value is not None:
            return value
        found = number_in(text)
        if found is None or found != int(found) or not low <= found <= high:
            most = f" to {high}" if high != LARGEST else " or more"
            raise FileFormatError(self.path, f"must be a whole number, {low}{most}, got '{text}'.", f"line {number}, column '{name}'")
        return self._wholes.setdefault((text, low, high), int(found))

    def _cost(self, cells: Sequence[str], column: _Column | None, line: int, zero: bool = False) -> float | None:
        if column is None or not (text := cells[column.place]):
            return None
        value = number_in(text)
        if value is not None and value > 0:
            result = value * column.factor if column.clock is None else value / column.clock
            if sound(result, zero=False) is None:
                size = "small" if result < 1 else "large"
                raise FileFormatError(self.path, f"is too {size} to be a cost: '{text}'.", f"line {line}, column '{column.name}'")
            return result
        if value is None or value < 0 or not zero:
            said = f"must be a finite number above 0, got '{text[:40]}'. What was not measured stays blank."
            raise FileFormatError(self.path, said, f"line {line}, column '{column.name}'")
        return 0.0
