"""The rows of a program under given limits, scaled to a right-hand side of 1, less all that can never bind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from ..choices import BoolArray, Choices, IntArray
from ..constraints import Budget
from ..costs import FloatArray
from .program import FORGIVEN, Block, Program


def tightest(budget: Budget) -> dict[str, float]:
    """Metric key -> limit; of two limits on one metric the tighter."""
    limits: dict[str, float] = {}
    for constraint in budget:
        key = constraint.metric.key
        limits[key] = min(constraint.limit, limits.get(key, np.inf))
    return limits


@dataclass(frozen=True, eq=False)
class Rows:
    """``matrix @ x <= 1`` over the V active (layer, option) pairs, in layer order.

    Attributes:
        program: what it was made of.
        active: (L, O) options that some allocation inside each row by itself can take.
        matrix: (R, V) kept rows, each divided by its room ``room[r] = limit - fixed``.
        metric: (R,) metric key of each row.
        room: (R,) in stored units.
    """

    program: Program
    active: BoolArray
    matrix: sparse.csr_array
    metric: tuple[str, ...]
    room: FloatArray

    @classmethod
    def of(cls, program: Program, limits: Mapping[str, float]) -> Rows | None:
        """The rows under ``limits``; None where a row's smallest sum is already over its limit."""
        active = program.active.copy()
        for _ in range(3):
            before = int(active.sum())
            for key, limit in limits.items():
                block = program.blocks[key]
                room = limit * (1 + FORGIVEN) - block.table.fixed
                cells = np.where(active[block.layer], block.cells, np.inf)
                low = cells.min(axis=1)
                lowest = np.bincount(block.row, low, minlength=len(room))
                if (lowest > room).any():
                    return None
                # with everything else at its cheapest, this option alone breaks the row
                spare = (room - lowest + 1e-14 * limit)[block.row] + low
                over = np.where(np.isfinite(cells), cells, 0.0) > spare[:, None]
                np.logical_and.at(active, block.layer, ~over)
                if not active.any(axis=1).all():
                    return None
            if int(active.sum()) == before:
                break
        parts, names, rooms = [], [], []
        for key, limit in limits.items():
            block = program.blocks[key]
            room = limit * (1 + FORGIVEN) - block.table.fixed
            high = np.where(active[block.layer], block.cells, -np.inf).max(axis=1)
            highest = np.bincount(block.row, high, minlength=len(room))
            kept = np.flatnonzero(highest > room)
            parts.append(_matrix(active, block.row, block.layer, block.cells, kept, room))
            names += [key] * len(kept)
            rooms.append(room[kept])
        total = int(active.sum())
        matrix = sparse.vstack(parts, format="csr") if parts else sparse.csr_array((0, total))
        return cls(program, active, sparse.csr_array(matrix), tuple(names), np.concatenate([np.zeros(0), *rooms]))

    @cached_property
    def layer(self) -> IntArray:
        """(V,) layer of each variable."""
        return np.nonzero(self.active)[0]

    @cached_property
    def starts(self) -> IntArray:
        """First variable of each layer."""
        return np.flatnonzero(np.diff(self.layer, prepend=-1))

    @cached_property
    def option(self) -> IntArray:
        """(V,) option of each variable."""
        return np.nonzero(self.active)[1]

    @cached_property
    def loss(self) -> FloatArray:
        """(V,) loss of each variable over its layer's smallest."""
        return self.program.loss[self.active]

    @cached_property
    def ties(self) -> sparse.csr_array:
        """(T, V) ``ties @ x = 0``: two layers of a tie take each width equally."""
        return tie_rows(self.program.choices, self.layer, self.option)

    @cached_property
    def number(self) -> IntArray:
        """(L, O) the variable of each active pair; anything elsewhere."""
        numbers: IntArray = np.cumsum(self.active.ravel()).reshape(self.active.shape) - 1
        return numbers

    def variables(self, chosen: IntArray) -> IntArray:
        """(L,) the variable of each layer's option."""
        return self.number[np.arange(len(chosen)), chosen]

    def terms(self, block: Block) -> sparse.csr_array:
        """(rows of ``block``, V) its cells over the variables, unscaled."""
        count = block.table.rows
        return _matrix(self.active, block.row, block.layer, block.cells, np.arange(count), np.ones(count))

    def only(self, keep: BoolArray) -> Rows:
        """The same rows over fewer variables, (V,) booleans."""
        active = np.zeros_like(self.active)
        active[self.layer[keep], self.option[keep]] = True
        return Rows(self.program, active, sparse.csr_array(self.matrix[:, np.flatnonzero(keep)]), self.metric, self.room)


def _matrix(active: BoolArray, row: IntArray, layer: IntArray, cells: FloatArray, kept: IntArray, room: FloatArray) -> sparse.csr_array:
    """Kept rows over the active variables, divided by their room."""
    place = np.full(len(room), -1)
    place[kept] = np.arange(len(kept))
    entries = np.flatnonzero(place[row] >= 0) if len(row) else np.zeros(0, np.intp)
    number = np.cumsum(active.ravel()).reshape(active.shape) - 1  # of each active pair
    which, column = np.nonzero(active[layer[entries]])
    entry = entries[which]
    values = cells[entry, column] / room[row[entry]]
    where = (place[row[entry]], number[layer[entry], column])
    return sparse.csr_array(sparse.coo_array((values, where), shape=(len(kept), int(active.sum()))))


def cover(rows: Rows, taken: IntArray) -> tuple[IntArray, int]:
    """A cut against an allocation (its L variables) that breaks a row: not all of the row's layers at its cells or larger ones."""
    loads = np.asarray(rows.matrix[:, taken].sum(axis=1)).ravel()
    cells = rows.matrix[[int(np.argmax(loads))]].toarray()[0]
    mine = cells[taken]
    touched = np.unique(rows.layer[np.flatnonzero(cells)])
    large = np.flatnonzero((cells >= mine[rows.layer]) & np.isin(rows.layer, touched))
    return large, len(touched) - 1


def tie_rows(choices: Choices, layer: IntArray, option: IntArray, among: Sequence[int] | None = None) -> sparse.csr_array:
    """One equation per tie, per further layer in it, and per width but one (the last follows: each layer takes one option).

    ``among``: only the ties of these layers.
    """
    rows, columns, values = [], [], []
    count = 0
    for ties, bits in ((choices.weight_ties, choices.weight_bits), (choices.activation_ties, choices.activation_bits)):
        for tie in ties:
            if among is not None and choices.position[tie[0]] not in among:
                continue
            variables = [np.flatnonzero(layer == choices.position[name]) for name in tie]
            widths = sorted({int(b) for v in variables for b in bits[option[v]]})[:-1]
            for other in variables[1:]:
                for width in widths:
                    for variable, sign in ((variables[0], 1.0), (other, -1.0)):
                        mine = variable[bits[option[variable]] == width]
                        rows += [count] * len(mine)
                        columns += mine.tolist()
                        values += [sign] * len(mine)
                    count += 1
    return sparse.csr_array(sparse.coo_array((values, (rows, columns)), shape=(count, len(layer))))
