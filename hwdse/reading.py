"""Reading files that others wrote: bytes, text, JSON, TOML and CSV, each by one reader, and each mistake in a sentence.

Every reader of the package goes through these, so that damage of one kind (a byte that is not UTF-8, thousands of brackets, a number of
5,000 digits, a key given twice) is explained in the same way wherever it stands.
"""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .errors import FileFormatError

LARGEST = 512 * 2**20  # bytes; what Python makes of JSON is about ten times that
_MIB = 2**20


def read_bytes(path: Path, largest: int = LARGEST) -> bytes:
    """The content of a file.

    Raises:
        FileFormatError: it cannot be read, with the reason of the operating system, or has more than ``largest`` bytes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise FileFormatError(path, f"cannot be read: {reason}.") from None
    if len(content) > largest:
        raise FileFormatError(path, f"is larger than {largest // _MIB} MiB; give a smaller one.")
    return content


def decode(file: object, content: bytes) -> str:
    """UTF-8 text, with or without a byte-order mark.

    Raises:
        FileFormatError: another encoding, or no text at all, with the line.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise FileFormatError(file, "is not UTF-8 text; save it as UTF-8.", f"line {line}") from None
    if "\0" in text:
        raise FileFormatError(file, "is no text file: it holds a NUL.", f"line {text[: text.index(chr(0))].count(chr(10)) + 1}")
    return text


def read_text(path: Path, largest: int = LARGEST) -> str:
    """The text of a file, see :func:`read_bytes` and :func:`decode`."""
    return decode(path, read_bytes(path, largest))


def json_value(file: object, text: str) -> Any:
    """The JSON document in a text. Infinities and NaN, which are no JSON, are refused.

    Args:
        file: where it stands, for messages.

    Raises:
        FileFormatError: empty, truncated, no JSON, a key twice, a number beyond all sense, or nested too deeply.
    """
    if not text.strip():
        raise FileFormatError(file, "is empty.", "line 1")

    def constant(name: str) -> Any:
        raise FileFormatError(file, f"holds {name}, which is no number.")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for i, key in enumerate(keys) if key in keys[:i])
            raise FileFormatError(file, "is given twice; which one holds cannot be known.", f"key '{twice}'")
        return found

    def finite(digits: str) -> float:
        value = float(digits)
        if value in (float("inf"), float("-inf")):
            raise FileFormatError(file, f"holds {digits[:40]}, which is too large for a number.")
        return value

    try:
        return json.loads(text, parse_constant=constant, object_pairs_hook=once, parse_float=finite)
    except json.JSONDecodeError as error:
        raise FileFormatError(file, f"is truncated or not JSON ({error.msg}).", f"line {error.lineno}") from None
    except RecursionError:
        raise FileFormatError(file, "is nested too deeply.") from None
    except FileFormatError:
        raise
    except ValueError:  # int() of thousands of digits
        raise FileFormatError(file, "holds a number of too many digits.") from None


def json_object(file: object, text: str) -> dict[str, Any]:
    """The JSON object in a text.

    Raises:
        FileFormatError: see :func:`json_value`; or another kind of value.
    """
    data = json_value(file, text)
    if not isinstance(data, dict):
        raise FileFormatError(file, f"must hold a JSON object, got {type(data).__name__}.")
    return data


def toml_table(file: object, text: str) -> dict[str, Any]:
    """The TOML document in a text.

    Raises:
        FileFormatError: no TOML (a key twice included), a number of thousands of digits, nested too deeply.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileFormatError(file, f"is not a TOML file: {error}.") from None
    except RecursionError:
        raise FileFormatError(file, "is nested too deeply.") from None
    except ValueError as error:  # int() of thousands of digits, dates that do not exist
        said = "holds a number of too many digits." if "digits" in str(error) else f"is not a TOML file: {error}."
        raise FileFormatError(file, said) from None


def _ended(lines: Iterable[str]) -> Iterator[str]:
    """Lines as files have them: what else :meth:`str.splitlines` parts is put together again. Nothing of a long file is held twice."""
    begun = ""
    for line in lines:
        begun += line
        if line.endswith(("\n", "\r")):
            yield begun
            begun = ""
    if begun:
        yield begun


def csv_records(file: object, lines: Sequence[str], first: int = 1) -> Iterator[tuple[int, list[str]]]:
    """(number of its line, stripped cells) of each record that has any, one at a time.

    Args:
        file: where they stand, for messages. lines: with their ends. first: number of the first line.

    Raises:
        FileFormatError: quotes that do not close, cells that are far too long.
    """
    reader = csv.reader(_ended(lines), strict=True)
    try:
        for record in reader:
            cells = list(map(str.strip, record))
            if any(cells):
                yield first - 1 + reader.line_num, cells
    except csv.Error as error:
        raise FileFormatError(file, f"is not a CSV file: {error}.", f"line {first - 1 + reader.line_num}") from None
