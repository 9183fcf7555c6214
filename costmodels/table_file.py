"""Reading a look-up table, ``hwdse.table/1``: one CSV row per operation, shape and pair of widths.

Columns: see ``docs/accelerator-files.md``. Blank means not applicable. Times and energies are converted to seconds and
joules by the unit in the column's name. A row whose ``source`` is ``unsupported`` says that the device cannot run this;
its costs are blank. Lines that begin with ``#`` before the header are comments.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..bits import BitWidths
from ..errors import FileFormatError
from .accelerator_file import decode, read_bytes
from .signature import OPS, Signature

SCHEMA = "hwdse.table/1"
SHAPE = (
    "batch", "in_channels", "out_channels", "in_h", "in_w", "kernel_h", "kernel_w", "stride_h", "stride_w", "pad_h", "pad_w",
    "dilation_h", "dilation_w", "groups", "tokens",
)  # fmt: skip
TEXT = ("op", "fused", "instance", "source")
WIDTHS = ("w_bits", "a_bits", "o_bits")
_TIME: Mapping[str, float | None] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "cycles": None}
_ENERGY = {"j": 1.0, "mj": 1e-3, "uj": 1e-6, "nj": 1e-9, "pj": 1e-12}
TIMES = {f"latency_{u}": f for u, f in _TIME.items()} | {"cycles": None}
SPREADS = {f"latency_std_{u}": f for u, f in _TIME.items()}
ENERGIES = {f"energy_{u}": f for u, f in _ENERGY.items()}
KNOWN = ("op", *SHAPE, "fused", *WIDTHS, "instance", *TIMES, *SPREADS, "runs", *ENERGIES, "source")
_NEEDED = {"conv": SHAPE[:7], "depthwise": SHAPE[:7], "conv_transpose": SHAPE[:7]}
_LARGEST = 2**40


@dataclass(frozen=True)
class Row:
    """One measurement. ``unsupported`` rows have no costs."""

    signature: Signature
    widths: BitWidths
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


def read_table(path: Path, clock: float | None = None, sha256: str | None = None) -> tuple[Row, ...]:
    """The rows of a table.

    Args:
        path: the CSV file.
        clock: Hz, for columns in cycles.
        sha256: what the file's hash must be; None skips the check.

    Raises:
        FileFormatError: what is wrong, at which line and column, and what was expected.
    """
    content = read_bytes(path)
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256:
        raise FileFormatError(path, f"has SHA-256 {digest}, but the accelerator's file says {sha256}; use the right file or hash.")
    return tuple(_Reader(path, clock).rows(decode(path, content)))


@dataclass(frozen=True)
class _Reader:
    path: Path
    clock: float | None

    def rows(self, text: str) -> list[Row]:
        lines = text.splitlines(keepends=True)
        skip = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
        for line in lines[:skip]:
            version = re.search(r"hwdse\.table/\S+", line)
            if version and version[0].rstrip(".,;") != SCHEMA:
                raise FileFormatError(self.path, f"must have schema '{SCHEMA}', got '{version[0]}'.", "line 1")
        reader = csv.reader(io.StringIO("".join(lines[skip:]), newline=""), strict=True)
        try:
            records = [(skip + reader.line_num, [cell.strip() for cell in record]) for record in reader]
        except csv.Error as error:
            raise FileFormatError(self.path, f"is not a CSV file: {error}.", f"line {skip + reader.line_num}") from None
        records = [(number, cells) for number, cells in records if any(cells)]
        if not records:
            raise FileFormatError(self.path, "is empty; it must have a header line and rows.")
        number, header = records[0]
        self._check_header(header, f"line {number}")
        if len(records) == 1:
            raise FileFormatError(self.path, "has a header but no rows.")
        found, seen = [], dict[object, int]()
        for number, cells in records[1:]:
            if len(cells) != len(header):
                raise FileFormatError(self.path, f"has {len(cells)} cells, but the header has {len(header)}.", f"line {number}")
            row = self._row(dict(zip(header, cells, strict=True)), number)
            key = (row.signature, row.widths, row.output_bits, row.fused, row.instance)
            if key in seen:
                raise FileFormatError(
                    self.path, f"has the same operation, widths and instance as line {seen[key]}: {row.signature} at {row.widths}."
                    " Keep one, or their mean.", f"line {number}",
                )  # fmt: skip
            seen[key] = number
            found.append(row)
        return found

    def _check_header(self, header: Sequence[str], where: str) -> None:
        for name in header:
            if name not in KNOWN:
                near = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.5)
                hint = f"; did you mean '{near[0]}'?" if near else "."
                raise FileFormatError(self.path, f"column '{name}' is not known{hint} Known: {', '.join(KNOWN)}.", where)
            if header.count(name) > 1:
                raise FileFormatError(self.path, f"column '{name}' appears twice.", where)
        for name in ("op", "batch", "in_channels", "out_channels", "w_bits", "a_bits"):
            if name not in header:
                raise FileFormatError(self.path, f"column '{name}' is missing.", where)
        for what, group in (("latency", TIMES), ("latency_std", SPREADS), ("energy", ENERGIES)):
            given = [name for name in header if name in group]
            if len(given) > 1:
                raise FileFormatError(self.path, f"gives {what} twice: {', '.join(given)}. Keep one.", where)
            if given and group[given[0]] is None and self.clock is None:
                raise FileFormatError(self.path, f"column '{given[0]}' is in cycles, but the accelerator's file has no [clock] hz.", where)
        if not any(name in TIMES or name in ENERGIES for name in header):
            raise FileFormatError(self.path, "has no cost; add a column latency_s or energy_j (other units: see the docs).", where)

    def _row(self, cells: Mapping[str, str], number: int) -> Row:
        where = f"line {number}"
        source = cells.get("source", "")
        seconds, spread = self._cost(cells, TIMES, number), self._cost(cells, SPREADS, number)
        joules = self._cost(cells, ENERGIES, number)
        if source == "unsupported" and (seconds, joules) != (None, None):
            raise FileFormatError(self.path, "says 'unsupported' and gives a cost; leave the cost blank, or name the source.", where)
        if source != "unsupported" and (seconds, joules) == (None, None):
            raise FileFormatError(
                self.path, "gives no cost. Remove the row if it was not measured, or set its source to 'unsupported'.", where
            )
        weight, activation = self._whole(cells, "w_bits", number, 1, 32), self._whole(cells, "a_bits", number, 1, 32)
        if weight is None or activation is None:
            raise FileFormatError(self.path, "must give w_bits and a_bits.", where)
        return Row(
            self._signature(cells, number), BitWidths(weight, activation), self._whole(cells, "o_bits", number, 1, 32),
            cells.get("fused", ""), cells.get("instance", ""), seconds, spread, joules, source, number,
        )  # fmt: skip

    def _signature(self, cells: Mapping[str, str], number: int) -> Signature:
        op = cells["op"]
        if op not in OPS:
            near = difflib.get_close_matches(op, OPS, n=1, cutoff=0.5)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            raise FileFormatError(self.path, f"op '{op}' is not known{hint} Known: {', '.join(OPS)}.", f"line {number}")
        shape = {name: self._whole(cells, name, number, 0 if name.startswith("pad") else 1, _LARGEST) for name in SHAPE}
        lacking = [name for name in _NEEDED.get(op, SHAPE[:3]) if shape[name] is None]
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

    def _whole(self, cells: Mapping[str, str], name: str, number: int, low: int, high: int) -> int | None:
        text = cells.get(name, "")
        if not text:
            return None
        value = self._number(text)
        if value is None or value != int(value) or not low <= value <= high:
            most = f" to {high}" if high != _LARGEST else " or more"
            raise FileFormatError(self.path, f"must be a whole number, {low}{most}, got '{text}'.", f"line {number}, column '{name}'")
        return int(value)

    def _cost(self, cells: Mapping[str, str], group: Mapping[str, float | None], number: int) -> float | None:
        name = next((n for n in group if n in cells), None)
        if name is None or not cells[name]:
            return None
        value, factor = self._number(cells[name]), group[name]
        least = 0.0 if group is SPREADS else None
        if value is None or value < 0 or (value == 0 and least is None):
            raise FileFormatError(
                self.path, f"must be a finite number above 0, got '{cells[name]}'. What was not measured stays blank.",
                f"line {number}, column '{name}'",
            )  # fmt: skip
        result = value / self.clock if factor is None and self.clock else value * (factor or 1.0)
        if result == 0 and value > 0:
            raise FileFormatError(self.path, f"is too small to be a cost: '{cells[name]}'.", f"line {number}, column '{name}'")
        return result

    @staticmethod
    def _number(text: str) -> float | None:
        try:
            value = float(text)
        except ValueError:
            return None
        return value if math.isfinite(value) else None
