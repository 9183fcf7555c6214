"""Reading a look-up table, ``hwdse.table/1``: one CSV row per operation, shape and pair of widths.

Columns: see ``docs/accelerator-files.md``. Blank means not applicable. Times and energies are converted to seconds and
joules by the unit in the column's name. A row whose ``source`` is ``unsupported`` says that the device cannot run this;
its costs are blank. Lines that begin with ``#`` before the header are comments.
"""

from __future__ import annotations

import contextlib
import difflib
import gc
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import FileFormatError
from ..reading import csv_records, decode, read_bytes
from .table_columns import ENERGIES, FORMATS, KNOWN, SCHEMA, SPREADS, TIMES
from .table_rows import Row, RowReader


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
    with _no_collection():
        return tuple(_Reader(path, clock).rows(decode(path, content)))


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Rows are kept and hold no circles: looking for garbage among them takes a third of the time of a large table."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


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
        del lines[:skip]
        records = csv_records(self.path, lines, skip + 1)
        number, header = next(records, (0, []))
        if not header:
            raise FileFormatError(self.path, "is empty; it must have a header line and rows.")
        self._check_header(header, f"line {number}")
        reader, found = RowReader(self.path, self.clock, header), []
        for number, cells in records:
            if len(cells) != len(header):
                raise FileFormatError(self.path, f"has {len(cells)} cells, but the header has {len(header)}.", f"line {number}")
            found.append(reader.row(cells, number))
        if not found:
            raise FileFormatError(self.path, "has a header but no rows.")
        return found

    def _check_header(self, header: Sequence[str], where: str) -> None:
        for name in header:
            if name not in KNOWN:
                near = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.5)
                hint = f"; did you mean '{near[0]}'?" if near else "."
                raise FileFormatError(self.path, f"column '{name}' is not known{hint} Known: {', '.join(KNOWN)}.", where)
            if header.count(name) > 1:
                raise FileFormatError(self.path, f"column '{name}' appears twice.", where)
        for name in ("op", "batch", "in_channels", "out_channels", *FORMATS):
            if name not in header and FORMATS.get(name) not in header:
                raise FileFormatError(self.path, f"column '{name}' is missing.", where)
        for what, group in (("latency", TIMES), ("latency_std", SPREADS), ("energy", ENERGIES)):
            given = [name for name in header if name in group]
            if len(given) > 1:
                raise FileFormatError(self.path, f"gives {what} twice: {', '.join(given)}. Keep one.", where)
            if given and group[given[0]] is None and self.clock is None:
                raise FileFormatError(self.path, f"column '{given[0]}' is in cycles, but the accelerator's file has no [clock] hz.", where)
        if not any(name in TIMES or name in ENERGIES for name in header):
            raise FileFormatError(self.path, "has no cost; add a column latency_s or energy_j (other units: see the docs).", where)
