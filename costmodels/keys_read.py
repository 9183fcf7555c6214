"""Which keys of an accelerator's file any of its costs depends on: those that are looked at while its cost models are made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from .accelerator import Accelerator

if TYPE_CHECKING:
    from .accelerator_format import AcceleratorKeys

FOR_THE_READER = ("schema", "name", "description", "provenance", "calibration.note", "calibration.networks")


class _Observed:
    """Keys that write down which of their values are looked at."""

    def __init__(self, keys: Any, path: str, read: set[str]) -> None:
        self._keys, self._path, self._read = keys, path, read

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._keys, name)
        if not hasattr(type(self._keys), "model_fields") or name not in type(self._keys).model_fields:
            return value
        path = f"{self._path}.{name}".lstrip(".")
        if _is_keys(value):
            return _Observed(value, path, self._read)
        if isinstance(value, list) and value and all(map(_is_keys, value)):
            return [_Observed(one, f"{path}[{i}]", self._read) for i, one in enumerate(value, 1)]
        self._read.add(path)
        return value


def keys_read(accelerator: Accelerator) -> frozenset[str]:
    """Dotted keys, levels of memory by their number: ``memory[1].bytes_per_s``. A table of rates is one key."""
    read: set[str] = {"clock.hz", "table"} if accelerator.keys.table else set()  # tables in cycles were read with the clock
    observed = cast("AcceleratorKeys", _Observed(accelerator.keys, "", read))
    replace(accelerator, keys=observed).cost_models()
    return frozenset(read)


def without_effect(accelerator: Accelerator) -> tuple[str, ...]:
    """Keys that the file states and no cost depends on, levels of memory by name: ``memory[dram].bytes``."""
    read = keys_read(accelerator)
    stated = [key for key in _stated(accelerator.keys, "") if not key.startswith(FOR_THE_READER) and not depends(read, key)]
    names = {f"memory[{i}]": f"memory[{level.name}]" for i, level in enumerate(accelerator.keys.memory, 1)}
    return tuple(names.get(head, head) + dot + rest for head, dot, rest in (key.partition(".") for key in stated))


def depends(read: frozenset[str], key: str) -> bool:
    """Whether a cost depends on a key, on something inside it, or on the table that it stands in."""
    return any(one == key or one.startswith((f"{key}.", f"{key}[")) or key.startswith((f"{one}.", f"{one}[")) for one in read)


def _stated(keys: Any, path: str) -> Iterator[str]:
    """Those that a file writes; defaults are not."""
    for name in sorted(keys.model_fields_set):
        value, here = getattr(keys, name), f"{path}.{name}".lstrip(".")
        if value is None or name == "schema_":
            continue
        if _is_keys(value):
            yield from _stated(value, here)
        elif isinstance(value, list) and value and all(map(_is_keys, value)):
            for i, one in enumerate(value, 1):
                yield from _stated(one, f"{here}[{i}]")
        else:
            yield here


def _is_keys(value: Any) -> bool:
    return hasattr(type(value), "model_fields")
