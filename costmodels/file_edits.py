"""Changing single values in the text of an accelerator file, so that its comments stay."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence

from ..errors import UsageError

_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)


def with_top_key(text: str, key: str, value: str) -> str:
    """The text with a top-level key's line replaced, or added after the schema. ``value`` is written in double quotes."""
    first = _TABLE.search(text)
    head, rest = (text[: first.start()], text[first.start() :]) if first else (text, "")
    line = f'{key} = "{value}"'
    found, count = re.subn(rf"^[ \t]*{key}[ \t]*=.*$", lambda _: line, head, count=1, flags=re.MULTILINE)
    if not count:
        found = re.sub(r"^([ \t]*schema[ \t]*=.*)$", lambda m: f"{m[1]}\n{line}", head, count=1, flags=re.MULTILINE)
    return found + rest


def with_files(text: str, files: Mapping[str, str]) -> str:
    """The text with the tables' files, as they stand there, named anew."""
    for old, new in files.items():
        text = re.sub(rf"""(["']){re.escape(old)}\1""", lambda _, name=new: f'"{name}"', text)  # type: ignore[misc]
    return text


def with_block(text: str, name: str, block: str) -> str:
    """The text with the table ``[name]`` replaced, or added at its end. Comments around it stay."""
    lines = text.rstrip("\n").split("\n")
    start = next((i for i, line in enumerate(lines) if re.match(rf"[ \t]*\[{name}\]", line)), None)
    if start is None:
        return "\n".join([*lines, "", block])
    end = next((i for i in range(start + 1, len(lines)) if _TABLE.match(lines[i])), len(lines))
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return "\n".join([*lines[:start], *block.rstrip("\n").split("\n"), *lines[end:], ""])


def confirmed(text: str, source: object, name: str, files: Sequence[str], **sections: Mapping[str, object]) -> str:
    """The same text, if reading it gives what was to be changed.

    Args:
        source: the file that it was made from, for the message.
        name, files: that the accelerator and its tables must have. sections: keys and values that a table must hold.

    Raises:
        UsageError: the original writes these things in a way that single lines cannot change.
    """
    try:
        data = tomllib.loads(text)
        right = data["name"] == name and [table["file"] for table in data.get("table", [])] == list(files)
        right = right and all(data[section][key] == value for section, keys in sections.items() for key, value in keys.items())
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        right = False
    if not right:
        said = ", ".join(["name", "[[table]] file", *(f"[{section}]" for section in sections)])
        raise UsageError(
            f"{source} cannot be changed by the line: write {said} as lines and tables of their own, as docs/accelerator-files.md."
        )
    return text
