"""Random decision spaces and small problems."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from hwdse.choices import Choices
from hwdse.constraints import Budget, Constraint
from hwdse.costs import CostTable, FloatArray
from hwdse.errors import UsageError
from hwdse.formats import LayerFormat, grid, listed
from hwdse.metrics import BITOPS, ENERGY, LATENCY, LOSS, WEIGHTS, Metric
from hwdse.problem import Problem
from hwdse.testing import everything
from hwdse.testing.problems import random_edges

METRICS = (LATENCY, WEIGHTS, BITOPS, ENERGY)
OPTION_SETS = (
    grid([4, 8], [8]),
    grid([2, 4, 8], [4, 8]),
    grid([2, 3, 4], [2, 3, 4]),
    (LayerFormat.of(4, 4), LayerFormat.of(8, 8)),
    (LayerFormat.of(4, 16), LayerFormat.of(4, 4), LayerFormat.of(8, 8)),
)


def spaces(max_layers: int = 5, ties: bool = True) -> st.SearchStrategy[Choices]:
    """Decision spaces with pins and ties of both kinds."""

    @st.composite
    def build(draw: st.DrawFn) -> Choices:
        options = listed(draw(st.sampled_from(OPTION_SETS)))
        count = draw(st.integers(1, max_layers))
        layers = tuple(f"l{i}" for i in range(count))
        rng = np.random.default_rng(draw(st.integers(0, 2**32)))
        allowed = rng.random((count, len(options))) < draw(st.sampled_from([1.0, 1.0, 0.8]))
        allowed[~allowed.any(axis=1)] = True
        for i in range(count):
            if draw(st.integers(0, 5)) == 0:
                keep = int(rng.choice(np.flatnonzero(allowed[i])))
                allowed[i] = np.arange(len(options)) == keep
        group = st.lists(st.sampled_from(layers), min_size=min(2, count), max_size=3, unique=True).map(tuple)
        pairs = st.lists(group, max_size=2)
        weight_ties, activation_ties = (draw(pairs), draw(pairs)) if ties and count > 1 else ([], [])
        try:
            tied = Choices(layers, options, allowed, tuple(weight_ties), tuple(activation_ties))
            return tied if len(everything(tied)) else Choices(layers, options, allowed)
        except UsageError:  # ties that contradict the pins: the same space without them
            return Choices(layers, options, allowed)

    return build()


def cells(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> FloatArray:
    """Costs that are not monotone in the widths, with equal ones, zeros, or a wide range among them."""
    if kind == "integers":
        return rng.integers(0, 8, shape).astype(float)
    if kind == "wide":
        return 10.0 ** rng.uniform(-6, 6, shape)
    if kind == "zeros":
        return np.zeros(shape)
    return rng.random(shape)


KINDS = ("uniform", "uniform", "integers", "wide", "zeros")


def problems(
    max_layers: int = 5, max_budgets: int = 2, max_rows: int = 3, ties: bool = True, min_budgets: int = 0, edges: float = 0.5
) -> st.SearchStrategy[Problem]:
    """Small problems: one-row and many-row tables, a share ``edges`` of them with edges, unsupported cells, limits from out of reach
    to slack.
    """

    @st.composite
    def build(draw: st.DrawFn) -> Problem:
        choices = draw(spaces(max_layers, ties))
        rng = np.random.default_rng(draw(st.integers(0, 2**32)))
        shape = choices.allowed.shape
        loss = CostTable.one_row(
            LOSS, choices.layers, choices.options,
            cells(rng, shape, draw(st.sampled_from(KINDS))) * 10.0 ** draw(st.sampled_from([0, 0, -12, 12])),
        )  # fmt: skip
        tables = []
        for metric in METRICS[: draw(st.integers(min_budgets, max_budgets))]:
            table = _table(rng, metric, choices, draw(st.integers(1, max_rows)), draw(st.sampled_from(KINDS)))
            if rng.random() < edges:
                scale = 10.0 ** draw(st.sampled_from([0, 0, -6, 6]))
                table = replace(table, edges=random_edges(rng, *shape, table.rows, scale))
            tables.append(_scaled(table, 10.0 ** draw(st.sampled_from([0, 0, -12, 12]))))
        problem = Problem(choices, loss, tuple(tables))
        if draw(st.integers(0, 3)) == 0:
            problem = _with_unsupported(rng, problem)
        all_ = everything(problem.choices)
        limits = []
        for table in problem.costs:
            totals = np.unique(table.totals(all_))
            kind = draw(st.sampled_from(["at", "at", "between", "below", "above"]))
            if kind == "at":  # exactly the cost of some allocation
                limit = float(totals[draw(st.integers(0, len(totals) - 1))])
            elif kind == "between":
                limit = float(np.quantile(totals, draw(st.floats(0, 1))))
            else:
                limit = float(totals[0] * 0.99) if kind == "below" else float(totals[-1] * 1.5 + 1)
            limits.append(Constraint(table.metric, limit))
        return problem.with_budget(Budget(tuple(limits)))

    return build()


def _table(rng: np.random.Generator, metric: Metric, choices: Choices, rows: int, kind: str) -> CostTable:
    count, options = choices.allowed.shape
    if rows == 1:
        body = cells(rng, (count, options), kind)
        return CostTable.one_row(metric, choices.layers, choices.options, body, float(rng.choice([0.0, 0.5])))
    touched = [(r, i) for r in range(rows) for i in range(count) if rng.random() < 0.7] or [(0, 0)]
    body = cells(rng, (len(touched), options), kind)
    return CostTable(
        metric, choices.layers, choices.options, body, np.array([r for r, _ in touched]), np.array([i for _, i in touched]),
        rng.choice([0.0, 0.3], rows), np.zeros(body.shape, np.int8),
    )  # fmt: skip


def _with_unsupported(rng: np.random.Generator, problem: Problem) -> Problem:
    """Some cells at infinity, where that leaves anything."""
    tables = []
    for table in (*problem.costs, problem.loss):
        lost = rng.random(table.cells.shape) < 0.15
        tables.append(replace(table, cells=np.where(lost, np.inf, table.cells)))
    try:
        fewer = Problem(problem.choices, tables[-1], tuple(tables[:-1]))
    except UsageError:
        return problem
    return fewer if len(everything(fewer.choices)) else problem


def _scaled(table: CostTable, factor: float) -> CostTable:
    edges = table.edges and replace(table.edges, cells=table.edges.cells * factor)
    return replace(table, cells=table.cells * factor, fixed=table.fixed * factor, edges=edges)
