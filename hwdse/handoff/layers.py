"""What the hand-off says of every layer: widths, levels, scales, how they are stored; and which layers stay in floating point."""

from __future__ import annotations

from typing import Any

from ..errors import UsageError
from ..formats import FP32, NumberFormat
from ..quantized import QuantizedModel
from ..quantizers.levels import Grid, Thresholds
from .levels import input_of, weight_of


def layers_text(model: QuantizedModel) -> list[dict[str, Any]]:
    """One entry per layer, in execution order."""
    known: dict[str, tuple[Any, Any]] = {}
    rows = []
    for layer in model.layers:
        path = model.module[layer]
        if path not in known:
            weight, number = model.weights[path], model.input_formats.get(path, FP32)
            known[path] = (
                None if weight.format.floating else _weight(model, path),
                None if number.floating else _input(model, path, number),
            )
        rows.append({"layer": layer, "module": path, "weight": known[path][0], "input": known[path][1]})
    return rows


def _weight(model: QuantizedModel, path: str) -> dict[str, Any]:
    number = model.weights[path].format
    bits, said = number.bits, {"format": str(number), "bits": number.bits}
    try:
        found = weight_of(model.weights[path].quantizer, model.original(path), number, path)
    except UsageError as error:
        return {**said, "levels": f"unknown: {error}"}
    if found.table is not None:
        table = "no integers" if found.grid is None else f"integers of {found.grid.bits} bits with one scale"
        return {
            **said, "levels": f"codebook: indices of {bits} bits into {len(found.table)} levels, which are {table}",
            "stored_as": "indices in uint8, gathered" if bits <= 8 else "indices in uint16, gathered", "stored_wider": True,
            "codebook": found.table.tolist(),
        }  # fmt: skip
    assert found.grid is not None  # one of the two
    return {**said, **_grid(found.grid)}


def _input(model: QuantizedModel, path: str, number: NumberFormat) -> dict[str, Any]:
    bits, said = number.bits, {"format": str(number), "bits": number.bits}
    try:
        found = input_of(model.inputs[path], number, path)
    except UsageError as error:
        return {**said, "levels": f"unknown: {error}"}
    if isinstance(found, Thresholds):
        return {
            **said, "levels": "code * scale, the code being the number of thresholds below x / divisor", "stored_as": "uint8",
            "stored_wider": bits < 8, "scale": found.scale, "divisor": found.half, "thresholds": found.thresholds.tolist(),
        }  # fmt: skip
    return {**said, **_grid(found)}


def _grid(grid: Grid) -> dict[str, Any]:
    formula = ("(code - zero_point) * scale" if grid.zero else "code * scale") + (" - offset" if grid.offset else "")
    said: dict[str, Any] = {
        "levels": f"{formula}, code from {grid.low} to {grid.high}", "stored_as": grid.kind, "stored_wider": grid.stored > grid.bits,
        "scale": grid.scale.tolist(),
    }  # fmt: skip
    if grid.zero:
        said["zero_point"] = grid.zero
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
