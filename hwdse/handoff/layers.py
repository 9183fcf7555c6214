"""What the hand-off says of every layer: widths, levels, scales, how they are stored; and which layers stay in floating point."""

from __future__ import annotations

from typing import Any

from ..bits import FLOAT_BITS
from ..errors import UsageError
from ..quantized import QuantizedModel
from .levels import Grid, Thresholds, input_of, weight_of


def layers_text(model: QuantizedModel) -> list[dict[str, Any]]:
    """One entry per layer, in execution order."""
    known: dict[str, tuple[Any, Any]] = {}
    rows = []
    for layer in model.layers:
        path = model.module[layer]
        if path not in known:
            weight, bits = model.weights[path], model.input_bits.get(path, FLOAT_BITS)
            known[path] = (
                _weight(model, path) if weight.bits < FLOAT_BITS else None,
                _input(model, path, bits) if bits < FLOAT_BITS else None,
            )
        rows.append({"layer": layer, "module": path, "weight": known[path][0], "input": known[path][1]})
    return rows


def _weight(model: QuantizedModel, path: str) -> dict[str, Any]:
    bits = model.weights[path].bits
    try:
        found = weight_of(model.weights[path].quantizer, model.original(path), bits, path)
    except UsageError as error:
        return {"bits": bits, "levels": f"unknown: {error}"}
    if found.table is not None:
        table = "no integers" if found.grid is None else f"integers of {found.grid.bits} bits with one scale"
        return {
            "bits": bits, "levels": f"codebook: indices of {bits} bits into {len(found.table)} levels, which are {table}",
            "stored_as": "indices in uint8, gathered" if bits <= 8 else "indices in uint16, gathered", "stored_wider": True,
            "codebook": found.table.tolist(),
        }  # fmt: skip
    assert found.grid is not None  # one of the two
    return {"bits": bits, **_grid(found.grid)}


def _input(model: QuantizedModel, path: str, bits: int) -> dict[str, Any]:
    try:
        found = input_of(model.inputs[path], bits, path)
    except UsageError as error:
        return {"bits": bits, "levels": f"unknown: {error}"}
    if isinstance(found, Thresholds):
        return {
            "bits": bits, "levels": "code * scale, the code being the number of thresholds below x / divisor", "stored_as": "uint8",
            "stored_wider": bits < 8, "scale": found.scale, "divisor": found.half, "thresholds": found.thresholds.tolist(),
        }  # fmt: skip
    return {"bits": bits, **_grid(found)}


def _grid(grid: Grid) -> dict[str, Any]:
    formula = "code * scale" + (" - offset" if grid.offset else "")
    said: dict[str, Any] = {
        "levels": f"{formula}, code from {grid.low} to {grid.high}", "stored_as": grid.kind, "stored_wider": grid.stored > grid.bits,
        "scale": grid.scale.tolist(),
    }  # fmt: skip
    if grid.scale.ndim:
        said["axis"] = grid.axis
    if grid.offset:
        said["offset"] = grid.offset
        said["offset_note"] = (
            "levels are odd multiples of half a step, without a zero: a device adds -offset times the sum of a layer's inputs"
        )
    return said


def floating_layers(model: QuantizedModel) -> list[dict[str, str]]:
    """What the file computes in floating point: counted layers without widths, and what was not counted."""
    products = [
        {"name": layer.name, "why": f"{layer.kind} of two activations, without a module whose input could take widths"}
        for layer in model.graph.layers
        if not layer.quantisable
    ]
    rest = [{"name": item.name, "why": item.reason} for item in model.graph.left_out]
    return [*products, *rest, {"name": "biases, norms, activation functions, sums of branches", "why": "they take no widths"}]
