"""What every reader of a profiler's file needs: its text, its JSON, its cells, its numbers, and what is wrong with them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import FileFormatError, UsageError
from ..accelerator_file import decode

LARGEST = 512 * 2**20  # bytes; what Python makes of a trace is about ten times that


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
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise FileFormatError(path, f"cannot be read: {reason}.") from None
    if len(content) > LARGEST:
        raise FileFormatError(path, f"is larger than {LARGEST // 2**20} MiB; profile fewer runs.")
    text = decode(path, content)
    if "\0" in text:
        raise FileFormatError(path, "is no text file.", f"line {text[: text.index(chr(0))].count(chr(10)) + 1}")
    if not text.strip():
        raise FileFormatError(path, "is empty; profile again, or give the right file.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def json_of(path: Path) -> Any:
    """The JSON document in a file. Infinities and NaN, which are no JSON, are refused.

    Raises:
        FileFormatError: truncated, no JSON, nested too deeply, or as :func:`text_of`.
    """
    text = text_of(path)

    def refuse(name: str) -> Any:
        raise FileFormatError(path, f"holds {name}, which is no number.")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise FileFormatError(
            path, f"is truncated or no JSON: {error.msg}. Let the tool finish, and give its file.", f"line {error.lineno}"
        ) from None
    except RecursionError:
        raise FileFormatError(path, "is nested too deeply.") from None
    except ValueError as error:  # a number of thousands of digits
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(path, f"holds a number that cannot be read: {error}.") from None


def records_of(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """(line, stripped cells) of every line of a CSV text that is not blank; a comma at a line's end adds no cell.

    Raises:
        FileFormatError: quotes that do not close, cells that are far too long.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found = []
    try:
        for record in reader:
            cells = [cell.strip() for cell in record]
            if cells and not cells[-1]:
                cells.pop()
            if any(cells):
                found.append((reader.line_num, cells))
    except csv.Error as error:
        raise FileFormatError(path, f"is no CSV file: {error}.", f"line {reader.line_num}") from None
    return found


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
    number = math.nan
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
    if not (math.isfinite(number) and number >= 0):
        shown = repr(value)
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
