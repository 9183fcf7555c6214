"""Whose code failed: a sentence with file and line where it was the user's, so that nobody reads a traceback of hwdse for it."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from pathlib import Path

import hwdse
from hwdse.errors import text_of


def _ours() -> tuple[str, ...]:
    """Folders of hwdse: the core, and those that lie beside it in a checkout."""
    core = Path(hwdse.__file__).parent
    found = [core]
    for name in ("costmodels", "sweeps", "reports"):
        module = sys.modules.get(f"hwdse.{name}")
        if module is not None and module.__file__:
            found.append(Path(module.__file__).parent)
    return tuple(f"{folder}/" for folder in found)


def _library(file: str) -> bool:
    paths = sysconfig.get_paths()
    return file.startswith("<") or "site-packages" in file or any(file.startswith(f"{paths[k]}/") for k in ("stdlib", "platstdlib"))


def place(error: BaseException | None) -> str | None:
    """``file.py, line 12, in forward``: the deepest line of the user's own code; None where there is none."""
    if error is None:
        return None
    ours = _ours()
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(ours) and not _library(f.filename)]
    frames = [f for f in frames if f.name != "<module>" or not f.filename.endswith(("/hwdse", "__main__.py"))]
    if not frames:
        return None
    last = frames[-1]
    return f"{last.filename}, line {last.lineno}, in {last.name}"


def sentence(error: BaseException) -> str | None:
    """What to tell the user of an exception that is not hwdse's own; None where the fault is hwdse's and the traceback is wanted."""
    said = text_of(error)
    own = _user_place(error)
    if own is not None:
        return f"the task's own code failed: {said}\n  at {own}"
    if any("/torch/nn/modules/" in frame.filename for frame in traceback.extract_tb(error.__traceback__)):
        return f"the task's model failed on the task's data: {said}\n  Look at the shapes and types that batches() yields."
    if isinstance(error, OSError):
        return said
    return None


def _user_place(error: BaseException) -> str | None:
    """Only where hwdse called the user's code, not where a script of the user called hwdse."""
    ours = _ours()
    files = [f.filename for f in traceback.extract_tb(error.__traceback__)]
    first = next((i for i, file in enumerate(files) if file.startswith(ours)), len(files))
    if not any(not file.startswith(ours) and not _library(file) for file in files[first:]):
        return None
    return place(error)
