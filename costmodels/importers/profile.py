"""What a profiler's files say, in one form: rows with a time or an energy, and whatever identifies the layer they belong to.

A row never holds 0: what was not measured is None, and :attr:`ProfileRow.lacks` says why.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from ...errors import FileFormatError, UsageError
from ...formats import LayerFormat
from .facts import Facts

PART = "the whole network, or a part of it, in one row"  # the reason why such a row is no layer's


@dataclass(frozen=True)
class ProfileRow:
    """One row of a profile.

    Attributes:
        label: the row as its tool calls it, for people.
        where: file, and line or entry, for messages and for the ``source`` of the table.
        names: the tool's names of the operations in the row; several where it fused them, none where it names nothing.
        op: kind of operation in the tool's words; empty where it does not say.
        seconds, cycles: time, in one of the two. spread: standard deviation over ``runs``, in s. joules: energy.
        facts: shapes and counts that the file gives.
        widths: at which the tool says that the row ran; None where it does not say.
        opaque: why the row stands for no layer in particular (a copy; :data:`PART`); empty where it may.
        lacks: why it has no cost; empty where it has one.
    """

    label: str
    where: str
    names: tuple[str, ...] = ()
    op: str = ""
    seconds: float | None = None
    cycles: float | None = None
    spread: float | None = None
    runs: int | None = None
    joules: float | None = None
    facts: Facts = Facts()  # noqa: RUF009  # immutable
    widths: LayerFormat | None = None
    opaque: str = ""
    lacks: str = ""

    def __post_init__(self) -> None:
        for what, cost in (("time", self.seconds), ("cycles", self.cycles), ("energy", self.joules)):
            if cost is not None and not (math.isfinite(cost) and cost > 0):
                raise UsageError(f"{self.where}: {what} must be a finite number above 0, got {cost}; what was not measured is None.")

    @property
    def costed(self) -> bool:
        """Whether it has a time or an energy."""
        return (self.seconds, self.cycles, self.joules) != (None, None, None)


@dataclass(frozen=True)
class Profile:
    """The rows of one profiling, in the order of the file (most tools: of execution).

    Attributes:
        tool: its name. kind: what its numbers are, as in ``provenance.kind`` of an accelerator file.
        files: what was read. about: which of the tool's numbers were taken, in a few words.
        clock: Hz, where a file states it; rows in cycles need it.
        version: of the tool, where a file states it.
        times: what its seconds are, to continue "of the ..."; only what a device's own clock took is called device time.
        only_layers: whether every row is a layer, as of tools that know nothing else; elsewhere a row of which the file does not
            say what it is may be anything, and neither its shape nor its place makes a layer of it.
    """

    tool: str
    kind: Literal["measured", "simulated"]
    files: tuple[Path, ...]
    rows: tuple[ProfileRow, ...]
    about: str
    clock: float | None = None
    version: str = ""
    times: str = "time in the files"
    only_layers: bool = False


class Importer(Protocol):
    """Reads the files of one profiling."""

    def __call__(self, files: Sequence[Path]) -> Profile:
        """The profile.

        Raises:
            FileFormatError: a file that is not what it should be; with its line or key.
        """
        ...


def in_seconds(profile: Profile, clock: float | None) -> Profile:
    """The profile with every cycle count as seconds.

    Args:
        profile: as read. clock: Hz, given by the user; None where the file's own is to be used.

    Raises:
        UsageError: cycles and no clock; two clocks; a clock that nothing needs.
    """
    if clock is not None and not (math.isfinite(clock) and clock > 0):
        raise UsageError(f"--clock must be a finite number of Hz above 0, got {clock}; write for example --clock 500e6.")
    if all(row.cycles is None for row in profile.rows):
        if clock is not None:
            raise UsageError(f"--clock is for cycles, but {profile.tool} gives seconds here; leave it out.")
        return profile
    if clock is not None and profile.clock is not None and clock != profile.clock:
        raise UsageError(f"--clock says {clock:g} Hz, the files say {profile.clock:g} Hz; leave --clock out, or the file that states it.")
    hertz = clock if clock is not None else profile.clock
    if hertz is None:
        raise UsageError(f"{profile.tool} counts cycles here, and no file states the clock: give it in Hz, such as --clock 500e6.")
    rows = [row if row.cycles is None else replace(row, seconds=_seconds(row, hertz), cycles=None) for row in profile.rows]
    return replace(profile, rows=tuple(rows), clock=hertz)


def _seconds(row: ProfileRow, hertz: float) -> float:
    seconds = (row.cycles or 0.0) / hertz
    if not (math.isfinite(seconds) and seconds > 0):
        raise UsageError(f"{row.where}: {row.cycles} cycles at {hertz:g} Hz are no finite time above 0; check --clock.")
    return seconds


def over_runs(files: Sequence[Path], read: Sequence[Sequence[ProfileRow]]) -> tuple[ProfileRow, ...]:
    """One row from the same row of several files: the median of the times, and their standard deviation.

    Raises:
        FileFormatError: a file whose rows are not those of the first.
    """
    first = [row.label for row in read[0]]
    for path, rows in zip(files[1:], read[1:], strict=True):
        other = [row.label for row in rows]
        if other != first:
            at = next((i for i, (a, b) in enumerate(zip(first, other, strict=False)) if a != b), min(len(first), len(other)))
            got = f"'{other[at]}'" if at < len(other) else "nothing"
            need = f"'{first[at]}'" if at < len(first) else "nothing"
            raise FileFormatError(path, f"must list the rows of {files[0].name}; has {got} in place of {need}.", f"row {at + 1}")
    return tuple(_together(same) for same in zip(*read, strict=True))


def _together(same: Sequence[ProfileRow]) -> ProfileRow:
    if len(same) == 1:
        return same[0]
    times = [row.seconds for row in same if row.seconds is not None]
    if len(times) < len(same):
        return replace(same[0], seconds=None, spread=None, lacks=same[0].lacks or "it has no time in one of the files")
    runs = sum(row.runs or 1 for row in same)
    return replace(same[0], seconds=statistics.median(times), spread=statistics.stdev(times), runs=runs)
