"""Where a study is kept: a SQLite file in the run folder, for one machine, or a PostgreSQL server, for as many as one likes.

Both give the same three things: Optuna's storage, a lock that one process holds at a time, and which workers are alive. Optuna's own
heartbeats are not used: it finds no trial stale whose worker died before the first beat, and it copies a kept result into the retry.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import socket
import time
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from hwdse.errors import HwdseError
from hwdse.interrupts import check
from hwdse.names import visible
from hwdse.passwords import masked, masked_url

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

T = TypeVar("T")
_OF_DATABASE = re.compile(r"[/\\](optuna[/\\]storages|sqlalchemy|psycopg)[/\\]")  # where an error on a damaged row is raised
PATIENCE = 900.0  # seconds that a worker goes on asking for a server that went away
Say = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """Which study, and where. ``str()`` never holds a password.

    Attributes:
        folder: the run folder. url: of a PostgreSQL server; None: ``study.db`` in the folder. study: its name there.
    """

    folder: Path
    url: str | None = None
    study: str = "sweep"

    def __str__(self) -> str:
        return f"the run folder {self.folder}" if self.url is None else f"the study '{self.study}' on {shown(self.url)}"


def shown(url: str) -> str:
    """A database URL without its password, wherever in it that stands."""
    return visible(masked_url(url)).replace("postgresql+psycopg://", "postgresql://")


class Database(Protocol):
    """One process's way to a study."""

    worker: str  # this process, unlike any other before or after it
    storage: RDBStorage

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Held by one process at a time; released when its holder dies."""

    def enrol(self) -> None:
        """From here on this process counts as alive, until it ends, however it ends."""

    def alive(self, workers: set[str]) -> set[str]:
        """Those of ``workers`` that live."""

    def bury(self, process: int) -> None:
        """A process of this machine that has ended counts as dead from here on."""

    def lost(self, error: BaseException) -> bool:
        """Whether an error may be gone when the same is asked again."""

    def failure(self, error: BaseException) -> HwdseError | None:
        """What to tell the user of a database error; None where it is none."""

    def close(self) -> None:
        """Counts as dead from here on."""


def worker_name() -> str:
    """Host, process and what no other process has."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def persistent(database: Database, action: Callable[[], T], say: Say) -> T:
    """Does something that may be done twice, again and again while the database cannot be reached.

    Raises:
        StorageError: not reached for ``PATIENCE`` seconds, or it will never be; FileFormatError: a damaged file.
    """
    delay, until = 0.5, time.monotonic() + PATIENCE
    while True:
        try:
            return action()
        except Exception as error:
            failure = database.failure(error)
            if failure is None:
                raise
            if not database.lost(error) or time.monotonic() > until:
                raise failure from None
            check()
            say(f"{failure} Asking again in {delay:.0f} s." if delay >= 1 else str(failure))
            time.sleep(delay * random.uniform(0.7, 1.3))
            delay = min(2 * delay, 30.0)


def rdb_storage(url: str, kwargs: dict[str, Any]) -> RDBStorage:
    """Optuna's storage; its tables are made where they are absent."""
    from optuna.storages import RDBStorage

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RDBStorage(url, engine_kwargs=kwargs)


@contextlib.contextmanager
def translated(database: Database) -> Iterator[None]:
    """Database errors in words for the user."""
    try:
        yield
    except Exception as error:
        failure = database.failure(error)
        if failure is None:
            raise
        raise failure from None


def cause_of(error: BaseException) -> BaseException:
    """The error of the database behind Optuna's."""
    return error.__cause__ if type(error).__name__ == "StorageInternalError" and error.__cause__ is not None else error


@functools.cache
def _kinds() -> tuple[type[BaseException], ...]:
    import sqlalchemy.exc
    from optuna.exceptions import StorageInternalError

    return (sqlalchemy.exc.SQLAlchemyError, StorageInternalError)


def of_database(error: BaseException) -> bool:
    """Whether an error is one of a database, or of what was read from one: bytes that are no text, JSON or state of a trial."""
    if isinstance(error, (HwdseError, *_kinds())):
        return not isinstance(error, HwdseError)
    frames = traceback.extract_tb(error.__traceback__) if isinstance(error, ValueError | LookupError | TypeError | RecursionError) else ()
    return any(_OF_DATABASE.search(frame.filename) for frame in frames)


def reason_of(error: BaseException) -> str:
    """What the database said, in one line."""
    cause = cause_of(error)
    lines = [line.strip() for line in str(getattr(cause, "orig", None) or cause).splitlines() if line.strip()]
    return masked((lines[0] if lines else type(cause).__name__).rstrip("."))
