"""The best state under prices where components are joined by edges: exact on a forest, from the leaves up (min-sum).

Edges that close a cycle are read at the state before; a few rounds are made and the best state is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..choices import IntArray
from ..costs import FloatArray

_ROUNDS = 3


class Spanning:
    """C components, their moves from ``begin[c]`` to ``begin[c + 1]``, and edges between them.

    Args:
        begin: (C + 1,).
        ends: (P, 2) components. row: (P,) row of each edge. tables: P arrays (moves of the first, moves of the second).
    """

    def __init__(self, begin: IntArray, ends: IntArray, row: IntArray, tables: Sequence[FloatArray]) -> None:
        self.begin, self.ends, self.row, self.tables = begin, ends, row, tables
        count = len(begin) - 1
        near: list[list[int]] = [[] for _ in range(count)]
        for c, d in dict.fromkeys(map(tuple, ends.tolist())):
            near[c].append(d)
            near[d].append(c)
        self.order: list[tuple[int, int]] = []  # component and its parent, -1 for roots; parents first
        seen: set[int] = set()
        for root in range(count):
            queue = [] if root in seen else [(root, -1)]
            seen.add(root)
            for c, _ in queue:  # grows on the way
                fresh = [d for d in near[c] if d not in seen]
                seen.update(fresh)
                queue += [(d, c) for d in fresh]
            self.order += queue
        tree = {frozenset(pair) for pair in self.order}
        self.crossing = any(frozenset(pair) not in tree for pair in ends.tolist())
        self.tree = tree

    def best(self, score: FloatArray, price: FloatArray) -> IntArray:
        """(C,) the move of each component: least sum of ``score``, (J,), and of ``price``, (R,), times the edges."""
        joined: dict[tuple[int, int], FloatArray] = {}
        for (c, d), row, table in zip(self.ends.tolist(), self.row, self.tables, strict=True):
            joined[c, d] = joined.get((c, d), 0.0) + price[row] * table
            joined[d, c] = joined[c, d].T
        state = self._pass(score, joined)
        best, value = state, self._value(state, score, joined)
        for _ in range(_ROUNDS if self.crossing else 0):
            local = score.copy()
            for (c, d), table in joined.items():
                if frozenset((c, d)) not in self.tree:
                    local[self.begin[c] : self.begin[c + 1]] += table[:, state[d] - self.begin[d]]
            state = self._pass(local, joined)
            found = self._value(state, score, joined)
            if found < value:
                best, value = state, found
        return best

    def _pass(self, score: FloatArray, joined: dict[tuple[int, int], FloatArray]) -> IntArray:
        own = [score[a:b].copy() for a, b in zip(self.begin[:-1], self.begin[1:], strict=True)]
        answer: dict[int, IntArray] = {}
        for c, parent in reversed(self.order):
            if parent >= 0:
                sums = own[c][:, None] + joined[c, parent]
                answer[c] = np.argmin(sums, axis=0)
                own[parent] += sums.min(axis=0)
        state = np.zeros(len(own), np.intp)
        for c, parent in self.order:
            state[c] = np.argmin(own[c]) if parent < 0 else answer[c][state[parent]]
        return state + self.begin[:-1]

    def _value(self, state: IntArray, score: FloatArray, joined: dict[tuple[int, int], FloatArray]) -> float:
        local = state - self.begin[:-1]
        pairs = sum(float(table[local[c], local[d]]) for (c, d), table in joined.items() if c < d)
        return float(score[state].sum()) + pairs
