"""Opening a run, and saying at the end of the command what is not as it was written: files are looked at where they are needed."""

from __future__ import annotations

from pathlib import Path

from hwdse.names import visible
from hwdse.records import SweepRecord

from .show import err

_looked_at: list[SweepRecord] = []


def open_run(folder: Path, tables: bool = True) -> SweepRecord:
    """The record of a run folder, see :meth:`SweepRecord.load`; what was found wrong with it is said when the command ends."""
    return told(SweepRecord.load(folder, tables=tables))


def told(record: SweepRecord) -> SweepRecord:
    """The record; what is found wrong with it is said when the command ends, however it ends."""
    _looked_at.append(record)
    return record


def say_damage() -> None:
    """At the end of the command, once."""
    for text in dict.fromkeys(text for record in _looked_at for text in record.damage):
        err.print(visible(f"hwdse: note: {text.removesuffix('.')}."), soft_wrap=True)
    _looked_at.clear()
