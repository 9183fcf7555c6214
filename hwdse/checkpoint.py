"""Mid-training checkpoints: a training that was interrupted goes on to the result that it would have had."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .checksums import sealed, unsealed
from .errors import FileFormatError
from .storage import StorageError, read_checkpoint, write

SCHEMA = "hwdse.training/1"


class Checkpoint:
    """One file, written at most every ``interval`` seconds; whoever stores the training's result removes it.

    Args:
        path: the file; None writes nothing.
        identity: what must be equal for the file to belong to this training.
        interval: seconds between writes; 0 writes at every chance.
    """

    def __init__(self, path: Path | None, identity: Mapping[str, Any], interval: float = 30.0) -> None:
        self.path, self.identity, self.interval = path, {"schema": SCHEMA, **identity}, interval
        self._written = time.monotonic()
        self.failed = ""  # why it could not be written: the training is worth more than its checkpoint, and goes on without

    def load(self) -> dict[str, Any] | None:
        """The saved state; None where there is none.

        Raises:
            FileFormatError: a damaged file, or one of another training; both say which, and nothing is overwritten.
        """
        if self.path is None or not self.path.exists():
            return None
        saved = read_checkpoint(unsealed(self.path.read_bytes(), self.path), self.path)
        theirs = saved.get("identity")
        if not isinstance(theirs, dict) or theirs.get("schema") != SCHEMA:
            raise FileFormatError(self.path, f"is no checkpoint of the schema {SCHEMA}; remove it, or give another path.")
        wrong = [f"{k} is {theirs.get(k)!r}, here {v!r}" for k, v in self.identity.items() if theirs.get(k) != v]
        if wrong:
            raise FileFormatError(self.path, f"is a checkpoint of another training: {'; '.join(wrong)}. Remove it, or give another path.")
        state: dict[str, Any] = saved["state"]
        return state

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return self.path is not None and not self.failed and time.monotonic() - self._written >= self.interval

    def save(self, state: Mapping[str, Any]) -> None:
        """Writes the state, whole or not at all."""
        import torch

        if self.path is None:
            return
        buffer = io.BytesIO()
        torch.save({"identity": self.identity, "state": dict(state)}, buffer)
        try:
            write(self.path, sealed(buffer.getvalue()))
        except StorageError as error:
            self.failed = str(error)
        self._written = time.monotonic()


def drop_damaged(path: Path) -> bool:
    """Removes a checkpoint that is not what was written, so that its training begins anew; whether it was so."""
    if not path.exists():
        return False
    try:
        unsealed(path.read_bytes(), path)
    except FileFormatError:
        path.unlink(missing_ok=True)
        return True
    return False
