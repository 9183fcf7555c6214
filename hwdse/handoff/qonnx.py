"""QONNX: ``Quant`` nodes of the domain ``qonnx.custom_op.general``, which have a number of bits and so take every width.

``Quant(x, scale, zeropt, bits) = (clip(round(x / scale + zeropt), low, high) - zeropt) scale``, ``low`` and ``high`` by the attributes
``signed`` and ``narrow``, rounding half to even. Pappalardo et al., "QONNX: Representing Arbitrary-Precision Quantized Neural Networks",
arXiv 2206.07527.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..quantizers.levels import Grid, Thresholds
from .levels import Weight
from .lowering import Writer, lowered, table_nodes, threshold_nodes
from .marking import Marked

if TYPE_CHECKING:
    from onnx import ModelProto

QUANT_DOMAIN = "qonnx.custom_op.general"
OPSET = 18  # what the exporter writes without converting; QONNX's tools trail the newest


def to_qonnx(marked: Marked) -> ModelProto:
    """The QONNX model."""
    return lowered(marked, _write, [(QUANT_DOMAIN, 1)]).model


def _write(to: Writer, levels: Weight | Grid | Thresholds) -> None:
    if isinstance(levels, Thresholds):
        threshold_nodes(to, levels)
    elif isinstance(levels, Grid):
        assert to.x is not None  # an input is no constant
        _quant(to, to.x, levels, 0)
    elif levels.table is not None:
        table_nodes(to, levels)
    else:
        assert levels.grid is not None  # a weight has one of the two
        _quant(to, to.constant("values", levels.values), levels.grid, levels.values.ndim)


def _quant(to: Writer, x: str, grid: Grid, ndim: int) -> None:
    scale = to.constant("scale", grid.spread(ndim))
    zero = (2**grid.bits - 1) / 2 if grid.offset else float(grid.zero)
    inputs = [x, scale, to.constant("zero", np.float32(zero)), to.constant("bits", np.float32(grid.bits))]
    narrow = int(grid.signed and grid.low == -grid.high)
    to.node("Quant", inputs, to.y, QUANT_DOMAIN, signed=int(grid.signed), narrow=narrow, rounding_mode="ROUND")


def with_function(model: ModelProto) -> ModelProto:
    """A copy in which ``Quant`` is a function of standard nodes, so that any runtime evaluates it."""
    import onnx
    from onnx import parser

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    opset = next(o.version for o in model.opset_import if o.domain == "")
    text = f'<domain: "{QUANT_DOMAIN}", opset_import: ["" : {opset}]>\n{_FUNCTION}'
    copy.functions.append(parser.parse_function(text))
    return copy


_FUNCTION = """
Quant <signed, narrow, rounding_mode> (x, scale, zeropt, bits) => (y)
{
    one = Constant <value_float = 1.0> ()
    two = Constant <value_float = 2.0> ()
    s_int = Constant <value_int = @signed> ()
    n_int = Constant <value_int = @narrow> ()
    s = Cast <to = 1> (s_int)
    n = Cast <to = 1> (n_int)
    magnitude = Sub (bits, s)
    levels = Pow (two, magnitude)
    high = Sub (levels, one)
    all_negative = Mul (levels, s)
    below = Sub (all_negative, n)
    low = Neg (below)
    divided = Div (x, scale)
    shifted = Add (divided, zeropt)
    rounded = Round (shifted)
    floor_ = Max (rounded, low)
    clipped = Min (floor_, high)
    back = Sub (clipped, zeropt)
    y = Mul (back, scale)
}
"""
