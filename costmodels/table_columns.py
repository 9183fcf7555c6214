"""The columns of a look-up table, ``hwdse.table/1``, and the units that their names state."""

from __future__ import annotations

from collections.abc import Mapping

SCHEMA = "hwdse.table/1"
SHAPE = (
    "batch", "in_channels", "out_channels", "in_h", "in_w", "kernel_h", "kernel_w", "stride_h", "stride_w", "pad_h", "pad_w",
    "dilation_h", "dilation_w", "groups", "tokens", "length",
)  # fmt: skip
TEXT = ("op", "fused", "instance", "source")
WIDTHS = ("w_bits", "a_bits", "o_bits")
FORMATS = {"w_bits": "w_format", "a_bits": "a_format"}  # of an operand that is no plain integer
_TIME: Mapping[str, float | None] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "cycles": None}
_ENERGY = {"j": 1.0, "mj": 1e-3, "uj": 1e-6, "nj": 1e-9, "pj": 1e-12}
TIMES = {f"latency_{u}": f for u, f in _TIME.items()} | {"cycles": None}
SPREADS = {f"latency_std_{u}": f for u, f in _TIME.items()}
ENERGIES = {f"energy_{u}": f for u, f in _ENERGY.items()}
KNOWN = ("op", *SHAPE, "fused", *WIDTHS, *FORMATS.values(), "instance", *TIMES, *SPREADS, "runs", *ENERGIES, "source")
NEEDED = {
    **dict.fromkeys(("conv", "depthwise", "conv_transpose"), SHAPE[:7]),
    **dict.fromkeys(("attention", "recurrent"), (*SHAPE[:3], "length")),
}
LARGEST = 2**40
