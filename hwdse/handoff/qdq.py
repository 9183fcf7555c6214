"""QDQ: QuantizeLinear and DequantizeLinear around what integers compute, in the narrowest integer type that ONNX has for a width.

INT4 and UINT4 are in opset 21, INT2 and UINT2 in opset 25; the lowest opset that has the types is used. Widths between the types are
stored in the next wider one, and inputs clipped to the narrower range first: the same values, but not the memory of the narrow width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..quantizers.levels import Grid, Thresholds
from .levels import Weight
from .lowering import Lowered, Writer, lowered, table_nodes, threshold_nodes
from .marking import Mark, Marked

if TYPE_CHECKING:
    from onnx import ModelProto

WITH_INT4, WITH_INT2 = 21, 25


def opset_of(marks: tuple[Mark, ...]) -> int:
    """The lowest opset that has the integer types of all levels."""
    grids = [m.levels if isinstance(m.levels, Grid) else m.levels.grid for m in marks if not isinstance(m.levels, Thresholds)]
    return WITH_INT2 if any(g is not None and g.stored == 2 for g in grids) else WITH_INT4


def to_qdq(marked: Marked) -> tuple[ModelProto, list[tuple[Mark, str, str]]]:
    """The QDQ model, and of every quantised input (mark, name before, name after)."""
    made = lowered(marked, _write)
    _keep_matmuls(made.model)
    _keep_apart(made)
    return made.model, made.inputs


def _keep_matmuls(model: ModelProto) -> None:
    """Biases behind a MatMul as (1, 1, C): the same sum, but ONNX Runtime 1.31 makes a Reshape and a Gemm of a (C,) one.

    It then moves the integers through that Reshape, with the type of unsigned ones, and refuses the graph.
    """
    import onnx

    products = {node.output[0] for node in model.graph.node if node.op_type == "MatMul"}
    flat = {c.name: c for c in model.graph.initializer if len(c.dims) == 1}
    made = {}
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if node.op_type == "Add" and products & set(node.input) and name in flat:
                made[name] = node.input[i] = f"{name}.row"
    for name, row in made.items():
        copy = onnx.TensorProto()
        copy.CopyFrom(flat[name])
        copy.name, copy.dims[:] = row, [1, 1, *copy.dims]
        model.graph.initializer.append(copy)
    read = {name for node in model.graph.node for name in node.input}
    kept = [c for c in model.graph.initializer if c.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _keep_apart(made: Lowered) -> None:
    """A Min that changes nothing between a weight and its MatMul where either factor has two bits.

    Of two bits ONNX Runtime 1.31 makes a product that it has no kernel for. It stands at the weight, since of a weight of four bits beside
    an input that comes out of no DequantizeLinear the runtime makes a product that rounds the input once more.
    """
    from onnx import helper, numpy_helper

    model = made.model
    narrow = {name for name, mark in made.tensors.items() if opset_of((mark,)) == WITH_INT2}
    weights = {name for name, mark in made.tensors.items() if isinstance(mark.levels, Weight)}
    nodes = list(model.graph.node)
    apart: list[str] = []
    for place, node in reversed(list(enumerate(nodes))):
        if node.op_type != "MatMul" or not narrow & set(node.input):
            continue
        for i, name in enumerate(node.input):
            if name in weights:
                apart.append(f"{name}.apart.{len(apart)}")
                nodes.insert(place, helper.make_node("Min", [name, "largest"], apart[-1:], name=f"{apart[-1]}/Min"))
                node.input[i] = apart[-1]
    if apart:
        model.graph.initializer.append(numpy_helper.from_array(np.array(np.finfo(np.float32).max, np.float32), "largest"))
        del model.graph.node[:]
        model.graph.node.extend(nodes)


def _write(to: Writer, levels: Weight | Grid | Thresholds) -> None:
    if isinstance(levels, Thresholds):
        threshold_nodes(to, levels)
    elif isinstance(levels, Grid):
        _quantise(to, levels)
    elif levels.table is not None:
        table_nodes(to, levels)
    else:
        assert levels.grid is not None  # a weight has one of the two
        grid = levels.grid
        # the zero point is spelled out: without it, runtimes have taken signed codes for unsigned ones
        zero = to.constant("zero", np.full(grid.scale.shape, grid.zero), grid.kind)
        inputs = [to.constant("codes", levels.codes, grid.kind), to.constant("scale", grid.scale), zero]
        more: dict[str, Any] = {"axis": grid.axis} if grid.scale.ndim else {}
        if not grid.offset:
            to.node("DequantizeLinear", inputs, to.y, **more)
            return
        steps = to.node("DequantizeLinear", inputs, f"{to.name}.steps", **more)
        to.node("Sub", [steps, to.constant("offset", np.float32(grid.offset))], to.y)


def _quantise(to: Writer, grid: Grid) -> None:
    assert to.x is not None  # an input is no constant
    x = to.x
    scale, zero = to.constant("scale", grid.scale), to.constant("zero", grid.zero, grid.kind)
    # Max and Min, not Clip: ONNX Runtime 1.31 fails on a Clip before a QuantizeLinear of four bits. Two bits have them although they change
    # nothing: else it moves the QuantizeLinear ahead of a Reshape, which it then cannot run on two bits.
    lowest, highest = grid.ends if grid.stored > 2 else (grid.low - 1, grid.high + 1)
    if grid.low > lowest:
        x = to.node("Max", [x, to.constant("low", np.float32((grid.low - grid.zero) * grid.scale))])
    if grid.high < highest:
        x = to.node("Min", [x, to.constant("high", np.float32((grid.high - grid.zero) * grid.scale))])
    codes = to.node("QuantizeLinear", [x, scale, zero], f"{to.name}.codes")
    to.node("DequantizeLinear", [codes, scale, zero], to.y)
