"""What edges add to moves: the load of a component's move depends on where its neighbours are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ..choices import IntArray
from ..costs import FloatArray
from ..edges import Edges
from .spanning import Spanning


@dataclass(frozen=True, eq=False)
class Coupling:
    """The edges between components, ready to be read for all moves at once.

    Attributes:
        edges: scaled, those whose layers lie in two components.
        matrix: (R, J) scaled loads of the moves without these edges, with an entry (perhaps 0) wherever one may add to it.
        entry, edge, side, option: (T,) entry of ``matrix``, edge, end of it that the move is at, and the move's option there.
        spanning: the components as a graph, for the best state under prices.
        neighbours: components that an edge joins each to.
    """

    edges: Edges
    matrix: sparse.csc_array
    entry: IntArray
    edge: IntArray
    side: IntArray
    option: IntArray
    spanning: Spanning
    neighbours: list[set[int]]

    @classmethod
    def of(
        cls, edges: Edges, matrix: sparse.csc_array, begin: IntArray, members: Sequence[IntArray], options: Sequence[IntArray]
    ) -> Coupling:
        """Edges within a component go into the loads of its moves."""
        component, local = {}, {}
        for c, layers in enumerate(members):
            for k, i in enumerate(layers.tolist()):
                component[i], local[i] = c, k
        ends = np.array([[component[a], component[b]] for a, b in edges.ends.tolist()], np.intp).reshape(-1, 2)
        at = [np.array([o[local[i]] for o in options[begin[c] : begin[c + 1]]], np.intp) for i, c in sorted(component.items())]
        rows, moves, values, of = [], [], [], []
        for p, ((first, second), (c, d)) in enumerate(zip(edges.ends.tolist(), ends.tolist(), strict=True)):
            inside = c == d
            for side, (layer, mine) in enumerate(((first, c), (second, d))[: 1 if inside else 2]):
                count = len(at[layer])
                rows.append(np.full(count, edges.row[p]))
                moves.append(begin[mine] + np.arange(count))
                values.append(edges.cells[p, at[first], at[second]] if inside else np.zeros(count))
                if not inside:
                    of.append(np.column_stack([np.full(count, p), np.full(count, side), at[layer], rows[-1], moves[-1]]))
        plain = matrix.tocoo()
        where = (np.concatenate([plain.coords[0], *rows]), np.concatenate([plain.coords[1], *moves]))
        loads = sparse.csc_array(sparse.coo_array((np.concatenate([plain.data, *values]), where), shape=matrix.shape))
        loads.sort_indices()
        keys = np.repeat(np.arange(matrix.shape[1]), np.diff(loads.indptr)) * matrix.shape[0] + loads.indices
        edge, side_of, option, row, move = np.concatenate([np.zeros((0, 5), np.intp), *of]).T
        between = np.flatnonzero(ends[:, 0] != ends[:, 1])
        renumbered = np.zeros(len(edges), np.intp)
        renumbered[between] = np.arange(len(between))
        kept = Edges(edges.ends[between], edges.row[between], edges.cells[between])
        neighbours: list[set[int]] = [set() for _ in members]
        for c, d in ends[between].tolist():
            neighbours[c].add(d)
            neighbours[d].add(c)
        tables = [cells[np.ix_(at[a], at[b])] for (a, b), cells in zip(kept.ends.tolist(), kept.cells, strict=True)]
        entry = np.searchsorted(keys, move * matrix.shape[0] + row)
        return cls(
            kept, loads, entry, renumbered[edge], side_of, option, Spanning(begin, ends[between], kept.row, tables), neighbours
        )  # fmt: skip

    def loads(self, chosen: IntArray) -> FloatArray:
        """``matrix.data`` with what the edges add to each move while all other components stay at an allocation (L,)."""
        other = chosen[self.edges.ends[self.edge, 1 - self.side]]
        first, second = np.where(self.side == 0, self.option, other), np.where(self.side == 0, other, self.option)
        added = np.bincount(self.entry, self.edges.cells[self.edge, first, second], minlength=len(self.matrix.data))
        found: FloatArray = self.matrix.data + added
        return found

    def between(self, chosen: IntArray) -> FloatArray:
        """(R,) what the edges add to the rows."""
        return np.asarray(self.edges.row_totals(chosen[None], self.matrix.shape[0])[0], np.float64)
