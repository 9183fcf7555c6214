"""Watching a sweep: on a terminal a live line and the best of each budget; elsewhere a line per trial and per new best."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hwdse.reports.budgets import BudgetResult, budget_results
from hwdse.sweeps import Progress
from hwdse.sweeps.engine import Say

from .show import err, seconds, text_cell

if TYPE_CHECKING:
    from rich.table import Table

EVERY = 1.0  # seconds between two looks at the budgets


@contextlib.contextmanager
def watching(quiet: bool) -> Iterator[Say]:
    """What to tell of a sweep's progress."""
    if quiet:
        yield lambda progress: None
    elif err.is_terminal:
        with _live() as draw:
            yield draw
    else:
        yield _Lines()


class _Best:
    """The best of each budget so far; worked out anew at most every :data:`EVERY` seconds, and only where a trial has ended since."""

    def __init__(self) -> None:
        self.results: tuple[BudgetResult, ...] = ()
        self._done, self._looked = -1, 0.0

    def changed(self, p: Progress) -> list[BudgetResult]:
        """Budgets whose best is another than before."""
        if p.record is None or p.trials_done == self._done or time.monotonic() < self._looked + EVERY:
            return []
        self._done, self._looked = p.trials_done, time.monotonic()
        before = {b.texts: b.best for b in self.results}
        self.results = budget_results(p.record)
        return [b for b in self.results if b.best is not None and b.best != before.get(b.texts)]


class _Lines:
    def __init__(self) -> None:
        self._last, self._best = -1, _Best()

    def __call__(self, p: Progress) -> None:
        if p.trials_done == self._last:
            return
        self._last = p.trials_done
        for b in self._best.changed(p):
            if b.best is not None and p.record is not None:
                err.print(f"  {b.name}: best is now {b.best.name}, {p.record.score.format(b.best.score)}", soft_wrap=True)
        left = f", {seconds(p.seconds_left)} left" if p.seconds_left is not None else ""
        failed = f", {p.failed} failed" if p.failed else ""
        trial = f"trial {p.trials_done + 1}/{p.trials}{failed}{left}" if p.trials_done < p.trials else ""
        what = p.what or (_running(p) if p.trials_done < p.trials else "")
        err.print(": ".join(filter(None, (trial, what))), soft_wrap=True)


@contextlib.contextmanager
def _live() -> Iterator[Say]:
    from rich.console import Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("trials"), BarColumn(bar_width=24), MofNCompleteColumn(),
        TextColumn("{task.fields[left]}", markup=False), TextColumn("{task.fields[failed]}", markup=False, style="red"),
        TextColumn("{task.fields[what]}", markup=False), console=err,
    )  # fmt: skip
    task, best = bar.add_task("", total=None, left="", failed="", what=""), _Best()
    with Live(bar, console=err, refresh_per_second=4, transient=True) as live:

        def draw(p: Progress) -> None:
            step = f" ({p.steps_done / p.steps:.0%})" if p.steps else ""
            failed = f"{p.failed} failed" if p.failed else ""
            left = f"{seconds(p.seconds_left)} left" if p.seconds_left is not None else ""
            what = text_cell(f"{p.what or _running(p)}{step}").plain
            bar.update(task, completed=p.trials_done, total=p.trials, left=left, failed=failed, what=what)
            if best.changed(p) and p.record is not None:
                live.update(Group(bar, _table(best.results, p.record.score)))

        yield draw


def _table(results: tuple[BudgetResult, ...], score: Any) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for head in ("best so far, by budget", "trial", f"validation {score.name}", "points inside"):
        table.add_column(text_cell(head), style="dim" if head == "points inside" else None)
    for b in results:
        cells = (b.name, b.best.name if b.best else "-", score.format(b.best.score) if b.best else "-", str(b.inside))
        table.add_row(*map(text_cell, cells))
    return table


def _running(p: Progress) -> str:
    """What a team does."""
    return f"{p.running} running" if p.running else "waiting for workers"
