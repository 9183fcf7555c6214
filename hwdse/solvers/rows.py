"""The rows of a program under given limits, scaled to a right-hand side of 1, less all that can never bind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from ..choices import BoolArray, Choices, IntArray
from ..constraints import Budget
from ..costs import FloatArray
from ..edges import Edges
from .links import link_rows, pair_cells, pair_variables, taken
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
    """``matrix @ x <= 1`` over V variables: the X active (layer, option) pairs in layer order, then the Y pairs of the links.

    Attributes:
        program: what it was made of.
        active: (L, O) options that some allocation inside each row by itself can take.
        pairs: (Y, 3) link, class of its first layer, class of its second.
        matrix: (R, V) kept rows, each divided by its room ``room[r] = limit - fixed``.
        metric: (R,) metric key of each row.
        room: (R,) in stored units.
        edges: those of the kept rows, divided likewise; 2 where a pair by itself breaks the row.
    """

    program: Program
    active: BoolArray
    pairs: IntArray
    matrix: sparse.csr_array
    metric: tuple[str, ...]
    room: FloatArray
    edges: Edges | None

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
                lowest = np.bincount(block.row, low, minlength=len(room)) + _between(block.edges, active, np.min, len(room))
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
        return cls._made(program, limits, active, whole=False)

    @classmethod
    def whole(cls, program: Program, limits: Mapping[str, float]) -> Rows:
        """The rows with all of the program's options, also those that break a limit by themselves: what prices are about.

        A row without room has a billionth of what it can add up to.
        """
        found = cls._made(program, limits, program.active, whole=True)
        assert found is not None
        return found

    @classmethod
    def _made(cls, program: Program, limits: Mapping[str, float], active: BoolArray, *, whole: bool) -> Rows | None:
        """The rows that some of the ``active`` options can break; None where no pair of some link is possible."""
        parts, rooms, scaled = [], [], []
        names: list[str] = []
        for key, limit in limits.items():
            block = program.blocks[key]
            room = limit * (1 + FORGIVEN) - block.table.fixed
            high = np.where(active[block.layer], block.cells, -np.inf).max(axis=1)
            highest = np.bincount(block.row, high, minlength=len(room)) + _between(block.edges, active, np.max, len(room))
            kept = np.flatnonzero(highest > room)
            # 0 where nothing but pairs could break the row
            room = np.maximum(room, 1e-9 * highest if whole else np.finfo(np.float64).tiny)
            parts.append(_matrix(active, block.row, block.layer, block.cells, kept, room))
            if block.edges is not None:
                slip = np.inf if whole else 1e-14 * limit
                scaled.append(_scaled(block, active, kept, room, slip, len(names)))
            names += [key] * len(kept)
            rooms.append(room[kept])
        total = int(active.sum())
        matrix = sparse.vstack(parts, format="csr") if parts else sparse.csr_array((0, total))
        edges, pairs = None, np.zeros((0, 3), np.intp)
        if scaled:
            edges = Edges(*(np.concatenate([getattr(e, part) for e in scaled]) for part in ("ends", "row", "cells")))
        if program.links:
            pairs = pair_variables(program.links, active)
            priced = pair_cells(program.links, pairs, edges, len(names))
            possible = np.asarray(priced.max(axis=0).toarray()).ravel() < 2 if len(names) else np.ones(len(pairs), bool)
            pairs, priced = pairs[possible], priced[:, np.flatnonzero(possible)]
            if len(np.unique(pairs[:, 0])) < len(program.links):
                return None
            matrix = sparse.hstack([matrix, priced], format="csr")
        found = sparse.csr_array(matrix)
        return cls(program, active, pairs, found, tuple(names), np.concatenate([np.zeros(0), *rooms]), edges)

    @cached_property
    def layer(self) -> IntArray:
        """(X,) layer of each option."""
        return np.nonzero(self.active)[0]

    @cached_property
    def option(self) -> IntArray:
        """(X,) the option."""
        return np.nonzero(self.active)[1]

    @cached_property
    def group(self) -> IntArray:
        """(V,) ascending; one variable of each group is taken: a group per layer, then one per link."""
        return np.concatenate([self.layer, len(self.active) + self.pairs[:, 0]])

    @cached_property
    def starts(self) -> IntArray:
        """First variable of each group."""
        return np.flatnonzero(np.diff(self.group, prepend=-1))

    @cached_property
    def loss(self) -> FloatArray:
        """(V,) loss of each option over its layer's smallest; pairs lose nothing."""
        return np.concatenate([self.program.loss[self.active], np.zeros(len(self.pairs))])

    @cached_property
    def ties(self) -> sparse.csr_array:
        """(T, V) ``ties @ x = 0``: two layers of a tie take each width equally, and pairs go with their layers' options."""
        tied = tie_rows(self.program.choices, self.layer, self.option)
        if not len(self.pairs):
            return tied
        wide = sparse.csr_array((tied.data, tied.indices, tied.indptr), shape=(tied.shape[0], len(self.loss)))
        return sparse.csr_array(sparse.vstack([wide, link_rows(self.program.links, self.pairs, self.layer, self.option)]))

    @cached_property
    def number(self) -> IntArray:
        """(L, O) the variable of each active option; anything elsewhere."""
        numbers: IntArray = np.cumsum(self.active.ravel()).reshape(self.active.shape) - 1
        return numbers

    def variables(self, chosen: IntArray) -> IntArray:
        """The variable that an allocation (L,) takes of each group."""
        own = self.number[np.arange(len(chosen)), chosen]
        return own if not len(self.pairs) else np.concatenate([own, len(self.layer) + taken(self.program.links, self.pairs, chosen)])

    def decided(self, variables: IntArray) -> IntArray:
        """(L,) the inverse of :meth:`variables`."""
        return self.option[variables[: len(self.active)]]

    def terms(self, block: Block) -> sparse.csr_array:
        """(rows of ``block``, V) its cells over the variables, unscaled."""
        count = block.table.rows
        own = _matrix(self.active, block.row, block.layer, block.cells, np.arange(count), np.ones(count))
        if not len(self.pairs):
            return own
        return sparse.csr_array(sparse.hstack([own, pair_cells(self.program.links, self.pairs, block.edges, count)]))

    def only(self, keep: BoolArray) -> Rows:
        """The same rows over fewer variables, (V,) booleans."""
        active = np.zeros_like(self.active)
        own = keep[: len(self.layer)]
        active[self.layer[own], self.option[own]] = True
        matrix = sparse.csr_array(self.matrix[:, np.flatnonzero(keep)])
        return replace(self, active=active, pairs=self.pairs[keep[len(self.layer) :]], matrix=matrix)


def _between(edges: Edges | None, active: BoolArray, end: Callable[..., FloatArray], rows: int) -> FloatArray:
    """(rows,) the smallest (``np.min``) or largest (``np.max``) that edges can add up to, each by itself."""
    out = np.zeros(rows)
    if edges is not None:
        np.add.at(out, edges.row, _ends(edges, active, end))
    return out


def _ends(edges: Edges, active: BoolArray, end: Callable[..., FloatArray]) -> FloatArray:
    """(P,) the smallest or largest cell of each edge over the active options."""
    return np.array([end(cells[active[a]][:, active[b]]) for (a, b), cells in zip(edges.ends, edges.cells, strict=True)])


def _scaled(block: Block, active: BoolArray, kept: IntArray, room: FloatArray, slip: float, first: int) -> Edges:
    """The edges of kept rows, numbered from ``first``, divided by their room; 2 where a pair breaks a row, all else at its cheapest."""
    edges = block.edges
    assert edges is not None
    place = np.full(len(room), -1)
    place[kept] = first + np.arange(len(kept))
    mine = place[edges.row] >= 0
    edges = Edges(edges.ends[mine], edges.row[mine], edges.cells[mine])
    low = np.where(active[block.layer], block.cells, np.inf).min(axis=1)
    lowest = np.bincount(block.row, low, minlength=len(room)) + _between(block.edges, active, np.min, len(room))
    spare = (room - lowest + slip)[edges.row] + _ends(edges, active, np.min)
    most = spare[:, None, None]
    cells = np.where(edges.cells > most, 2.0, np.minimum(edges.cells, most) / room[edges.row, None, None])
    return Edges(edges.ends, place[edges.row], cells)


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
    """A cut against an allocation (its variables, one of each group) that breaks a row: not all of its groups at these cells or larger."""
    loads = np.asarray(rows.matrix[:, taken].sum(axis=1)).ravel()
    cells = rows.matrix[[int(np.argmax(loads))]].toarray()[0]
    mine = cells[taken]
    touched = np.unique(rows.group[np.flatnonzero(cells)])
    large = np.flatnonzero((cells >= mine[rows.group]) & np.isin(rows.group, touched))
    return large, len(touched) - 1


def tie_rows(choices: Choices, layer: IntArray, option: IntArray, among: Sequence[int] | None = None) -> sparse.csr_array:
    """One equation per tie, per further layer in it, and per format but one (the last follows: each layer takes one option).

    ``among``: only the ties of these layers.
    """
    rows, columns, values = [], [], []
    count = 0
    for ties, code in ((choices.weight_ties, choices.weight_code), (choices.activation_ties, choices.activation_code)):
        for tie in ties:
            if among is not None and choices.position[tie[0]] not in among:
                continue
            variables = [np.flatnonzero(layer == choices.position[name]) for name in tie]
            formats = sorted({int(c) for v in variables for c in code[option[v]]})[:-1]
            for other in variables[1:]:
                for one in formats:
                    for variable, sign in ((variables[0], 1.0), (other, -1.0)):
                        mine = variable[code[option[variable]] == one]
                        rows += [count] * len(mine)
                        columns += mine.tolist()
                        values += [sign] * len(mine)
                    count += 1
    return sparse.csr_array(sparse.coo_array((values, (rows, columns)), shape=(count, len(layer))))
