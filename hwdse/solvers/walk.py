"""The greedy walk: from a state inside every row, take what lowers the loss most for the room it needs, until nothing fits."""

from __future__ import annotations

import numpy as np

from ..choices import IntArray
from ..costs import FloatArray
from .moves import Moves

_BATCH = 0.05  # part of the room that may be used before the efficiencies are computed again


def climb(moves: Moves, state: IntArray) -> IntArray:
    """Takes the move with the largest fall in loss per share of the room it needs, until none fits.

    The share is that of the row in which the move takes most of what is left: the binding cost.
    """
    walk = _Walk(moves, state.copy())
    while walk.round():
        pass
    return walk.state


class _Walk:
    """State of the walk: totals of the rows, and of each (row, component) pair the part that the current move has in it."""

    def __init__(self, moves: Moves, state: IntArray) -> None:
        self.moves, self.state = moves, state
        matrix = moves.matrix
        self.counts = np.diff(matrix.indptr)
        self.filled = np.flatnonzero(self.counts)
        of = np.repeat(moves.component, self.counts)
        pair = of * matrix.shape[0] + matrix.indices
        self.pairs, self.pair = np.unique(pair, return_inverse=True)
        self.edges = np.searchsorted(self.pairs, np.arange(len(moves.begin)) * matrix.shape[0])
        self.current, self.data = np.zeros(len(self.pairs)), matrix.data
        for move in state:
            self._enter(int(move))
        self.totals = moves.totals(state)

    def _entries(self, move: int) -> slice:
        return slice(int(self.moves.matrix.indptr[move]), int(self.moves.matrix.indptr[move + 1]))

    def _enter(self, move: int) -> None:
        c = int(self.moves.component[move])
        self.current[self.edges[c] : self.edges[c + 1]] = 0.0
        mine = self._entries(move)
        self.current[self.pair[mine]] = self.data[mine]

    def _change(self, move: int) -> FloatArray:
        """(R,) what the rows gain by it."""
        m = self.moves.matrix
        now, then = self._entries(int(self.state[self.moves.component[move]])), self._entries(move)
        out = np.zeros(m.shape[0])
        out[m.indices[then]] += self.data[then]
        out[m.indices[now]] -= self.data[now]
        return out

    def round(self) -> bool:
        """Computes every move's efficiency once and takes the best ones; False where none is left."""
        moves, m, coupling = self.moves, self.moves.matrix, self.moves.coupling
        if coupling is not None:  # loads as the neighbours are now
            self.data = coupling.loads(moves.chosen(self.state))
            for move in self.state:
                self._enter(int(move))
        gain = moves.loss[self.state[moves.component]] - moves.loss
        room = np.maximum(1 - self.totals, 0.0)
        more = self.data - self.current[self.pair]
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.where(more > 0, more / room[m.indices], 0.0)
        share = np.zeros(len(gain))
        if len(self.filled):
            share[self.filled] = np.maximum.reduceat(part, m.indptr[self.filled])
        usable = np.flatnonzero((gain > 0) & (share <= 1))
        if not len(usable):
            return False
        with np.errstate(divide="ignore"):
            efficiency = gain[usable] / share[usable]
        order = usable[np.lexsort((-gain[usable], -efficiency))]
        used, seen = 0.0, set[int]()
        for move in order:
            c = int(moves.component[move])
            if c in seen:
                continue
            if used and used + share[move] > _BATCH:
                break
            change = self._change(int(move))
            if len(change) and (self.totals + change).max() > 1:
                continue
            self.totals = self.totals + change
            self.state[c] = move
            self._enter(int(move))
            seen.add(c)
            if coupling is not None:
                seen |= coupling.neighbours[c]  # their loads are no longer these
            used += float(share[move])
        self.totals = moves.totals(self.state)  # afresh, so that rounding does not add up
        return bool(seen)
