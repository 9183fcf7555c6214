"""What a quantised tensor is on a device: integers with a scale, or indices into a table of levels.

Read off the quantisers, and held against them: the values that come back from the integers must be those that the network runs with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import UsageError
from ..quantizers import N2UQ, Codebook, DoReFa, LearntRange, Quantizer
from ..quantizers.codebook import code_bits

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]
STORED = (2, 4, 8, 16)  # integer widths that ONNX has
ROUNDED = 1e-6  # how far a value may be off by float32's rounding, relative to the largest


@dataclass(frozen=True, eq=False)
class Grid:
    """Uniform levels: ``value = code * scale - offset``, with ``low <= code <= high``.

    Attributes:
        bits: width that was allocated.
        scale: () or (C,), one per output channel; axis: the dimension that those are along.
        offset: half-steps of levels without a zero (DoReFa), ``scale * (2^bits - 1) / 2``; 0 for all others.
    """

    bits: int
    low: int
    high: int
    scale: Floats
    axis: int = 0
    offset: float = 0.0

    @property
    def stored(self) -> int:
        """The narrowest integer width of ONNX that holds the codes."""
        return next(b for b in STORED if b >= self.bits)

    @property
    def signed(self) -> bool:
        """Whether codes are signed integers."""
        return self.low < 0

    @property
    def kind(self) -> str:
        """``"int4"``, ``"uint8"``: the type that codes are stored in."""
        return f"{'int' if self.signed else 'uint'}{self.stored}"

    @property
    def ends(self) -> tuple[int, int]:
        """Lowest and highest integer of the stored type."""
        return (-(2 ** (self.stored - 1)), 2 ** (self.stored - 1) - 1) if self.signed else (0, 2**self.stored - 1)

    def spread(self, ndim: int) -> Floats:
        """The scale in a shape that multiplies a tensor of ``ndim`` dimensions."""
        return self.scale.reshape([-1 if d == self.axis else 1 for d in range(ndim)]) if self.scale.ndim else self.scale

    def values(self, codes: Integers) -> Floats:
        """What codes stand for."""
        return (codes.astype(np.float32) * self.spread(codes.ndim) - np.float32(self.offset)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Uneven steps to uniform levels (N2UQ): ``value = scale * (number of thresholds below x / half)``."""

    bits: int
    half: float
    thresholds: Floats
    scale: float


@dataclass(frozen=True, eq=False)
class Weight:
    """A weight as integers.

    Attributes:
        values: float32, what the network multiplies with. codes: the same as integers.
        grid: of the codes; where ``codes`` are indices, of the table that they point into, or None: the table is in floating point.
        table: (K,) levels that indices point to; None where codes stand for themselves. table_codes: the same as integers of ``grid``.
        bits: width that was allocated.
    """

    values: Floats
    codes: Integers
    grid: Grid | None
    bits: int
    table: Floats | None = None
    table_codes: Integers | None = None

    def transposed(self, order: tuple[int, ...]) -> Weight:
        """The same with its dimensions in another order."""
        grid = self.grid
        if grid is not None and self.table is None and grid.scale.ndim:
            grid = replace(grid, axis=order.index(grid.axis))
        return replace(self, values=self.values.transpose(order), codes=self.codes.transpose(order), grid=grid)


def weight_of(quantizer: Quantizer, weight: Tensor, bits: int, name: str) -> Weight:
    """A weight at its width.

    Raises:
        UsageError: a quantiser with more than 2^bits levels in a tensor that is on no uniform grid: nothing of that width can hold it.
    """
    with torch.no_grad():
        quantised = quantizer.quantize(weight.detach(), bits).detach().float().cpu()
    values = quantised.numpy()
    for grid in _grids(quantizer, quantised, bits):
        spread = torch.from_numpy(np.asarray(grid.spread(values.ndim)))
        codes = ((quantised + grid.offset) / spread).round().clamp(grid.low, grid.high).numpy().astype(np.int32)
        if np.abs(grid.values(codes) - values).max(initial=0.0) <= ROUNDED * np.abs(values).max(initial=0.0):
            return Weight(values, codes, grid, bits)
    table, indices = np.unique(values, return_inverse=True)
    if len(table) > 2**bits:
        raise UsageError(
            f"the weight of '{name}' has {len(table)} values at {bits} bits, and they lie on no uniform grid: {type(quantizer).__name__} "
            "cannot be handed over as integers of that width."
        )
    book = _book(quantizer, table, bits) if isinstance(quantizer, Codebook) else (None, None)
    return Weight(values, indices.reshape(values.shape).astype(np.int32), book[0], bits, table.astype(np.float32), book[1])


def _grids(quantizer: Quantizer, quantised: Tensor, bits: int) -> list[Grid]:
    if isinstance(quantizer, LearntRange):
        return [_of_range(quantizer, bits)]
    largest = float(quantised.abs().max()) if quantised.numel() else 0.0
    if isinstance(quantizer, DoReFa) and largest > 0:  # levels (2 k - n) / n of the largest
        steps = 2**bits - 1
        return [Grid(bits, 0, steps, np.array(2 * largest / steps, np.float32), offset=float(np.float32(largest)))]
    return []


def _of_range(quantizer: LearntRange, bits: int) -> Grid:
    low, high, _ = quantizer.levels(bits)
    scale = quantizer.scale(bits).detach().float().cpu().numpy()
    return Grid(bits, low, high, scale.reshape(-1) if scale.ndim else scale, quantizer.axis)


def _book(quantizer: Codebook, table: npt.NDArray[np.float32], bits: int) -> tuple[Grid | None, Integers | None]:
    """The codes behind indices as the device holds them: integers of 8 bits with one scale."""
    width = code_bits(bits)
    high = 2 ** (width - 1) - 1
    scale = (quantizer.codes(bits).abs().max().clamp_min(1e-12) / high).cpu().numpy().astype(np.float32)
    grid = Grid(width, -high, high, scale)
    codes = np.round(table / scale).astype(np.int32)
    return (grid, codes) if np.array_equal(grid.values(codes), table) else (None, None)


def input_of(quantizer: Quantizer, bits: int, name: str) -> Grid | Thresholds:
    """The levels of a layer's input.

    Raises:
        UsageError: a quantiser that hwdse does not know the levels of.
    """
    if isinstance(quantizer, LearntRange):
        return _of_range(quantizer, bits)
    if isinstance(quantizer, N2UQ):
        if quantizer.clip.is_signed or str(bits) not in quantizer.widths:
            return _of_range(quantizer.clip, bits)
        with torch.no_grad():
            widths = quantizer.widths[str(bits)].clamp_min(1e-3).float()
            thresholds = (quantizer.start + torch.cumsum(widths, 0) - widths / 2).cpu().numpy()
            half = float(quantizer.clip.range.abs().clamp_min(1e-8) / 2)
        return Thresholds(bits, half, thresholds.astype(np.float32), 2.0 / len(thresholds) * half)
    raise UsageError(f"the input of '{name}' is quantised by {type(quantizer).__name__}, of which no exporter knows the levels.")
