"""The pairwise part of a cost table: what two layers cost together, such as converting the tensor between them.

    cost[r] = fixed[r] + sum_e cells[e, o(layer_e)] + sum_p edges[p, o(first_p), o(second_p)]

o(l) is the option of layer l; p runs over the edges of row r. Integer programs take a variable per pair of classes of options
(:mod:`hwdse.solvers.links`); everywhere else an edge is read directly, one gather like the cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .choices import IntArray
from .errors import UsageError

CHUNK = 1 << 22  # gathered numbers at a time: 32 MiB


@dataclass(frozen=True, eq=False)
class Edges:
    """P edges, in the unit of the table that they are part of.

    Attributes:
        ends: (P, 2) layer indices: the first writes what the second reads.
        row: (P,) row of the table that each edge adds to.
        cells: (P, O, O) cost where the first layer takes one option and the second another. An edge has no place for "unsupported":
            what a device cannot run is said of a layer.

    Raises:
        UsageError: shapes that do not fit, an edge from a layer to itself, costs that are negative or not finite.
    """

    ends: IntArray
    row: IntArray
    cells: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        count = len(self.row)
        if self.ends.shape != (count, 2) or self.cells.shape != (count, *self.cells.shape[1:2] * 2):
            raise UsageError(f"edges: shapes {self.ends.shape}, {self.row.shape} and {self.cells.shape} do not fit; see Edges.")
        if (self.ends[:, 0] == self.ends[:, 1]).any():
            raise UsageError("an edge joins two different layers; what one layer costs by itself goes into its cells.")
        if not (np.isfinite(self.cells).all() and (self.cells >= 0).all()):
            raise UsageError("costs of edges must be finite and not negative; a pair of widths that cannot be run is infinite in a cell.")

    def __len__(self) -> int:
        return len(self.row)

    def fits(self, layers: int, options: int, rows: int) -> bool:
        """Whether all indices lie inside a table of this size."""
        inside = not len(self) or bool(0 <= self.ends.min() <= self.ends.max() < layers and 0 <= self.row.min() <= self.row.max() < rows)
        return inside and self.cells.shape[1] == options

    def chosen(self, indices: IntArray) -> npt.NDArray[np.float64]:
        """(N, P) what each edge costs in N allocations, (N, L)."""
        found: npt.NDArray[np.float64] = self.cells[np.arange(len(self)), indices[:, self.ends[:, 0]], indices[:, self.ends[:, 1]]]
        return found

    def row_totals(self, indices: IntArray, rows: int) -> npt.NDArray[np.float64]:
        """(N, rows) the edges' part of each row."""
        out = np.zeros((len(indices), rows))
        step = max(1, CHUNK // max(1, len(self)))
        for begin in range(0, len(indices), step):
            values = self.chosen(indices[begin : begin + step])
            for row in np.unique(self.row):
                out[begin : begin + step, row] = values[:, self.row == row].sum(axis=1)
        return out

    def aligned(self, place: IntArray, column: Sequence[int] | IntArray) -> Edges:
        """With layer i at ``place[i]``, and the options ``column`` in their order."""
        cells = np.ascontiguousarray(self.cells[:, column][:, :, column])
        return replace(self, ends=place[self.ends], cells=cells)

    def merged(self) -> Edges:
        """Each (row, pair of layers) once, the lower index first."""
        turned = self.ends[:, 0] > self.ends[:, 1]
        cells = np.where(turned[:, None, None], self.cells.transpose(0, 2, 1), self.cells)
        key = np.column_stack([self.row, np.sort(self.ends, axis=1)])
        unique, place = np.unique(key, axis=0, return_inverse=True)
        summed = np.zeros((len(unique), *self.cells.shape[1:]))
        np.add.at(summed, place.ravel(), cells)
        return Edges(unique[:, 1:], unique[:, 0], summed)
