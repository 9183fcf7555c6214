"""Files that are whole or absent (write beside, sync, rename), and the cache under keys of all that determines its content."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .costs import CostTable
from .edges import Edges
from .errors import FileFormatError, HwdseError
from .formats import LayerFormat
from .metrics import Metric
from .reading import decode, json_object

if TYPE_CHECKING:
    from torch import Tensor

# what numpy, zip, zlib and the constructors of a table raise on bytes that are no archive, or a damaged one
_DAMAGE = (
    OSError, ValueError, LookupError, EOFError, TypeError, AttributeError, NotImplementedError, RuntimeError, SyntaxError, MemoryError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class StorageError(HwdseError, OSError):
    """A file or folder that cannot be written or read, with the reason of the operating system."""


def write(path: Path, content: bytes | str) -> None:
    """Writes a file so that a reader, or a crash, sees the old content or the new, never half of it.

    Raises:
        StorageError: no room, no permission. The old file, if any, is untouched.
    """
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content  # half a character is shown by its code
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = _beside(path)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)  # while it is held, so that nobody takes it for one whose writer died
        temporary = None
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}. Give a folder that can be written and has room.") from None
    finally:  # after an interrupt too
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


UNFINISHED = ".hwdse-unfinished"  # how the name of a file ends that is being written


def _beside(path: Path) -> tuple[int, str]:
    """A new file beside ``path``, held by this process until its handle is closed: its handle and its name."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED)
        if not _hold(handle) or os.fstat(handle).st_nlink:  # else it was swept up before it was held
            return handle, name
        os.close(handle)


def _hold(handle: int) -> bool:
    """Whether this process alone holds the file from now on; false too where the file system has no locks."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def sweep_up(folder: Path, pattern: str = "*") -> list[Path]:
    """Removes files of this folder that a process began to write and died over; returns which.

    Args:
        folder: looked at without its sub-folders. pattern: of the names that the files were to get.
    """
    gone = []
    with contextlib.suppress(OSError):
        for path in folder.glob(f".{pattern}.????????{UNFINISHED}"):
            with contextlib.suppress(OSError):
                handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    if _hold(handle):  # nobody writes it
                        path.unlink()
                        gone.append(path)
                finally:
                    os.close(handle)
    return gone


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Holds a lock file: one process at a time. The system releases it when its holder dies, however it dies.

    Args:
        path: of the lock file, made where it is absent and never removed (removing it would let two in).
        waiting: called once, where another process holds it.

    Raises:
        StorageError: the file cannot be made, or the file system has no locks.
    """
    handle = take(path)
    try:
        if handle is None:
            if waiting is not None:
                waiting()
            handle = take(path, wait=True)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def take(path: Path, wait: bool = False) -> int | None:
    """A lock file's handle, held until it is closed; None where another process holds it and ``wait`` is false.

    Raises:
        StorageError: see :func:`locked`.
    """
    import fcntl  # not on every system, and most of this file needs no locks

    handle = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        held, handle = handle, None
        return held
    except BlockingIOError:
        return None
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}. Give a folder that can be written and has locks.") from None
    finally:
        if handle is not None:
            os.close(handle)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        StorageError: no such file. FileFormatError: truncated, not JSON, not an object.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise StorageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}.") from None
    return json_object(path, decode(path, content))


def key_of(*parts: Any) -> str:
    """A name for content determined by ``parts`` (JSON-able or bytes): 24 hex digits of SHA-256."""
    digest = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True, default=str).encode()
        digest.update(f"{'bytes' if isinstance(part, bytes) else 'json'} {len(content)} ".encode())  # so that parts cannot run together
        digest.update(content)
    return digest.hexdigest()[:24]


def bytes_of(tensor: Tensor) -> bytes:
    """The numbers of a tensor of any type, bfloat16 and complex among them, in their order."""
    import torch  # heavy, and most of this file needs none

    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def cache_folder() -> Path:
    """``$HWDSE_CACHE``, else ``$XDG_CACHE_HOME/hwdse``, else ``~/.cache/hwdse``."""
    own = os.environ.get("HWDSE_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hwdse"


def tables_to_bytes(tables: Mapping[str, CostTable]) -> bytes:
    """Cost tables as an ``.npz`` archive without pickles; the inverse of :func:`tables_from_bytes`."""
    arrays: dict[str, Any] = {}
    heads = []
    for number, (name, table) in enumerate(tables.items()):
        metric = table.metric
        heads.append(
            {
                "name": name,
                "metric": [metric.name, metric.unit, metric.better, metric.on],
                "layers": table.layers,
                "options": [str(o) for o in table.options],
                "convention": table.convention,
                "notes": table.notes,
                "row_names": table.row_names,
                "edges": table.edges is not None,
                "errors": table.errors is not None,
                "fixed_errors": table.fixed_errors is not None,
                "whole_error": table.whole_error,
            }
        )
        for part in ("cells", "row", "layer", "fixed", "sources"):
            arrays[f"{number}.{part}"] = getattr(table, part)
        if table.errors is not None:
            arrays[f"{number}.errors"] = table.errors
        if table.fixed_errors is not None:
            arrays[f"{number}.fixed_errors"] = table.fixed_errors
        if table.edges is not None:
            arrays.update({f"{number}.edges.{part}": value for part, value in vars(table.edges).items()})
    buffer = io.BytesIO()
    np.savez_compressed(buffer, head=np.array(json.dumps({"schema": "hwdse.tables/1", "tables": heads})), **arrays)
    return buffer.getvalue()


def tables_from_bytes(data: bytes, file: object = "tables.npz") -> dict[str, CostTable]:
    """Reads :func:`tables_to_bytes`'s archive.

    Raises:
        FileFormatError: truncated, or another format.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            head = json.loads(str(archive["head"]))
            if head.get("schema") != "hwdse.tables/1":
                raise FileFormatError(file, f"must have schema 'hwdse.tables/1', got {head.get('schema')!r}.")
            found = {}
            for number, one in enumerate(head["tables"]):
                parts = {p: archive[f"{number}.{p}"] for p in ("cells", "row", "layer", "fixed", "sources")}
                if one.get("errors"):
                    parts["errors"] = archive[f"{number}.errors"]
                if one.get("fixed_errors"):
                    parts["fixed_errors"] = archive[f"{number}.fixed_errors"]
                if one.get("edges"):
                    parts["edges"] = Edges(*(archive[f"{number}.edges.{p}"] for p in ("ends", "row", "cells")))
                found[one["name"]] = CostTable(
                    Metric(*one["metric"]), tuple(one["layers"]), tuple(LayerFormat.parse(o) for o in one["options"]),
                    convention=one["convention"], notes=tuple(one["notes"]), row_names=tuple(one["row_names"]),
                    whole_error=one.get("whole_error"), **parts,
                )  # fmt: skip
            return found
    except FileFormatError:
        raise
    except _DAMAGE as error:
        raise FileFormatError(file, f"is truncated or not a table archive ({type(error).__name__}).") from None


def read_checkpoint(data: bytes, file: object = "checkpoint") -> dict[str, Any]:
    """Tensors and plain values from :func:`torch.save`'s format; never runs code.

    Raises:
        FileFormatError: truncated, or not a checkpoint.
    """
    import torch

    try:
        state = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises many kinds for a broken file
        raise FileFormatError(file, f"is truncated or not a checkpoint ({type(error).__name__}).") from None
    if not isinstance(state, dict):
        raise FileFormatError(file, f"must hold a state dict, got {type(state).__name__}.")
    return state
