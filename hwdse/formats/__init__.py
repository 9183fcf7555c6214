"""Number formats: what one operand of a layer is stored and multiplied in, and the allocation of them over a network."""

from .allocation import Allocation
from .definition import load_format
from .element import E2M1, E2M3, E3M2, E4M3, E5M2, MXINT8, Codebook, Element, Float, Integer, Values, contains
from .layer_format import LayerFormat, grid, listed, parse_options
from .number_format import EXAMPLES, FP32, NumberFormat, plain_integer
from .scaling import Scaling

FLOAT_BITS = FP32.bits

__all__ = [
    "E2M1", "E2M3", "E3M2", "E4M3", "E5M2", "EXAMPLES", "FLOAT_BITS", "FP32", "MXINT8", "Allocation", "Codebook", "Element", "Float",
    "Integer", "LayerFormat", "NumberFormat", "Scaling", "Values", "contains", "grid", "listed", "load_format", "parse_options",
    "plain_integer",
]  # fmt: skip
