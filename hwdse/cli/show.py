"""Printing: tables for people, JSON for scripts, progress with time left."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from hwdse.workbench import Say

out = Console(highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False)


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
    print(json.dumps(plain(value), indent=2))  # noqa: T201  # the command's output


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", footer: Sequence[str] | None = None) -> None:
    """A table whose first column is text and whose others are numbers, unless a column's name ends in a space."""
    table = Table(title=title or None, title_justify="left", show_footer=footer is not None, header_style="bold", box=None, pad_edge=False)
    for i, name in enumerate(columns):
        left = i == 0 or name.endswith(" ")
        table.add_column(name.strip(), footer[i] if footer else "", justify="left" if left else "right", no_wrap=i == 0, overflow="fold")
    for row in rows:
        table.add_row(*row)
    # a terminal narrower than the table would lose numbers to "…": let the lines be long instead
    width = max(out.width, out.measure(table).minimum + 2) if out.is_terminal else 240
    Console(highlight=False, width=width, file=out.file).print(table)


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
            status.update(f"{what} {done}/{total}{left}" if total > 1 else what)

        yield say
