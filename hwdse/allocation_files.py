"""Allocation files: read as a user gives them, and of a run folder only where they say what the record says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import FileFormatError, UsageError
from .formats import Allocation
from .reading import decode, read_text
from .records import TrialResult
from .run_files import read_held, read_own

TOLD = ("number", "knobs", "measures", "slack", "samples", "notes")  # of a trial, in its file


def allocation_path(run: Path, trial: TrialResult) -> Path:
    """Where a run keeps the allocation of a trial."""
    return run / "allocations" / f"{trial.number}.json"


def allocation_file(run: Path, trial: TrialResult) -> tuple[bytes, Mapping[str, Any]]:
    """The allocation file of a trial, its content and what it says; made from the record where the run folder has none.

    Raises:
        UsageError: a trial without widths. StorageError: a file that cannot be read.
        FileFormatError: no allocation file, or one with other widths than the trial on record.
    """
    if trial.allocation is None:
        raise UsageError(f"trial {trial.number} has no allocation: it {trial.state}.")
    path, made = allocation_path(run, trial), remade(trial)
    try:
        content = read_own(run, f"allocations/{trial.number}.json")
        if content != made:
            content = read_held(run, f"allocations/{trial.number}.json", trial.files)
    except FileNotFoundError:
        content = made
    found = Allocation.from_json(decode(path, content), path)
    if found != trial.allocation:
        raise FileFormatError(
            path, f"{_differs(found, trial)}. The file was changed, or is of another run: delete it, the record has the widths."
        )
    return content, json.loads(content)


def remade(trial: TrialResult) -> bytes:
    """What the allocation file of a trial holds where it is made from the record alone."""
    said = {key: value for key, value in trial.to_dict().items() if key in TOLD}
    return (trial.allocation or Allocation({})).to_json(**said).encode()


def read_allocation(path: Path) -> tuple[Allocation, Mapping[str, Any]]:
    """The widths in a file of schema ``hwdse.allocation/2``, and all that it says.

    Raises:
        FileFormatError: it cannot be read, or is no such file.
    """
    text = read_text(path)
    return Allocation.from_json(text, path), json.loads(text)


def replaceable(path: Path) -> None:
    """Says before an allocation is written that something else would be lost by it.

    Raises:
        UsageError: a file that is no allocation file.
    """
    if not path.is_file():
        return
    try:
        read_allocation(path)
    except FileFormatError:
        raise UsageError(f"{path} exists and is no allocation file, so it is not replaced; give another name with -o.") from None


def _differs(found: Allocation, trial: TrialResult) -> str:
    assert trial.allocation is not None  # checked before
    record = trial.allocation
    wrong = [name for name in (*record, *(n for n in found if n not in record)) if found.get(name) != record.get(name)]
    first = f"{wrong[0]} is {found.get(wrong[0], 'absent')}, on record {record.get(wrong[0], 'absent')}"
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return f"must have the widths of trial {trial.number} on record, got others: {first}{more}"
