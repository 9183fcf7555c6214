"""A line of JSON for everything that happens in a run: for scripts, and for looking on from elsewhere.

``RUN/log.jsonl``: ``time`` (UTC), ``event`` (``started``, ``ended``, ``released`` where it was interrupted), ``trial``, ``process``,
``what``; at the end ``state``, ``seconds``, ``score`` and ``error``.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwdse.checksums import altered, stamped
from hwdse.errors import HwdseError
from hwdse.numerals import whole
from hwdse.passwords import masked
from hwdse.reading import decode, json_object
from hwdse.run_files import read_own

FILE = "log.jsonl"


@dataclass(frozen=True)
class Running:
    """A trial that has started and not ended, as far as the log knows. ``since``: UTC. ``process``: host and number."""

    trial: int
    what: str
    since: datetime.datetime
    process: str


def append(folder: Path, event: str, trial: int, **more: Any) -> None:
    """Adds one line, whole even where several processes write. A log that cannot be written stops nothing."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    process = f"{os.uname().nodename}:{os.getpid()}" if hasattr(os, "uname") else str(os.getpid())
    line = json.dumps(stamped({"time": now, "event": event, "trial": trial, "process": process, **_masked(more)})) + "\n"
    with contextlib.suppress(OSError):
        handle = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


def _masked(more: dict[str, Any]) -> dict[str, Any]:
    return {key: masked(value) if isinstance(value, str) else value for key, value in more.items()}


@dataclass(frozen=True)
class Log:
    """Every event that can be read, and how many lines cannot: cut off, or damaged."""

    events: tuple[dict[str, Any], ...]
    damaged: int = 0


def read(folder: Path) -> Log:
    """The log of a run folder; empty where there is none."""
    try:
        lines = read_own(folder, FILE).split(b"\n")
    except OSError:
        return Log(())
    found, damaged = [], 0
    for line in filter(None, map(bytes.strip, lines)):
        try:
            found.append(_event(json_object(FILE, decode(FILE, line))))
        except (HwdseError, KeyError, TypeError, ValueError):
            damaged += 1
    return Log(tuple(found), damaged)


def _event(data: dict[str, Any]) -> dict[str, Any]:
    """The same, if it is one, and as it was written: a time of a known zone, a word and a whole number.

    Raises:
        KeyError, TypeError, ValueError: it is not.
    """
    if datetime.datetime.fromisoformat(data["time"]).tzinfo is None or not isinstance(data["event"], str):
        raise ValueError
    if altered(data) or not isinstance(data["trial"], int) or data["trial"] < 0:
        raise ValueError
    return data


def running(events: Iterable[dict[str, Any]]) -> list[Running]:
    """Trials without an end. A process that started another trial since has given the earlier one up, as has one that has ended, where that
    can be seen from here: on the same machine."""
    last: dict[str, dict[str, Any]] = {}
    for event in events:
        last[str(event.get("process"))] = event
    return [
        Running(int(e["trial"]), str(e.get("what", "")), datetime.datetime.fromisoformat(e["time"]), process)
        for process, e in last.items() if e["event"] == "started" and not _dead(process)
    ]  # fmt: skip


def _dead(process: str) -> bool:
    host, _, number = process.rpartition(":")
    if not hasattr(os, "uname") or host != os.uname().nodename or (process_id := whole(number, 2**31)) is None or process_id == 0:
        return False
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # somebody else's
    return False
