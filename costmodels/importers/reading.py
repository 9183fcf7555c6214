"""What every reader of a profiler's file needs: its text, its JSON, its cells, its numbers, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import FileFormatError, UsageError
from ...numerals import number as number_in
from ...numerals import sound
from ...reading import csv_records, json_value, read_text


def need_files(tool: str, files: Sequence[Path]) -> None:
    """Refuses none at all, and one file given twice, which would count as two runs.

    Raises:
        UsageError: either.
    """
    if not files:
        raise UsageError(f"give at least one file of {tool}.")
    twice = next((path for i, path in enumerate(files) if path in files[:i]), None)
    if twice is not None:
        raise UsageError(f"{twice} is given twice.")


def text_of(path: Path) -> str:
    """The text of a file: UTF-8, with or without a byte-order mark; line ends of any system become one.

    Raises:
        FileFormatError: it cannot be read, is empty, too large, or no text.
    """
    text = read_text(path)
    if not text.strip():
        raise FileFormatError(path, "is empty; profile again, or give the right file.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def json_of(path: Path) -> Any:
    """The JSON document in a file, see :func:`hwdse.reading.json_value` and :func:`text_of`."""
    return json_value(path, text_of(path))


def records_of(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """(line, stripped cells) of every line of a CSV text that is not blank; a comma at a line's end adds no cell.

    Raises:
        FileFormatError: quotes that do not close, cells that are far too long.
    """
    return [(line, cells if cells[-1] else cells[:-1]) for line, cells in csv_records(path, text.splitlines(keepends=True))]


def cost_of(path: Path, value: object, where: str) -> float | None:
    """A time, an energy or a count of cycles; None for 0 and for nothing, which no profiler means as a cost.

    Raises:
        FileFormatError: no number, negative, not finite.
    """
    number = number_of(path, value, where)
    return number or None


def number_of(path: Path, value: object, where: str) -> float | None:
    """A number that is not negative, from text or JSON; None for blank text and null.

    Raises:
        FileFormatError: anything else.
    """
    if value is None or (isinstance(value, str) and value.strip() in ("", "-")):
        return None
    number = None
    if isinstance(value, str):
        number = number_in(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = sound(float(value)) if abs(value) < 1e300 else None
    if number is None or number < 0:
        shown = str(value)[:60] if isinstance(value, int) else repr(value)
        raise FileFormatError(path, f"must be a finite number, 0 or more, got {shown if len(shown) < 40 else shown[:37] + '...'}.", where)
    return number


def count_of(path: Path, value: object, where: str) -> int | None:
    """A whole number above 0; None for 0 and for nothing.

    Raises:
        FileFormatError: a fraction, negative, no number.
    """
    number = number_of(path, value, where)
    if number is not None and (number != int(number) or number > 2**60):
        raise FileFormatError(path, f"must be a whole number, got {str(value)[:40]}.", where)
    return int(number) if number else None


def shape_of(value: object) -> tuple[int, ...] | None:
    """A shape from JSON: a list of whole numbers above 0; None for anything else, dynamic extents (-1) included."""
    if isinstance(value, list) and value and all(isinstance(x, int) and not isinstance(x, bool) and 0 < x < 2**40 for x in value):
        return tuple(value)
    return None


def column(path: Path, header: Sequence[str], line: int, *names: str) -> int:
    """Index of the first of ``names`` that the header has, in any case.

    Raises:
        FileFormatError: it has none of them; the message lists what it has.
    """
    lower = [cell.lower() for cell in header]
    for name in names:
        if name.lower() in lower:
            return lower.index(name.lower())
    has = ", ".join(header) if len(header) < 20 else ", ".join(header[:20]) + " ..."
    raise FileFormatError(
        path, f"column '{names[0]}' is missing; it has: {has[:400]}. Another file, or another version of the tool?", f"line {line}"
    )
