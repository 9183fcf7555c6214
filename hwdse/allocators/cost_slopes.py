"""What each group of tensors costs, bit by bit: AdaQAT's dC/db, read from any cost table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..choices import BoolArray, IntArray
from ..costs import CostTable, FloatArray
from ..edges import Edges
from .width_groups import WidthGroups

SHARPNESS = 32  # exponent that picks a table's largest rows
_LEAST = 1e-12  # a change of cost per bit below this share of the cost at the start is none


@dataclass(frozen=True)
class Moves:
    """A neighbouring width for every group, and the cost per bit on the way there.

    Attributes:
        other: (G,) the nearest narrower width at which the cost falls, else the nearest wider one at which it rises, else the present one.
        unit: (G,) groups with the same number move together.
        bits: (G,) how many bits ``other`` is narrower (the most in the unit); negative where it is wider, 0 where there is none.
        slopes: (G, M) each metric's fall per bit, over its value at the start; their sum is positive where ``bits`` is not 0.
    """

    other: IntArray
    unit: IntArray
    bits: FloatArray
    slopes: FloatArray


class CostSlopes:
    """Differences of cost tables between neighbouring widths.

    One bit for BitOPs; tables of real devices are flat in between, and the secant to the next width at which the cost changes is taken
    (ours). Devices that only gain when weights and activations both shrink are walked by moving both at once (ours). Edges are read
    with the neighbours as they are. For a table of one row the difference is exact. For a max of rows, such as peak memory, it is that
    of the rows weighted by ``(row / largest)^32``: where several rows are about as large no single tensor lowers the max, and yet all of
    them must shrink (ours).

    Args:
        groups: what moves.
        metrics: keys of the tables, M of them.
        start: (G,) widths at the start, whose costs are the unit of the slopes.
    """

    def __init__(self, groups: WidthGroups, metrics: tuple[str, ...], start: IntArray) -> None:
        self.groups, self.metrics = groups, metrics
        self.tables = [groups.problem.table[key] for key in metrics]
        first = groups.indices(start)
        self.scale: FloatArray = np.array([float(table.totals(first)[0]) or 1.0 for table in self.tables])
        self._linked = groups.linked()

    def costs(self, widths: IntArray) -> FloatArray:
        """(M,) each metric at the groups' widths, (G,), over its value at the start."""
        indices = self.groups.indices(widths)
        found: FloatArray = np.array([table.totals(indices)[0] for table in self.tables]) / self.scale
        return found

    def moves(self, widths: IntArray, fixed: BoolArray) -> Moves:
        """The neighbours of the present widths, (G,). Groups that are ``fixed``, (G,), have none."""
        count = self.groups.count
        moves = Moves(widths.copy(), np.arange(count), np.zeros(count), np.zeros((count, len(self.tables))))
        weights = [_row_weights(table, self._options(widths, widths)) for table in self.tables]
        self._search(moves, ~fixed, widths, fixed, weights)
        stuck = np.bincount(self._linked, moves.bits != 0, count)[self._linked] == 0
        if (stuck & ~fixed).any():
            moves.unit[stuck] = self._linked[stuck]
            self._search(moves, stuck & ~fixed, widths, fixed, weights)
        return moves

    def _search(self, moves: Moves, wanted: BoolArray, widths: IntArray, fixed: BoolArray, weights: list[FloatArray]) -> None:
        """Fills in the nearest useful neighbour of the wanted groups: narrower ones first."""
        every, levels = np.arange(self.groups.count), self.groups.levels
        place = (levels < widths[:, None]).sum(axis=1)
        for direction in (-1, 1):
            for distance in range(1, levels.shape[1]):
                open_ = wanted & (moves.bits == 0)
                if not open_.any():
                    return
                to = np.where(fixed, widths, levels[every, np.clip(place + direction * distance, 0, levels.shape[1] - 1)])
                far = np.zeros(len(every))
                np.maximum.at(far, moves.unit, np.abs(to - widths))
                bits = -direction * far[moves.unit]
                slopes = self._falls(widths, to, moves.unit, weights) / np.where(bits == 0, 1, bits)[:, None]
                take = open_ & (bits != 0) & (slopes.sum(axis=1) > _LEAST)
                moves.other[take], moves.bits[take], moves.slopes[take] = to[take], bits[take], slopes[take]

    def _falls(self, widths: IntArray, to: IntArray, unit: IntArray, weights: list[FloatArray]) -> FloatArray:
        """(G, M) by how much each metric falls when the unit of a group moves ``to``, and all other units stay."""
        groups = self.groups
        of_weight, of_activation = unit[groups.weight], unit[groups.activation]
        together = of_weight == of_activation
        here = self._options(widths, widths)
        by_weight = self._options(to, np.where(together, to[groups.activation], widths[groups.activation]), by_layer=True)
        by_activation = self._options(widths, to)
        falls = np.zeros((groups.count, len(self.tables)))
        for m, (table, rows) in enumerate(zip(self.tables, weights, strict=True)):
            falls[:, m] += np.bincount(of_weight, _difference(table, rows, here, by_weight), groups.count)
            alone = np.where(together, 0.0, _difference(table, rows, here, by_activation))
            falls[:, m] += np.bincount(of_activation, alone, groups.count)
            if table.edges is not None:
                falls[:, m] += _edge_falls(table.edges, rows, here, by_weight, of_weight, groups.count)
                alone_to = np.where(together, here, by_activation)
                falls[:, m] += _edge_falls(table.edges, rows, here, alone_to, of_activation, groups.count)
        found: FloatArray = falls[unit] / self.scale
        return found

    def _options(self, weight: IntArray, activation: IntArray, by_layer: bool = False) -> IntArray:
        groups = self.groups
        return groups.problem.choices.at_least(weight[groups.weight], activation if by_layer else activation[groups.activation])


def _row_weights(table: CostTable, indices: IntArray) -> FloatArray:
    rows = table.row_totals(indices)[0]
    largest = rows.max()
    weights = (rows / largest) ** SHARPNESS if largest > 0 else np.ones(len(rows))  # rows of nothing are all as large
    found: FloatArray = weights / weights.sum()
    return found


def _difference(table: CostTable, rows: FloatArray, here: IntArray, there: IntArray) -> FloatArray:
    """(L,) fall of the weighted rows when a layer goes from one option to another."""
    entry = np.arange(len(table.cells))
    change = table.cells[entry, here[table.layer]] - table.cells[entry, there[table.layer]]
    return np.asarray(np.bincount(table.layer, rows[table.row] * change, len(table.layers)), np.float64)


def _edge_falls(edges: Edges, rows: FloatArray, here: IntArray, there: IntArray, unit: IntArray, count: int) -> FloatArray:
    """(count,) fall of the weighted rows' edges when the layers of one unit, (L,), go from one option to another, others staying."""
    (first, second), every, weight = edges.ends.T, np.arange(len(edges)), rows[edges.row]
    now = edges.cells[every, here[first], here[second]]
    both = unit[first] == unit[second]
    by_first = now - edges.cells[every, there[first], np.where(both, there[second], here[second])]
    by_second = np.where(both, 0.0, now - edges.cells[every, here[first], there[second]])
    falls = np.bincount(unit[first], weight * by_first, count) + np.bincount(unit[second], weight * by_second, count)
    return np.asarray(falls, np.float64)
