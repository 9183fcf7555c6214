"""Accelerators that do not exist yet: one file with some of its keys changed."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import FileFormatError, UsageError
from ..reading import toml_table
from .accelerator import Accelerator
from .accelerator_file import checked
from .keys_read import FOR_THE_READER, depends, keys_read
from .loading import contradictions

UNMEASURED = {"storage", "energy", "overheads", "conversion", "calibration"}  # sections that no row of a table depends on
_PART = re.compile(r"([\w\-:]+)(?:\[(\d+|[A-Za-z]\w*)\])?")


def parse_vary(text: str) -> tuple[str, list[Any]]:
    """``"compute.macs_per_s.w2a2=8e12;16e12"``: the key and its values, each as TOML writes it, apart by semicolons.

    Raises:
        UsageError: not of this form.
    """
    key, sign, values = text.partition("=")
    if not sign or not key.strip() or not values.strip():
        raise UsageError(
            f"'{text}' names no values; write for example --vary 'precision.weights=[4, 8];[2, 4, 8]' or --vary 'clock.hz=5e8;1e9'."
        )
    found = []
    for value in values.split(";"):
        try:
            found.append(_value(value.strip()))
        except FileFormatError:
            raise UsageError(
                f"'{value.strip()}' in '{text}' is no TOML value; write numbers as 1e9, lists as [2, 4], texts in quotes."
            ) from None
    return key.strip(), found


def _value(text: str) -> Any:
    found = toml_table("--vary", f"value = {text}")
    if list(found) != ["value"]:  # a line end in it began another key
        raise FileFormatError("--vary", "is more than one value.")
    return found["value"]


def variants(base: Accelerator, varied: Mapping[str, Sequence[Any]]) -> list[tuple[Accelerator, dict[str, Any]]]:
    """Every combination of the values, each an accelerator named ``base-1``, ``base-2`` ..., with what was changed.

    Keys are dotted as in error messages; a level of memory by its name or number: ``memory[dram].bytes_per_s``. Look-up tables stay with a
    variant only where nothing was changed that they were measured under; measured energies go where those of arithmetic or memory change.

    Raises:
        UsageError: a key that the file does not have a place for, or that no cost depends on.
        FileFormatError: values that make no valid file.
    """
    plain = base.keys.model_dump(mode="json", by_alias=True, exclude_none=True)
    found, read, places = [], frozenset[str](), dict[str, str]()
    for number, values in enumerate(itertools.product(*varied.values()), 1):
        changed = dict(zip(varied, values, strict=True))
        if "name" in changed or "schema" in changed:
            raise UsageError("variants are named after the file they come from; vary another key than its name or schema.")
        data = json.loads(json.dumps(plain))
        data["name"] = f"{base.name}-{number}"
        for key, value in changed.items():
            places[key] = _set(data, key, value)
        said = ", ".join(f"{key} = {value}" for key, value in changed.items())
        data["provenance"]["notes"] = [*data["provenance"].get("notes", []), f"a variant of {base.name} that nobody built: {said}."]
        if not {key.partition(".")[0] for key in changed} <= {"storage", "energy"}:
            data.get("calibration", {}).pop("error", None)  # it was found on another device
        keys = checked(data, f"{base.file} with {said}")
        parts = {key.partition(".")[0].partition("[")[0] for key in changed}
        measured = base.rows if parts <= UNMEASURED else ()
        if parts & {"energy"}:
            measured = tuple(row._replace(joules=None) for row in measured if row.seconds is not None)
        variant = replace(base, name=keys.name, keys=keys, rows=measured)
        if wrong := contradictions(variant):
            raise UsageError(f"with {said}: {wrong[0]}")
        read |= keys_read(variant)
        found.append((variant, changed))
    for key, place in places.items():
        if place.startswith(FOR_THE_READER) or not depends(read, place):
            raise UsageError(f"'{key}' has no effect: no cost of {base.name} depends on it, so that all its variants are alike.")
    return found


def _set(data: dict[str, Any], key: str, value: Any) -> str:
    """Changes a key; gives it back with levels of memory by their number."""
    place: Any = data
    numbered: list[str] = []
    parts = key.split(".")
    for depth, part in enumerate(parts):
        match = _PART.fullmatch(part)
        if match is None:
            raise UsageError(f"'{key}' is no key; write names apart by dots, memory[dram].bytes_per_s for one of several.")
        name, index = match.groups()
        if depth == len(parts) - 1 and index is None:
            place[name] = value
            return ".".join([*numbered, name])
        if name not in place:
            raise UsageError(f"'{key}': the file has no '{'.'.join(parts[: depth + 1])}'. It has: {', '.join(sorted(place))}.")
        place = place[name]
        if index is not None:
            known = {str(one.get("name", i + 1)): one for i, one in enumerate(place)} | {str(i + 1): one for i, one in enumerate(place)}
            if index not in known:
                raise UsageError(f"'{key}': there is no {name}[{index}]; there are {', '.join(known)}.")
            at, place = place, known[index]
            name += f"[{1 + next(i for i, one in enumerate(at) if one is place)}]"
        numbered.append(name)
        if not isinstance(place, dict):
            raise UsageError(f"'{key}': '{part}' has no keys inside; give {'.'.join(parts[: depth + 1])} a value.")
    raise UsageError(f"'{key}': '{parts[-1]}' is one of several; vary a key inside it, such as {key}.bytes_per_s.")
