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
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from hwdse.errors import FileFormatError, HwdseError, UsageError
from hwdse.storage import StorageError, locked, take

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

T = TypeVar("T")
GRACE = 90.0  # seconds without a sign of life after which a worker counts as dead; HWDSE_GRACE says otherwise
PATIENCE = 900.0  # seconds that a worker goes on asking for a server that went away
LOCKS = "workers"  # folder inside the run folder
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
    hidden = re.sub(r"(?i)(password=)[^&\s]*", r"\1***", re.sub(r"(://[^/@:]*):.*@", r"\1:***@", url))
    return hidden.replace("postgresql+psycopg://", "postgresql://")


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


class FileDatabase:
    """``study.db`` in the run folder. A living worker holds a lock file: no clock is asked, and a killed one is seen at once.

    Raises:
        StorageError: a folder that cannot be written. FileFormatError: ``study.db`` is truncated or no database.
    """

    def __init__(self, place: Place) -> None:
        self.path, self.locks, self.worker = place.folder / "study.db", place.folder / LOCKS, worker_name()
        self._held: int | None = None  # the handle of this worker's lock file
        try:
            self.locks.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot write {place.folder}: {error.strerror or error}. Give a folder that can be written.") from None
        with self.lock(), _translated(self):
            self.storage = _storage(f"sqlite:///{self.path.resolve()}", {"connect_args": {"timeout": 60}})

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """See :class:`Database`."""
        return locked(self.locks / "study.lock")

    def enrol(self) -> None:
        """See :class:`Database`."""
        self._held = self._held or take(self.locks / f"{self.worker}.lock")

    def alive(self, workers: set[str]) -> set[str]:
        """See :class:`Database`. Asked under the lock."""
        return {name for name in workers if name == self.worker or self._lives(self.locks / f"{name}.lock")}

    def bury(self, process: int) -> None:
        """See :class:`Database`. Its lock file says so already."""

    def _lives(self, path: Path) -> bool:
        if not path.exists():
            return False
        handle = take(path)
        if handle is None:
            return True
        path.unlink(missing_ok=True)
        os.close(handle)
        return False

    def lost(self, error: BaseException) -> bool:
        """See :class:`Database`."""
        return "database is locked" in _reason(error)

    def failure(self, error: BaseException) -> HwdseError | None:
        """See :class:`Database`."""
        if not _of_database(error):
            return None
        reason = _reason(error)
        if "readonly" in reason or "unable to open" in reason or ("disk" in reason and "malformed" not in reason):
            return StorageError(f"cannot write {self.path}: {reason}. Give a folder that can be written and has room.")
        return FileFormatError(
            self.path, f"is truncated or not a study database ({reason}). Delete it to start the sweep anew, or give another folder."
        )

    def close(self) -> None:
        """See :class:`Database`."""
        if self._held is not None:
            (self.locks / f"{self.worker}.lock").unlink(missing_ok=True)
            os.close(self._held)
            self._held = None
        self.storage.engine.dispose()


class ServerDatabase:
    """A PostgreSQL server. A living worker signs there, six times in each grace period; only the server's clock is asked.

    Raises:
        UsageError: not a URL of PostgreSQL, no driver, tables of another version. StorageError: unreachable, or access denied.
    """

    def __init__(self, place: Place) -> None:
        import sqlalchemy

        assert place.url is not None
        self.url, self.study, self.worker = _postgresql(place.url), place.study, worker_name()
        self._stop: threading.Event | None = None
        self._grace = _grace()
        # the server gives up on a machine that vanished after a minute, and on a frozen one that holds the lock
        options = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
        kwargs = {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10, "options": options}}
        with _translated(self):
            self.engine = sqlalchemy.create_engine(self.url, **kwargs)
            with self.lock():  # two that make the tables at once would fail
                self.storage = _storage(self.url, kwargs)
                self._do("CREATE TABLE IF NOT EXISTS hwdse_workers (worker text PRIMARY KEY, seen timestamptz NOT NULL)")

    def _do(self, statement: str, **values: Any) -> list[Any]:
        import sqlalchemy

        with self.engine.begin() as connection:
            done = connection.execute(sqlalchemy.text(statement), values)
            return [row[0] for row in done] if done.returns_rows else []

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """See :class:`Database`."""
        import sqlalchemy

        connection = self.engine.connect()
        try:
            connection.execute(sqlalchemy.text("SET LOCAL idle_in_transaction_session_timeout = '120s'"))
            connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(hashtext('hwdse'), hashtext(:study))"), {"study": self.study})
            yield
        finally:
            with contextlib.suppress(Exception):  # a connection that was lost has released the lock already
                connection.rollback()
            with contextlib.suppress(Exception):
                connection.close()

    def enrol(self) -> None:
        """See :class:`Database`."""
        if self._stop is None:
            self._beat()
            self._stop = threading.Event()
            threading.Thread(target=self._beating, args=(self._stop,), daemon=True).start()

    def _beat(self) -> None:
        self._do("INSERT INTO hwdse_workers VALUES (:worker, now()) ON CONFLICT (worker) DO UPDATE SET seen = now()", worker=self.worker)

    def _beating(self, stop: threading.Event) -> None:
        while not stop.wait(self._grace / 6):
            with contextlib.suppress(Exception):  # the server is away: the next beat may reach it
                self._beat()

    def alive(self, workers: set[str]) -> set[str]:
        """See :class:`Database`."""
        living = self._do("SELECT worker FROM hwdse_workers WHERE seen > now() - make_interval(secs => :grace)", grace=self._grace)
        return workers & {*living, self.worker}

    def bury(self, process: int) -> None:
        """See :class:`Database`."""
        with contextlib.suppress(Exception):  # the server is away: it will be missed after the grace period
            self._do("DELETE FROM hwdse_workers WHERE worker LIKE :name", name=f"{socket.gethostname()}-{process}-%")

    def lost(self, error: BaseException) -> bool:
        """See :class:`Database`."""
        import sqlalchemy.exc

        return isinstance(_cause(error), sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError | sqlalchemy.exc.InternalError)

    def failure(self, error: BaseException) -> HwdseError | None:
        """See :class:`Database`."""
        server = shown(self.url)
        if isinstance(error, RuntimeError) and "table schema" in str(error):
            return UsageError(
                f"the tables on {server} are of another version of Optuna than the one here. Use the same version everywhere "
                "(pip install -c constraints.txt), or another database."
            )
        if not _of_database(error):
            return None
        password = self._password
        reason = _reason(error).replace(password, "***") if password else _reason(error)
        if any(word in reason for word in ("authentication", "no password", "role ", "permission denied", "pg_hba")):
            return StorageError(f"{server} denies access: {reason}. The password may stand in PGPASSWORD or in ~/.pgpass.")
        if "database" in reason and "does not exist" in reason:
            return StorageError(f"{server}: {reason}. Make it with createdb.")
        return StorageError(f"cannot reach {server}: {reason}. Is the server running, and open to this machine?")

    @property
    def _password(self) -> str:
        import sqlalchemy

        return sqlalchemy.make_url(self.url).password or ""

    def close(self) -> None:
        """See :class:`Database`."""
        if self._stop is not None:
            self._stop.set()
            self._stop = None
            with contextlib.suppress(Exception):  # the server is away: it will be missed after the grace period
                self._do("DELETE FROM hwdse_workers WHERE worker = :worker", worker=self.worker)
        self.storage.engine.dispose()
        self.engine.dispose()


def open_database(place: Place) -> Database:
    """The study's database; made where it is absent."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return FileDatabase(place) if place.url is None else ServerDatabase(place)


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
            say(f"{failure} Asking again in {delay:.0f} s." if delay >= 1 else str(failure))
            time.sleep(delay * random.uniform(0.7, 1.3))
            delay = min(2 * delay, 30.0)


def _storage(url: str, kwargs: dict[str, Any]) -> RDBStorage:
    from optuna.storages import RDBStorage

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RDBStorage(url, engine_kwargs=kwargs)


def _postgresql(url: str) -> str:
    """The URL as SQLAlchemy wants it: the driver named, and no braces, which Optuna would take for a template."""
    import sqlalchemy
    import sqlalchemy.exc

    wanted = "postgresql://USER@HOST:5432/DATABASE"
    try:
        made = sqlalchemy.make_url(re.sub(r"^postgres(ql)?(\+psycopg)?://", "postgresql+psycopg://", url))
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise UsageError(f"the storage must be a URL such as {wanted}.") from None
    if made.drivername != "postgresql+psycopg":
        raise UsageError(
            f"the storage must be a URL such as {wanted}, got {made.drivername}://. For one machine leave it out: the run folder is enough."
        )
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise UsageError("PostgreSQL needs its driver: pip install 'hwdse[postgres]' (or: pip install 'psycopg[binary]').") from None
    return made.render_as_string(hide_password=False).replace("{", "%7B").replace("}", "%7D")


@contextlib.contextmanager
def _translated(database: FileDatabase | ServerDatabase) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        failure = database.failure(error)
        if failure is None:
            raise
        raise failure from None


def _grace() -> float:
    text = os.environ.get("HWDSE_GRACE", str(GRACE))
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value < float("inf"):
        raise UsageError(f"HWDSE_GRACE must be a number of seconds, at least 1, got '{text}'.")
    return value


def _cause(error: BaseException) -> BaseException:
    return error.__cause__ if type(error).__name__ == "StorageInternalError" and error.__cause__ is not None else error


@functools.cache
def _kinds() -> tuple[type[BaseException], ...]:
    import sqlalchemy.exc
    from optuna.exceptions import StorageInternalError

    return (sqlalchemy.exc.SQLAlchemyError, StorageInternalError)


def _of_database(error: BaseException) -> bool:
    return isinstance(error, _kinds())


def _reason(error: BaseException) -> str:
    cause = _cause(error)
    lines = [line.strip() for line in str(getattr(cause, "orig", None) or cause).splitlines() if line.strip()]
    return (lines[0] if lines else type(cause).__name__).rstrip(".")
