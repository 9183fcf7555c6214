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
from ..formats import Codebook, NumberFormat
from ..quantizers.by_format import ByFormat
from ..quantizers.levels import Floats, Grid, Integers, Thresholds

ROUNDED = 1e-6  # how far a value may be off by float32's rounding, relative to the largest


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


def weight_of(quantizer: ByFormat, weight: Tensor, number: NumberFormat, name: str) -> Weight:
    """A weight in its format.

    Raises:
        UsageError: a format that is not of integers or a codebook, or a quantiser with more than 2^bits levels on no uniform grid: no
            exporter can write it.
    """
    method = quantizer.of(number)
    if number.scaling.per != "plain":
        raise UsageError(f"the weight of '{name}' is in {number}, which no exporter writes yet.")
    with torch.no_grad():
        quantised = method.quantize(weight.detach(), number).detach().float().cpu()
    values = quantised.numpy()
    grid = method.levels(quantised, number)
    codebook = isinstance(number.element, Codebook)
    if isinstance(grid, Grid) and not codebook:
        spread = torch.from_numpy(np.asarray(grid.spread(values.ndim)))
        codes = ((quantised + grid.offset) / spread + grid.zero).round().clamp(grid.low, grid.high).numpy().astype(np.int32)
        if np.abs(grid.values(codes) - values).max(initial=0.0) <= ROUNDED * np.abs(values).max(initial=0.0):
            return Weight(values, codes, grid, number.bits)
    table, indices = np.unique(values, return_inverse=True)
    if len(table) > 2**number.bits:
        raise UsageError(
            f"the weight of '{name}' has {len(table)} values at {number.bits} bits, and they lie on no uniform grid: "
            f"{type(method).__name__} cannot be handed over as integers of that width."
        )
    book = _book(grid, table) if codebook and isinstance(grid, Grid) else (None, None)
    return Weight(values, indices.reshape(values.shape).astype(np.int32), book[0], number.bits, table.astype(np.float32), book[1])


def _book(grid: Grid, table: npt.NDArray[np.float32]) -> tuple[Grid | None, Integers | None]:
    """The codes behind indices as the device holds them: integers with one scale."""
    codes = np.round(table / grid.scale).astype(np.int32)
    return (grid, codes) if np.array_equal(grid.values(codes), table) else (None, None)


def input_of(quantizer: ByFormat, number: NumberFormat, name: str) -> Grid | Thresholds:
    """The levels of a layer's input.

    Raises:
        UsageError: a quantiser that does not say its levels.
    """
    method = quantizer.of(number)
    found = method.levels(None, number)
    if found is None:
        raise UsageError(f"the input of '{name}' is in {number} by {type(method).__name__}, of which no exporter knows the levels.")
    return found
