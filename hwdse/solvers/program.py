"""A problem as arrays: what every solver shares and no limit changes.

The integer program, with x[l, o] = 1 where layer l takes option o:

    min  sum_lo loss[l, o] x[l, o]   s.t.  sum_o x[l, o] = 1,   sum_lo cells[r, l, o] x[l, o] <= limit - fixed[r],   ties.

Where a row has edges, a variable per pair of classes joins them: :mod:`~hwdse.solvers.links`.

Losses are increments over each layer's smallest, so that 0 is the value without a budget and tolerances are relative to
what a choice can change. Limits are divided out row by row later, in :mod:`~hwdse.solvers.rows`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..choices import BoolArray, Choices, IntArray
from ..costs import CostTable, FloatArray
from ..edges import Edges
from ..problem import Problem
from .components import Component, components
from .links import Link, links

# Half of the rounding error that a constraint forgives: sums added in another order than the table's stay inside it.
FORGIVEN = 5e-13


@dataclass(frozen=True, eq=False)
class Block:
    """The rows of one cost table: entry e adds ``cells[e, o]`` to row ``row[e]`` where layer ``layer[e]`` takes option o.

    ``edges`` are the table's, each (row, pair of layers) once.
    """

    table: CostTable
    row: IntArray
    layer: IntArray
    cells: FloatArray
    edges: Edges | None

    @classmethod
    def of(cls, table: CostTable) -> Block:
        """Entries of one (row, layer) pair added up, so that each pair stands once."""
        pair = table.row * len(table.layers) + table.layer
        unique, place = np.unique(pair, return_inverse=True)
        cells = np.zeros((len(unique), len(table.options)))
        np.add.at(cells, place, table.cells)
        return cls(table, unique // len(table.layers), unique % len(table.layers), cells, table.edges and table.edges.merged())


@dataclass(frozen=True, eq=False)
class Program:
    """The arrays of one problem, for budgets on the metrics that ``blocks`` names.

    Attributes:
        choices: the decision space.
        loss: (L, O) loss over the layer's smallest, in nats; +inf where not allowed.
        base: the smallest loss without a budget or ties, in nats.
        active: (L, O) options worth looking at: allowed, and not dominated by another one in loss and in every cost.
        blocks: rows by metric key.
    """

    choices: Choices
    loss: FloatArray
    base: float
    active: BoolArray
    blocks: Mapping[str, Block]

    @classmethod
    def of(cls, problem: Problem, metrics: Iterable[str]) -> Program:
        """The program of ``problem`` for budgets on ``metrics`` (keys)."""
        choices = problem.choices
        allowed = choices.allowed
        raw = np.full(allowed.shape, np.inf)
        entries = Block.of(problem.loss)
        raw[allowed] = 0.0
        raw[entries.layer] += entries.cells
        least = raw.min(axis=1, keepdims=True)
        loss = raw - least
        base = float(least.sum() + problem.loss.fixed[0])
        blocks = {key: Block.of(problem.table[key]) for key in dict.fromkeys(metrics)}
        return cls(choices, loss, base, allowed & ~_dominated(choices, loss, tuple(blocks.values())), blocks)

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """Pairs of layers that some row charges for together."""
        return links([block.edges for block in self.blocks.values() if block.edges is not None], self.active)

    @cached_property
    def components(self) -> tuple[Component, ...]:
        """Layers that ties connect, a component each."""
        return components(self.choices)

    def value(self, chosen: IntArray) -> float:
        """Loss of one allocation (L,) over the smallest without a budget."""
        return float(self.loss[np.arange(len(chosen)), chosen].sum())


def _dominated(choices: Choices, loss: FloatArray, blocks: tuple[Block, ...]) -> BoolArray:
    """(L, O) options that another allowed one of the layer beats or equals in loss and every cost, with the tied widths equal."""
    out = np.zeros_like(choices.allowed)
    count = len(choices.options)
    tied = {
        "weight": {choices.position[n] for tie in choices.weight_ties for n in tie},
        "activation": {choices.position[n] for tie in choices.activation_ties for n in tie},
    }
    order = [np.argsort(block.layer, kind="stable") for block in blocks]
    edges = [np.searchsorted(block.layer[o], np.arange(len(choices.layers) + 1)) for block, o in zip(blocks, order, strict=True)]
    earlier = np.tri(count, k=-1, dtype=bool)  # [a, b]: b < a; of equals, the first stays
    for i in range(len(choices.layers)):
        open_ = np.flatnonzero(choices.allowed[i])
        if len(open_) == 1:
            continue
        parts = [loss[i, open_][None]]
        for block, o, edge in zip(blocks, order, edges, strict=True):
            parts.append(block.cells[o[edge[i] : edge[i + 1]]][:, open_])
            if block.edges is not None:  # whatever the neighbour takes
                parts.append(_toward(block.edges, i, choices.allowed)[:, open_])
        values = np.concatenate(parts)
        below = (values[:, None, :] <= values[:, :, None]).all(axis=0)  # [a, b]: b is nowhere above a
        for what, code in (("weight", choices.weight_code), ("activation", choices.activation_code)):
            if i in tied[what]:
                below &= code[open_][None, :] == code[open_][:, None]
        first = earlier[: len(open_), : len(open_)]
        out[i, open_] = (below & (~below.T | first)).any(axis=1)
    return out


def _toward(edges: Edges, layer: int, allowed: BoolArray) -> FloatArray:
    """(., O) what edges cost a layer at each option, a line per edge and option of the layer at its other end."""
    first, second = edges.ends.T
    lines = [edges.cells[p][:, allowed[second[p]]].T for p in np.flatnonzero(first == layer)]
    lines += [edges.cells[p][allowed[first[p]]] for p in np.flatnonzero(second == layer)]
    return np.unique(np.concatenate([np.zeros((1, allowed.shape[1])), *lines]), axis=0)
