"""Joint options of components under several rows.

A move puts a component at one of its joint options. Untied layers have all their options as moves; tied layers the Pareto
front of (sum of the scaled rows, loss), which for one row is everything worth taking. What edges between components add depends on
the state; :mod:`~hwdse.solvers.coupling` knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ..choices import BoolArray, IntArray
from ..costs import FloatArray
from ..errors import SolverError
from .components import Component, front
from .coupling import Coupling
from .rows import Rows


@dataclass(frozen=True, eq=False)
class Moves:
    """J moves, sorted by component.

    Attributes:
        rows: what they were made of.
        component: (J,) which component each belongs to. begin: (C + 1,) first move of each.
        options: option per member of the component, for each move.
        members: layers of each component.
        loss: (J,) loss increment. matrix: (R, J) scaled rows, by column.
        coupling: the edges between components; None where there are none.
    """

    rows: Rows
    component: IntArray
    begin: IntArray
    options: list[IntArray]
    members: list[IntArray]
    loss: FloatArray
    matrix: sparse.csc_array
    coupling: Coupling | None = None

    @classmethod
    def of(cls, rows: Rows) -> Moves | None:
        """All moves; None where ties leave a component without any."""
        active, program = rows.active, rows.program
        number, count = rows.number, len(rows.layer)
        own = sparse.csr_array(rows.matrix[:, :count]) if len(rows.pairs) else rows.matrix
        load = np.zeros(active.shape)
        load[active] = np.asarray(own.sum(axis=0)).ravel()
        members, options, counts, picked = [], [], [], []
        for component in program.components:
            if len(component.members) == 1:
                joint = np.flatnonzero(active[component.members[0]])[:, None]
            else:
                joint = _joint(component, rows, active, load)
            if not len(joint):
                return None
            members.append(np.array(component.members))
            options += list(joint)
            counts.append(len(joint))
            picked += [number[members[-1], row] for row in joint]
        move = np.repeat(np.arange(len(picked)), [len(p) for p in picked])
        variable = np.concatenate(picked)
        incidence = sparse.csr_array((np.ones(len(move)), (variable, move)), shape=(count, len(picked)))
        begin, matrix = np.concatenate([[0], np.cumsum(counts)]), sparse.csc_array(own @ incidence)
        coupling = None
        if rows.edges is not None and len(rows.edges):
            coupling = Coupling.of(rows.edges, matrix, begin, members, options)
            matrix = coupling.matrix
        return cls(
            rows, np.repeat(np.arange(len(counts)), counts), begin, options, members, np.asarray(rows.loss[:count] @ incidence), matrix,
            coupling,
        )  # fmt: skip

    def chosen(self, state: IntArray) -> IntArray:
        """(L,) option per layer where component c is at move ``state[c]``."""
        out = np.zeros(self.rows.active.shape[0], np.intp)
        for members, move in zip(self.members, state, strict=True):
            out[members] = self.options[move]
        return out

    def state_of(self, chosen: IntArray) -> IntArray | None:
        """The inverse of :meth:`chosen`; None where a component's joint option is no move."""
        out = np.zeros(len(self.members), np.intp)
        for c, members in enumerate(self.members):
            want = chosen[members]
            found = [j for j in range(self.begin[c], self.begin[c + 1]) if (self.options[j] == want).all()]
            if not found:
                return None
            out[c] = found[0]
        return out

    def totals(self, state: IntArray) -> FloatArray:
        """(R,) the rows; at most 1 where they hold."""
        own = np.asarray(self.matrix[:, state].sum(axis=1), np.float64).ravel()
        return own if self.coupling is None else own + self.coupling.between(self.chosen(state))

    def cheapest(self, tries: int = 60) -> IntArray | None:
        """A state inside every row: each component at its smallest weighted load, weights growing where rows are over."""
        count = self.matrix.shape[0]
        weight = np.ones(count)
        for _ in range(tries):
            state = self._best(weight @ self.matrix, weight)
            totals = self.totals(state)
            if not count or totals.max() <= 1:
                return state
            weight *= np.exp(np.clip(2 * (totals - 1), -1, 1))
            weight /= weight.max()
        return None

    def priced(self, duals: FloatArray, tries: int = 60) -> IntArray | None:
        """A state inside every row: each component at its smallest loss plus price of its load, prices growing where rows are over."""
        price = duals.copy()
        floor = float(self.loss.max() or 1.0) * 1e-6
        for _ in range(tries):
            state = self._best(self.loss + price @ self.matrix, price)
            totals = self.totals(state)
            if not len(totals) or totals.max() <= 1:
                return state
            over = totals > 1
            price[over] = np.maximum(price[over], floor) * (1 + np.minimum(totals[over] - 1, 1))
        return self.cheapest(tries)

    def _best(self, score: FloatArray, price: FloatArray) -> IntArray:
        """The state with the least score, (J,), and price, (R,), of the edges."""
        if self.coupling is not None:
            return self.coupling.spanning.best(score, price)
        order = np.lexsort((self.loss, score, self.component))
        first: IntArray = order[self.begin[:-1]]
        return first


def _joint(component: Component, rows: Rows, active: BoolArray, load: FloatArray) -> IntArray:
    """Joint options of tied layers; where they do not factor, those with one pair for all of the component."""
    choices = rows.program.choices
    loss = np.where(active, rows.program.loss, np.inf)
    try:
        found = [front(component, choices, active, load, loss).options]
        if rows.edges is not None and np.isin(rows.edges.ends, component.members).any():
            # what the neighbours ask for may lie behind the front: the best in each activation format too
            codes = np.unique(choices.activation_code)
            found += [front(component, choices, active & (choices.activation_code == c), load, loss).options for c in codes]
        return np.unique(np.concatenate(found), axis=0) if len(found) > 1 else found[0]
    except SolverError:
        common = np.flatnonzero(active[list(component.members)].all(axis=0))
        return np.repeat(common[:, None], len(component.members), axis=1)
