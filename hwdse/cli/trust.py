"""Asks before code runs that a run folder names; not for the code that the user has named themselves, by the name of a task."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from hwdse.storage import key_of
from hwdse.tasks.recorded import UntrustedCode, check_trust, code_of, foreign

from .show import print_question


def allow(task: str, folder: object, trust: bool) -> None:
    """A task that a run names may be loaded: said by ``trust``, remembered, or answered now.

    Raises:
        UntrustedCode: it is not wished. Nothing of the task was loaded.
    """
    try:
        check_trust(task, f"the run {folder}", trust or remembered(task))
    except UntrustedCode as error:
        code = f"from {error.file}" if error.file else "from a module that is not found here"
        asked = f"The run {folder} names the task {task!r}, which is no part of hwdse. Its code would be loaded and run {code}. Run it?"
        if not (sys.stdin.isatty() and sys.stderr.isatty() and print_question(asked)):
            raise
    remember(task)


def remembered(task: str) -> bool:
    """Whether this task, with this very code, was named by the user before, or answered for."""
    key = _key(task)
    try:
        return key is not None and key in _file().read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return False


def remember(task: str) -> None:
    """Does not ask for this code again; where the user's folder cannot be written, it does."""
    key = _key(task)
    if key is None or remembered(task):
        return
    with contextlib.suppress(OSError):
        _file().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _file().open("a", encoding="ascii") as file:
            file.write(f"{key}\n")


def _key(task: str) -> str | None:
    """The name, with the file that it stands for here and now: the same name may come with other code."""
    file = code_of(task) if foreign(task) else None
    try:
        return None if file is None else key_of(task, str(file), file.read_bytes() if file.is_file() else "")
    except OSError:
        return None


def _file() -> Path:
    """``$XDG_STATE_HOME/hwdse/trusted``, default below ``~/.local/state``."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "hwdse" / "trusted"
