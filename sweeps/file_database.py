"""A study in a file, for the workers of one machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from hwdse.errors import FileFormatError, HwdseError
from hwdse.storage import StorageError, locked, take

from .database import Place, of_database, rdb_storage, reason_of, translated, worker_name

LOCKS = "workers"  # folder inside the run folder


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
        with self.lock(), translated(self):
            self.storage = rdb_storage(f"sqlite:///{self.path.resolve()}", {"connect_args": {"timeout": 60}})

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
        return "database is locked" in reason_of(error)

    def failure(self, error: BaseException) -> HwdseError | None:
        """See :class:`Database`."""
        if not of_database(error):
            return None
        reason = reason_of(error)
        if "readonly" in reason or "unable to open" in reason or ("disk" in reason and "malformed" not in reason):
            return StorageError(f"cannot write {self.path}: {reason}. Give a folder that can be written and has room.")
        return FileFormatError(
            self.path, f"is truncated or not a study database ({reason}). Delete the run folder to start the sweep anew, or give another."
        )

    def close(self) -> None:
        """See :class:`Database`."""
        if self._held is not None:
            (self.locks / f"{self.worker}.lock").unlink(missing_ok=True)
            os.close(self._held)
            self._held = None
        self.storage.engine.dispose()
