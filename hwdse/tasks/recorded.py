"""The task that a run or a hand-off names: files that others may have made, and whose word is not enough to run code for."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from ..errors import UsageError


class UntrustedCode(UsageError):
    """A task outside of hwdse that nobody has said to trust.

    Attributes:
        task: its name, ``package.module:Class``. where: what names it. file: where its code lies; None where there is none.
    """

    def __init__(self, task: str, where: object, remedy: str) -> None:
        self.task, self.where, self.file = task, where, code_of(task)
        code = f"whose code, {self.file}," if self.file else "whose code"
        super().__init__(
            f"{where} names the task {task!r}, which is no part of hwdse and {code} would be loaded and run here. If you know who made "
            f"both and trust them, {remedy}; otherwise leave it."
        )


def check_trust(name: str, where: object, trust: bool, remedy: str = "give --trust") -> None:
    """The task called ``name`` in the files of ``where`` may be loaded: it comes with hwdse or a plug-in that is installed, or is trusted.

    Args:
        remedy: what to do to trust it, in words.

    Raises:
        UntrustedCode: a module, which is looked for in the current folder first, and no trust. Nothing of it was loaded.
    """
    if foreign(name) and not trust:
        raise UntrustedCode(name, where, remedy)


def foreign(name: str) -> bool:
    """Whether a task is named by its module, and is not one that is installed under a name."""
    return ":" in name


def code_of(name: str) -> Path | None:
    """The file, or the folder of a package, that a task's module would be loaded from; found without loading anything."""
    here = str(Path.cwd())
    path: list[str] = sys.path if here in sys.path else [here, *sys.path]  # the order of load_task
    full, file = "", None
    for part in name.partition(":")[0].split("."):
        full = f"{full}.{part}".lstrip(".")
        try:
            spec = PathFinder.find_spec(full, path) or (None if "." in full else importlib.util.find_spec(full))
        except (ImportError, ValueError, AttributeError):
            return None
        if spec is None:
            return None
        path = list(spec.submodule_search_locations) if spec.submodule_search_locations is not None else []
        file = spec.origin if spec.has_location else next(iter(path), None)
    return None if file is None else Path(file).resolve()
