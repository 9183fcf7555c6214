"""Small random problems and brute force over them, the oracle that solvers and allocators are held against."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from ..choices import Choices, IntArray
from ..constraints import Budget, Constraint
from ..costs import CostTable
from ..edges import Edges
from ..errors import UsageError
from ..formats import grid
from ..metrics import LATENCY, LOSS, WEIGHTS
from ..problem import Problem


def everything(choices: Choices) -> IntArray:
    """(N, L) every combination of allowed options that holds the ties. Exponential: for a handful of layers."""
    lists = [np.flatnonzero(row).tolist() for row in choices.allowed]
    every = np.array(list(itertools.product(*lists)), np.intp)
    return every[choices.permits(every)]


def brute_force(problem: Problem) -> tuple[float, IntArray] | None:
    """The smallest loss inside the budget and the allocation (L,) that has it; None where nothing is inside."""
    every = everything(problem.choices)
    good = every[problem.feasible(every)]
    if not len(good):
        return None
    losses = problem.loss.totals(good)
    best = int(np.argmin(losses))
    return float(losses[best]), good[best]


def random_edges(rng: np.random.Generator, layers: int, options: int, rows: int = 1, scale: float = 1.0) -> Edges | None:
    """Up to ``2 * layers`` edges between random pairs of layers, in either direction, some pairs twice; None for one layer.

    Half of them are conversions (nothing within a class of options, something between classes), the others any matrix.
    """
    if layers < 2:
        return None
    count = int(rng.integers(1, 2 * layers + 1))
    ends = np.array([rng.permutation(layers)[:2] for _ in range(count)], np.intp)
    cells = rng.random((count, options, options)) * scale
    classes = rng.integers(0, 3, (count, options))
    same = classes[:, :, None] == classes[:, None, :]
    flat = np.where(same, 0.0, cells[:, :1, :1])
    return Edges(ends, rng.integers(0, rows, count).astype(np.intp), np.where(rng.random((count, 1, 1)) < 0.5, flat, cells))


def random_problem(seed: int, layers: int = 4, budgets: int = 1, rows: int = 1, loss_scale: float = 1.0, edges: bool = False) -> Problem:
    """A problem small enough for :func:`brute_force`: 1 to ``layers`` layers at {2, 4, 8} x {4, 8} bits.

    ``edges`` adds :func:`random_edges` to the costs. Costs are not monotone in the widths, some cells are unsupported, some layers are
    tied, and the limits lie anywhere between just out of reach and slack. The same seed gives the same problem.
    """
    rng = np.random.default_rng(seed)
    names = tuple(f"layer{i}" for i in range(int(rng.integers(1, layers + 1))))
    options = grid((2, 4, 8), (4, 8))
    shape = (len(names), len(options))
    choices = Choices(names, options, np.ones(shape, bool))
    if len(names) > 1 and rng.random() < 0.5:
        tie = (names[:2],)
        choices = replace(choices, weight_ties=tie) if rng.random() < 0.5 else replace(choices, activation_ties=tie)
    tables = []
    for metric in (LATENCY, WEIGHTS)[:budgets]:
        entries = [(r, i) for r in range(rows) for i in range(len(names))]
        cells = rng.random((len(entries), len(options)))
        cells[rng.random(cells.shape) < 0.03] = np.inf
        cells[:, -1] = np.where(np.isinf(cells[:, -1]), 1.0, cells[:, -1])
        row, layer = (np.array(column, np.intp) for column in zip(*entries, strict=True))
        fixed, sources = rng.random(rows), np.zeros(cells.shape, np.int8)
        table = CostTable(metric, names, options, cells, row, layer, fixed, sources)
        tables.append(replace(table, edges=random_edges(rng, len(names), len(options), rows)) if edges else table)
    loss = CostTable.one_row(LOSS, names, options, rng.random(shape) * loss_scale)
    try:
        problem = Problem(choices, loss, tuple(tables))
    except UsageError:  # unsupported cells that leave nothing to tied layers: the same without ties
        problem = Problem(Choices(names, options, np.ones(shape, bool)), loss, tuple(tables))
    every = everything(problem.choices)
    limits = []
    for table in problem.costs:
        totals = np.sort(table.totals(every))
        place = rng.uniform(-0.1, 1.1)
        limits.append(Constraint(table.metric, float(totals[0] + place * (totals[-1] - totals[0]))))
    return problem.with_budget(Budget(tuple(limits)))
