"""The files of a run folder: its own and no others, never through a link, each the file that was written."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from .checksums import digest
from .errors import FileFormatError, UsageError
from .storage import StorageError, sweep_up, take, write

FOLDERS = ("allocations", "checkpoints", "scores", "tables", "figures", "workers", "logs")
FILES = (
    "record.json", "study.db", "log.jsonl", "tables.npz", "trials.csv", "front.csv", "budgets.csv", "budgets.tex", "fronts.tex",
    "report.html", "report.sha256",
)  # fmt: skip
REPAIR = "hwdse repair {} says what can be made again, and makes it."


def refuse_links(run: Path, names: Iterable[str] = (*FOLDERS, *FILES)) -> None:
    """A run writes to and reads from its own folder alone.

    Raises:
        UsageError: one of its files or folders is a symbolic link.
    """
    for name in names:
        if os.path.islink(run / name):
            raise UsageError(
                f"{run / name} is a symbolic link, and what stands behind it may be someone else's: a run's own files and folders are "
                "never links. Put the file or folder itself there; to keep a run elsewhere, link the run folder as a whole."
            )


def read_own(run: Path, name: str) -> bytes:
    """The content of one of a run's own files.

    Args:
        run: the run folder. name: of the file in it, ``"scores/3.npy"``.

    Raises:
        FileNotFoundError: there is none. StorageError: it cannot be read. UsageError: a name that leads out of the run, or a link.
    """
    path, parts = run / name, PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\0" in name:
        raise UsageError(f"'{name}' is no file of the run {run}: it leads out of it.")
    refuse_links(run, ("/".join(parts[: i + 1]) for i in range(len(parts))))
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "it is no file")
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}.") from None


def read_held(run: Path, name: str, files: Mapping[str, str]) -> bytes:
    """The same, held against the checksum on record; where that has none (a run of an earlier version), as it is.

    Args:
        files: name -> SHA-256 of what was written, empty where that is not known; see :attr:`~hwdse.records.TrialResult.files`.

    Raises:
        FileFormatError: another content than was written.
    """
    content = read_own(run, name)
    if files.get(name) and digest(content) != files[name]:
        raise FileFormatError(run / name, f"was changed since it was written: its SHA-256 is not the one on record. {REPAIR.format(run)}")
    return content


def keep_files(run: Path, contents: Mapping[str, bytes], own: Mapping[str, str]) -> list[Path]:
    """Writes files of a run that are not there, or are not as they shall be.

    Args:
        contents: name -> content. own: name -> checksum of the files that the record lists, empty where it is not known: those alone may be
            replaced.

    Returns:
        The files that were not as they had been written.

    Raises:
        UsageError: a link, or a file that the record does not list. StorageError: the folder cannot be written.
    """
    replaced = []
    for name, content in contents.items():
        try:
            there: bytes | None = read_own(run, name)
        except FileNotFoundError:
            there = None
        if there == content:
            continue
        if there is not None and name not in own:
            raise UsageError(f"{run / name} is no file of this run, and would be replaced; move it away, or give another run folder.")
        write(run / name, content)
        if there is not None and own[name] and digest(there) != own[name]:
            replaced.append(run / name)
    return replaced


def sweep_up_run(run: Path) -> list[Path]:
    """Removes what killed processes left of a run: files that they were writing, and their locks. Called under the study's lock.

    Returns:
        The files that were being written.
    """
    gone = [path for folder in (run, *(run / name for name in FOLDERS)) if not folder.is_symlink() for path in sweep_up(folder)]
    for path in (run / "workers").glob("*.lock"):
        if path.name in ("study.lock", "record.lock") or path.is_symlink():
            continue
        handle = take(path)
        if handle is not None:  # its holder has died
            path.unlink(missing_ok=True)
            os.close(handle)
    return gone
