"""Looking on: where a sweep stands, from the files of its run folder or from the server alone. Takes no part."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from hwdse.checksums import altered
from hwdse.errors import FileFormatError, UsageError
from hwdse.records import SweepRecord, TrialResult

from .finding import opened
from .log import Running, read, running


@dataclass(frozen=True)
class Look:
    """A sweep under way, or ended.

    Attributes:
        where: the folder, or the study and its server without the password. record: what has ended so far; without tables.
        running: trials at work: by the log of the folder, or at workers that live. stopped: why it was stopped early.
        last: when something was last heard of it, UTC. damaged: lines of the folder's log that cannot be read.
    """

    where: str
    record: SweepRecord
    running: tuple[Running, ...]
    stopped: str = ""
    last: datetime.datetime | None = None
    damaged: int = 0


def look_at_folder(folder: Path) -> Look:
    """By ``record.json`` and ``log.jsonl``.

    Raises:
        StorageError: no record there. FileFormatError: it cannot be read.
    """
    record, log = SweepRecord.load(folder, tables=False), read(folder)
    ended = {t.number for t in record.trials}
    last = max((datetime.datetime.fromisoformat(e["time"]) for e in log.events), default=None)
    return Look(str(folder), record, tuple(r for r in running(log.events) if r.trial not in ended), last=last, damaged=log.damaged)


def look_at_server(url: str, study: str | None) -> Look:
    """By the study on a server.

    Raises:
        UsageError: no such study there. StorageError: unreachable.
    """
    from .tries import KEPT, TRY, tried, worker_of  # with the quantisers, and torch: a run folder is looked at without

    with opened(None, url, study) as (place, database, found):
        attrs, trials = found.user_attrs, tried(found.get_trials(deepcopy=False))
        if "record" not in attrs:
            raise UsageError(f"{place} has not begun: hwdse sweep writes what it is about once the networks are trained. Ask again then.")
        if altered(attrs["record"]):
            raise FileFormatError(place, "what the study says of its run is not as it was kept; give the command of the sweep again.")
        results = tuple(TrialResult.from_dict(one.kept.user_attrs[KEPT]) for one in trials.values() if one.kept is not None)
        record = SweepRecord.from_dict(attrs["record"], Path("record.json")).with_trials(results)
        rows = {number: one.running for number, one in trials.items() if one.running is not None}
        alive = database.alive({worker_of(row) for row in rows.values()})
        at_work = [
            Running(number, str(trials[number].knobs), datetime.datetime.fromisoformat(row.user_attrs[TRY]["since"]), worker_of(row))
            for number, row in rows.items() if worker_of(row) in alive
        ]  # fmt: skip
        return Look(str(place), record, tuple(at_work), str(attrs.get("stopped", "")))
