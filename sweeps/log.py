"""A line of JSON for everything that happens in a run: for scripts, and for looking on from elsewhere.

``RUN/log.jsonl``: ``time`` (UTC), ``event`` (``started``, ``ended``, ``released`` where it was interrupted), ``trial``, ``process``,
``what``; at the end ``state``, ``seconds``, ``score`` and ``error``.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    line = json.dumps({"time": now, "event": event, "trial": trial, "process": process, **more}) + "\n"
    with contextlib.suppress(OSError):
        handle = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


def read(folder: Path) -> list[dict[str, Any]]:
    """Every event; lines that were cut off are passed over."""
    try:
        text = (folder / FILE).read_text(encoding="utf-8")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            event = json.loads(line)
            if isinstance(event, dict) and {"time", "event", "trial"} <= set(event):
                found.append(event)
    return found


def running(events: list[dict[str, Any]]) -> list[Running]:
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
    if not hasattr(os, "uname") or host != os.uname().nodename or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # somebody else's
    return False
