"""The fastest way through a convolution in tiles, over loop orders and power-of-two tiles, with double-buffered memories.

Five loops go over tiles: batch, output columns, output rows, input channels, output channels. A tile of each tensor must fit half its
buffer (the other half is being filled). From the innermost loop outwards, the traffic of a tensor is multiplied by the tiles of
each loop that it depends on; from where it no longer fits, by those of every loop. Partial sums are read and written.

    cycles = compute + max(0, ceil((traffic - first fill - last drain) / bw) - compute) + ceil(first fill / bw) + ceil(last drain / bw)

Sizes of a tile in bits, with n the inputs that the array sums at once and m the outputs it makes:

    weights  ceil(kh kw ic / n) · n · oc · w
    inputs   (kw + (ow-1) sw) · (kh + (oh-1) sh) · ic · b · a      or unrolled, ow · oh · kh · kw · ic · b · a
    outputs  ow · oh · ceil(oc / m) · m · b · sum bits

Reference: the simulator of Bit Fusion (Sharma et al., ISCA 2018), whose rules these are, for ungrouped convolutions with square outputs.
A grouped convolution (ours) reads the channels of the groups that a tile of outputs touches.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...costs import FloatArray
from ..signature import OpWork

# Loops, innermost first: 0 batch, 1 column, 2 row, 3 input channels, 4 output channels. Columns and rows have equal trips and equal
# dependents: orders that differ in them alone are the same.
_ORDERS = np.array([o for o in itertools.permutations(range(5)) if o.index(1) < o.index(2)])


@dataclass(frozen=True)
class Buffers:
    """Sizes in bytes; half of each holds what is worked on, the other half is being filled."""

    weights: float
    inputs: float
    outputs: float


@dataclass(frozen=True)
class Tiling:
    """One operation on one array at one pair of widths.

    Attributes:
        op: its shape. weight_bits, input_bits, sum_bits: widths.
        summed, made: inputs that the array sums at once (rows · fused multipliers), outputs that it makes (columns).
        unrolled: whether inputs are unrolled into a matrix before they are read (im2col).
    """

    op: OpWork
    weight_bits: int
    input_bits: int
    sum_bits: int
    summed: int
    made: int
    unrolled: bool


@dataclass(frozen=True)
class Tiled:
    """The fastest schedule: cycles of arithmetic, cycles of stalling, bits over the interface."""

    compute: float
    stalled: float
    bits: float


@lru_cache(maxsize=65536)
def search(t: Tiling, buffers: Buffers, bandwidth: float) -> Tiled | None:
    """The schedule with the fewest cycles, then the least traffic; None where not even the smallest tile fits.

    Args:
        bandwidth: bits a cycle of the interface.
    """
    trips, sizes, compute = _tiles(t)
    halves = np.array([buffers.weights, buffers.inputs, buffers.outputs]) * 8 / 2
    fits = (sizes <= halves[:, None]).all(axis=0)
    if not fits.any():
        return None
    trips, sizes, compute = trips[:, fits], sizes[:, fits], compute[fits]
    depends = np.array([[0, 0, 0, 1, 1], [1, 1, 1, 1, t.op.groups > 1], [1, 1, 1, 0, 1]], bool)
    traffic = np.repeat(sizes[:, None, :], len(_ORDERS), axis=1)  # (3 tensors, orders, tiles)
    kept, fitting = traffic.copy(), np.ones(traffic.shape, bool)
    for step in range(5):
        loop = _ORDERS[:, step]
        traffic *= np.where(depends[:, loop, None] | ~fitting, trips[loop], 1.0)
        fitting &= traffic <= halves[:, None, None]
        np.copyto(kept, traffic, where=fitting)
    moved = traffic[0] + traffic[1] + 2 * traffic[2]
    first, last = kept.sum(axis=0), kept[2]
    stalled = np.maximum(0, np.ceil((moved - first - last) / bandwidth) - compute) + np.ceil(first / bandwidth) + np.ceil(last / bandwidth)
    cycles = compute + stalled
    fastest = np.flatnonzero(cycles == cycles.min())
    at = fastest[np.argmin(moved.ravel()[fastest])]
    return Tiled(float(compute[at % len(compute)]), float(stalled.ravel()[at]), float(moved.ravel()[at]))


def _tiles(t: Tiling) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(5, T) trips of each loop, (3, T) bits of a tile of weights, inputs and outputs, (T,) cycles of arithmetic, over all tiles."""
    op = t.op
    made = 1 if t.unrolled else t.made
    steps = [
        _powers(op.batch, 1),
        _powers(max(op.out_h, op.out_w), 1),
        _powers(op.in_channels_per_group, 1),
        _powers(op.out_channels, made),
    ]
    b, o, ic, oc = (grid.ravel() for grid in np.meshgrid(*steps, indexing="ij"))
    ow, oh = np.minimum(o, op.out_w), np.minimum(o, op.out_h)
    trips = np.ceil(np.stack([op.batch / b, op.out_w / ow, op.out_h / oh, op.in_channels_per_group / ic, op.out_channels / oc]))
    kernel = op.kernel_h * op.kernel_w
    channels = ic if op.groups == 1 else ic * np.ceil(oc / (op.out_channels / op.groups))
    area = ow * oh * kernel if t.unrolled else (op.kernel_w + (ow - 1) * op.stride_w) * (op.kernel_h + (oh - 1) * op.stride_h)
    sizes = np.stack([
        np.ceil(kernel * ic / t.summed) * t.summed * oc * t.weight_bits,
        area * channels * b * t.input_bits,
        ow * oh * np.ceil(oc / t.made) * t.made * b * t.sum_bits,
    ])  # fmt: skip
    depth = np.ceil(kernel * ic / t.summed) if t.unrolled else kernel * np.ceil(ic / t.summed)
    return trips, sizes, trips.prod(axis=0) * b * ow * oh * np.ceil(oc / t.made) * depth


def _powers(extent: float, unit: int) -> FloatArray:
    """unit, 2 unit, 4 unit ... up to the extent itself."""
    count = math.ceil(math.log2(max(1.0, math.ceil(extent / unit)))) + 1
    found: FloatArray = np.minimum(unit * 2.0 ** np.arange(count), extent)
    return found
