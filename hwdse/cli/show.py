"""Printing: tables for people, JSON for scripts, progress with time left."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hwdse.names import clipped, visible
from hwdse.numerals import whole
from hwdse.passwords import masked

if TYPE_CHECKING:
    from hwdse.workbench import Say

FOLDED = 24  # a column of text at the end of a row is not folded narrower than this
CLIPPED = 200  # characters of a cell of a table


class Screen(Console):
    """A terminal, or what stands for it. Texts are shown as they are: never markup, and nothing in them steers the terminal."""

    def print(self, *objects: Any, **how: Any) -> None:
        """See :meth:`rich.console.Console.print`."""
        pieces = self.stderr  # results are left whole: a task may be called what a password is
        super().print(*(Text(visible(masked(o, pieces), keep="\n\t")) if isinstance(o, str) else o for o in objects), **how)


out = Screen(highlight=False, soft_wrap=False)
err = Screen(stderr=True, highlight=False)


def text_cell(text: str) -> Text:
    """A cell of a table, or a piece of a line, as text of one line for each of its own."""
    return Text(clipped(visible(masked(text, pieces=False), keep="\n"), CLIPPED))


def plain(value: Any) -> Any:
    """JSON-able: infinities become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def print_json(value: Any) -> None:
    """One JSON document on standard output, nothing else."""
    print(masked(json.dumps(plain(value), indent=2), pieces=False))  # noqa: T201  # the command's output


def width() -> int:
    """Columns of the terminal; where there is none (a file, a pipe), lines may be long, unless COLUMNS says otherwise."""
    if stated := whole(os.environ.get("COLUMNS", ""), 10_000):
        return stated
    return out.width if out.is_terminal else 240


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """A table whose first column is text and whose others are numbers, unless a column's name ends in a space: then it is text too.

    Numbers are never cut or broken over lines. A table wider than the terminal wraps its last text column; where that is not
    enough it is continued below, the first column repeated. A new line in a column's name breaks its heading.
    """
    if title:
        print_text(title)
    columns = [visible(name, keep="\n") for name in columns]
    rows = [[text_cell(value).plain for value in row] for row in rows]
    for number, part in enumerate(_parts(columns, rows)):
        if number:
            print_text("")
        _print_part([columns[i] for i in part], [[row[i] for i in part] for row in rows])


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [
        max(cell_len(line) for text in (name.rstrip(), *(row[i] for row in rows)) for line in text.split("\n"))
        for i, name in enumerate(columns)
    ]


def _parts(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[list[int]]:
    """Indices of the columns of each part, as many side by side as fit. A last column of text needs no more than ``FOLDED``."""
    widths = _widths(columns, rows)
    if columns[-1].endswith(" "):
        widths[-1] = min(widths[-1], FOLDED)
    parts, room = [[0]], width() - widths[0]
    for i in range(1, len(columns)):
        if widths[i] + 2 > room and len(parts[-1]) > 1:
            parts.append([0])
            room = width() - widths[0]
        parts[-1].append(i)
        room -= widths[i] + 2
    return parts


def _print_part(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for i, name in enumerate(columns):
        text, last = i == 0 or name.endswith(" "), i == len(columns) - 1
        table.add_column(Text(name.strip()), justify="left" if text else "right", no_wrap=not (text and last and i), overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    numbers = sum(_widths(columns, rows)[: -1 if columns[-1].endswith(" ") else None]) + 2 * len(columns)
    fits = max(width(), numbers + (FOLDED if columns[-1].endswith(" ") else 0))
    Console(highlight=False, width=fits, file=out.file).print(table)


def print_text(text: str = "", *, style: str = "", indent: int = 0) -> None:
    """A paragraph, wrapped at words, each further line indented; what it holds is never read as markup."""
    shown = visible(masked(text, pieces=False), keep="\n\t")
    lines = textwrap.wrap(shown, width(), subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False) or [""]
    for line in lines:
        out.print(Text(line, style=style), soft_wrap=True)


def print_question(text: str) -> bool:
    """Asks on the terminal, whatever standard output is; True only for a yes."""
    err.print(f"{text} [y/N] ", end="", soft_wrap=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def seconds(value: float) -> str:
    """``1 min 05 s``."""
    if value < 60:
        return f"{value:.0f} s"
    return f"{int(value // 60)} min {int(value % 60):02d} s"


@contextlib.contextmanager
def telling(quiet: bool = False) -> Iterator[Say]:
    """A progress line on standard error for anything that takes over two seconds; nothing is shown where it is not a terminal."""
    if quiet or not err.is_terminal:
        yield lambda what, done, total: None
        return
    began, last = time.perf_counter(), [""]
    with err.status("") as status:

        def say(what: str, done: int, total: int) -> None:
            nonlocal began
            if what != last[0]:
                began, last[0] = time.perf_counter(), what
            spent = time.perf_counter() - began
            left = f", {seconds(spent / done * (total - done))} left" if done and spent > 1 else ""
            status.update(text_cell(f"{what} {done}/{total}{left}" if total > 1 else what))

        yield say
