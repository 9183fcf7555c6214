"""ZigZag: ``LAYER_complete.json``, one layer a file: cycles in three parts, energy in pJ, loops and widths of the layer.

Time is the sum of loading the first data, computing (with its stalls) and storing the last. ``overall_simple.json`` has only the totals of
the network, which cannot be divided among its layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import FileFormatError
from ...formats import LayerFormat
from .facts import Facts
from .profile import Profile, ProfileRow
from .reading import cost_of, count_of, json_of, need_files, number_of

_PARTS = ("data_onloading", "computation", "data_offloading")


def read(files: Sequence[Path]) -> Profile:
    """The profile, a row a file.

    Raises:
        FileFormatError: totals of a network, or no output of ZigZag; the key that is missing or wrong.
    """
    need_files("ZigZag", files)
    about = "onloading + computation + offloading, energy_total"
    return Profile("ZigZag", "simulated", tuple(files), tuple(_row(path) for path in files), about, only_layers=True)


def _row(path: Path) -> ProfileRow:
    data = json_of(path)
    if isinstance(data, dict) and "outputs" not in data and {"energy", "latency"} <= set(data):
        raise FileFormatError(path, "has totals only, maybe of the whole network; give the LAYER_complete.json of each layer.")
    if not isinstance(data, dict):
        raise FileFormatError(path, f"must be an object with inputs and outputs, got {type(data).__name__}; give LAYER_complete.json.")
    latency, energy = _table(path, data, "outputs", "latency"), _table(path, data, "outputs", "energy")
    layer = _table(path, data, "inputs", "layer")
    cycles = 0.0
    for part in _PARTS:
        value = number_of(path, latency.get(part), f"key 'outputs.latency.{part}'")
        if value is None:
            raise FileFormatError(path, "is missing; another version of ZigZag?", f"key 'outputs.latency.{part}'")
        cycles += value
    if not math.isfinite(cycles):
        raise FileFormatError(path, "must be a number of cycles.", "key 'outputs.latency'")
    picojoules = cost_of(path, energy.get("energy_total"), "key 'outputs.energy.energy_total'")
    joules = None if picojoules is None else picojoules * 1e-12
    if joules == 0:
        raise FileFormatError(path, f"is too small to be an energy: {picojoules} pJ.", "key 'outputs.energy.energy_total'")
    name = layer.get("name")
    if not isinstance(name, str) or not name:
        raise FileFormatError(path, f"must be the layer's name, got {str(name)[:40]}.", "key 'inputs.layer.name'")
    return ProfileRow(
        name, path.name, (name,), str(layer.get("type") or ""), cycles=cycles or None, joules=joules, facts=_facts(path, layer),
        widths=_widths(layer), lacks="" if cycles else "0 cycles",
    )  # fmt: skip


def _table(path: Path, data: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    found: Any = data
    for i, key in enumerate(keys):
        found = found.get(key) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            where = ".".join(keys[: i + 1])
            raise FileFormatError(path, "is missing, or no object; give LAYER_complete.json of ZigZag 3.", f"key '{where}'")
    return found  # type: ignore[no-any-return]  # checked above


def _facts(path: Path, layer: Mapping[str, Any]) -> Facts:
    """From the loops: B batch, G groups, K and C channels, OY, OX rows and columns of the output, FY, FX of the kernel."""
    loops = layer.get("loop_dimensions")
    if not isinstance(loops, dict) or not loops:
        return Facts()
    extents = {str(key).upper(): count_of(path, size, f"key 'inputs.layer.loop_dimensions.{key}'") for key, size in loops.items()}
    if None in extents.values():
        raise FileFormatError(path, "must have extents above 0.", "key 'inputs.layer.loop_dimensions'")
    sizes = {key: size or 1 for key, size in extents.items()}
    macs = math.prod(sizes.values())
    if {"K", "C", "FY", "FX"} <= set(sizes):
        weights = math.prod(sizes.get(key, 1) for key in ("G", "K", "C", "FY", "FX"))
        kernel = (sizes["FY"], sizes["FX"])
        return Facts(macs=macs, weights=weights, kernel=kernel)
    return Facts(macs=macs)


def _widths(layer: Mapping[str, Any]) -> LayerFormat | None:
    widths = layer.get("operand_precision")
    if not isinstance(widths, dict):
        return None
    w, a = widths.get("W"), widths.get("I")
    whole = isinstance(w, int) and isinstance(a, int) and 1 <= w <= 32 and 1 <= a <= 32
    return LayerFormat.of(int(w), int(a)) if whole and w is not None and a is not None else None
