"""A study on a PostgreSQL server, for workers on as many machines as one likes."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

from hwdse.errors import HwdseError, UsageError
from hwdse.numerals import number
from hwdse.passwords import hold
from hwdse.storage import StorageError

from .database import Place, cause_of, of_database, rdb_storage, reason_of, shown, translated, worker_name

GRACE = 90.0  # seconds without a sign of life after which a worker counts as dead; HWDSE_GRACE says otherwise


class ServerDatabase:
    """A PostgreSQL server. A living worker signs there, six times in each grace period; only the server's clock is asked.

    Raises:
        UsageError: not a URL of PostgreSQL, no driver, tables of another version. StorageError: unreachable, or access denied.
    """

    def __init__(self, place: Place) -> None:
        import sqlalchemy

        assert place.url is not None
        hold(place.url)
        self.url, self.study, self.worker = _postgresql(place.url), place.study, worker_name()
        self._stop: threading.Event | None = None
        self._grace = _grace()
        # the server gives up on a machine that vanished after a minute, and on a frozen one that holds the lock
        options = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
        kwargs = {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10, "options": options}}
        with translated(self):
            self.engine = sqlalchemy.create_engine(self.url, **kwargs)
            with self.lock():  # two that make the tables at once would fail
                self.storage = rdb_storage(self.url, kwargs)
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
            connection.execute(sqlalchemy.text("SELECT 1"))  # a lock that was lost on the way: what was done under it is done again
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
        # the server's clock was set back: who signed before that would live until it has caught up
        self._do("UPDATE hwdse_workers SET seen = now() WHERE seen > now()")
        living = self._do("SELECT worker FROM hwdse_workers WHERE seen > now() - make_interval(secs => :grace)", grace=self._grace)
        return workers & {*living, self.worker}

    def bury(self, process: int) -> None:
        """See :class:`Database`."""
        with contextlib.suppress(Exception):  # the server is away: it will be missed after the grace period
            self._do("DELETE FROM hwdse_workers WHERE worker LIKE :name", name=f"{socket.gethostname()}-{process}-%")

    def lost(self, error: BaseException) -> bool:
        """See :class:`Database`."""
        import sqlalchemy.exc

        return isinstance(cause_of(error), sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError | sqlalchemy.exc.InternalError)

    def failure(self, error: BaseException) -> HwdseError | None:
        """See :class:`Database`."""
        server = shown(self.url)
        if isinstance(error, RuntimeError) and "table schema" in str(error):
            return UsageError(
                f"the tables on {server} are of another version of Optuna than the one here. Use the same version everywhere "
                "(pip install -c constraints.txt), or another database."
            )
        if not of_database(error):
            return None
        reason = reason_of(error)
        if any(word in reason for word in ("authentication", "no password", "role ", "permission denied", "pg_hba")):
            return StorageError(f"{server} denies access: {reason}. The password may stand in PGPASSWORD or in ~/.pgpass.")
        if "database" in reason and "does not exist" in reason:
            return StorageError(f"{server}: {reason}. Make it with createdb.")
        return StorageError(f"cannot reach {server}: {reason}. Is the server running, and open to this machine?")

    def close(self) -> None:
        """See :class:`Database`."""
        if self._stop is not None:
            self._stop.set()
            self._stop = None
            with contextlib.suppress(Exception):  # the server is away: it will be missed after the grace period
                self._do("DELETE FROM hwdse_workers WHERE worker = :worker", worker=self.worker)
        self.storage.engine.dispose()
        self.engine.dispose()


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
        raise UsageError(f"the storage must be a URL such as {wanted}, got {shown(made.drivername)}. For one machine leave it out.")
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise UsageError("PostgreSQL needs its driver: pip install 'hwdse[postgres]' (or: pip install 'psycopg[binary]').") from None
    return made.render_as_string(hide_password=False).replace("{", "%7B").replace("}", "%7D")


def _grace() -> float:
    text = os.environ.get("HWDSE_GRACE", str(GRACE))
    value = number(text) or 0.0
    if value < 1:
        raise UsageError(f"HWDSE_GRACE must be a number of seconds, at least 1, got '{text}'.")
    return value
