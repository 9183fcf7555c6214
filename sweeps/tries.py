"""Rows of the study. Each is one try of a trial; all tries of one number are one trial with one result, however many workers ran it."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwdse.checksums import altered

from .knobs import Knobs

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

RETRIES = 5  # times that a trial is tried again whose worker died
# attributes of a row
TRY = "try"  # number of the trial, worker, since when, knobs
KEPT = "result"  # of a TrialResult: the study is the record's source
RELEASED = "released"  # given back by its worker: no death


@dataclass(frozen=True)
class Tried:
    """A trial as the study knows it: its tries, in order."""

    number: int
    tries: tuple[FrozenTrial, ...]

    @property
    def knobs(self) -> Knobs:
        """What it tries; the same every time."""
        return Knobs.from_dict(self.tries[0].user_attrs[TRY]["knobs"])

    @property
    def kept(self) -> FrozenTrial | None:
        """The row with its result; the first, should there be two. A result that is not as it was kept is none: it is measured again."""
        return next((row for row in self.tries if KEPT in row.user_attrs and sound(row)), None)

    @property
    def running(self) -> FrozenTrial | None:
        """The row that some worker has taken and not ended; it may have died."""
        return None if self.kept else next((row for row in self.tries if not row.state.is_finished()), None)

    @property
    def lost(self) -> bool:
        """Whether it must be tried again: nobody runs it, and there is no result."""
        return self.kept is None and self.running is None

    @property
    def given_up(self) -> bool:
        """Whether it has killed so many workers that it is not tried again."""
        return sum(RELEASED not in row.user_attrs for row in self.tries) > RETRIES


def sound(row: FrozenTrial) -> bool:
    """Whether the result in a row is the one that was kept there."""
    kept = row.user_attrs[KEPT]
    known = _LOOKED_AT.get(id(kept))
    if known is None or known[0] is not kept:  # rows that ended are read once, and stay the same objects
        known = _LOOKED_AT[id(kept)] = (kept, not altered(kept))
    return known[1]


_LOOKED_AT: dict[int, tuple[Any, bool]] = {}


def attempt(number: int, worker: str, knobs: Knobs) -> dict[str, Any]:
    """The attribute of a row that says what it is. ``since``: by the worker's clock, and told to people alone."""
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"number": number, "worker": worker, "since": since, "knobs": knobs.to_dict()}


def worker_of(row: FrozenTrial) -> str:
    """Who took it; nothing, where it died while it took it."""
    return str(row.user_attrs.get(TRY, {}).get("worker", ""))


def tried(rows: Iterable[FrozenTrial]) -> Mapping[int, Tried]:
    """The trials behind the rows, by number. Rows whose worker died before anything was decided belong to none."""
    found = defaultdict(list)
    for row in rows:
        if TRY in row.user_attrs:
            found[int(row.user_attrs[TRY]["number"])].append(row)
    return {number: Tried(number, tuple(found[number])) for number in sorted(found)}
