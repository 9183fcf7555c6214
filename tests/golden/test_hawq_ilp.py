"""The 18 integer programs of HAWQ-V3 (Zhen-Dong/HAWQ, MIT) on ResNet-18 and ResNet-50, against their exact optima.

min sum_l trace_l * delta_l(b_l), b in {4, 8}, under model size, multiply-accumulates ("bops") or measured T4 latency, with the
layers of a residual join tied. The limit is cost4 + f (cost8 - cost4); the published objective is the loss less that of all-4-bit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hwdse.choices import Choices
from hwdse.constraints import Budget, Constraint
from hwdse.costs import CostTable
from hwdse.formats import LayerFormat
from hwdse.metrics import BITOPS, LATENCY, LOSS, WEIGHTS
from hwdse.problem import Problem
from hwdse.solvers import solve, solve_many

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "hawq"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the HAWQ-V3 tables are not beside the repository")

OPTIONS = (LayerFormat.of(4, 4), LayerFormat.of(8, 8))
TIES = {
    "resnet18": [(4, 6), (9, 11), (14, 16)],
    "resnet50": [(0, 3), (10, 13), (23, 26), (42, 45)],
}
CASES = [(m, c, f) for m in TIES for c in ("modelsize", "bops", "latency") for f in (0.25, 0.5, 0.75)]


def costs(model: str, constraint: str) -> tuple[CostTable, pd.DataFrame]:
    """Cost at 4 and at 8 bits. Sizes are in bytes; latency in the file's milliseconds is stored in seconds."""
    rows = pd.read_csv(DATA / f"{model}_ilp.csv")
    four, eight = {
        "modelsize": (rows.params * 0.5, rows.params * 1.0),
        "bops": (rows.macs * 16.0, rows.macs * 64.0),
        "latency": (rows.latency_int4_ms / 1e3, rows.latency_int8_ms / 1e3),
    }[constraint]
    metric = {"modelsize": WEIGHTS, "bops": BITOPS, "latency": LATENCY}[constraint]
    layers = tuple(f"x{i}" for i in rows["index"])
    return CostTable.one_row(metric, layers, OPTIONS, np.stack([four, eight], axis=1)), rows


def problem(model: str, constraint: str, fraction: float) -> Problem:
    table, rows = costs(model, constraint)
    ties = tuple(tuple(f"x{i}" for i in tie) for tie in TIES[model])
    choices = Choices(table.layers, OPTIONS, np.ones((len(rows), 2), bool), ties, ties)
    trace = rows.hutchinson_trace_normalized.to_numpy()
    deltas = rows[["delta_w_4bit_sq", "delta_w_8bit_sq"]].to_numpy()
    four, eight = (float(table.cells[:, j].sum()) for j in (0, 1))
    limit = four + fraction * (eight - four)
    loss = CostTable.one_row(LOSS, table.layers, OPTIONS, trace[:, None] * deltas)
    return Problem(choices, loss, (table,), Budget((Constraint(table.metric, limit),)))


def optimum(model: str, constraint: str, fraction: float) -> pd.Series:
    every = pd.read_csv(DATA / "ilp_optimal_solutions.csv")
    found = every[(every.model == model) & (every.constraint == constraint) & (every.fraction == fraction)]
    assert len(found) == 1
    return found.iloc[0]


def objective(p: Problem, loss: float) -> float:
    """The published objective: sum of trace (delta8 - delta4) over the layers at 8 bits."""
    return loss - p.loss_of(p.choices.uniform(LayerFormat.of(4, 4)))


@pytest.mark.parametrize("method", ["milp", "lagrangian"])
@pytest.mark.parametrize(("model", "constraint", "fraction"), CASES)
def test_exact_solvers_find_the_optimum(model: str, constraint: str, fraction: float, method: str) -> None:
    p, best = problem(model, constraint, fraction), optimum(model, constraint, fraction)
    found = solve(p, method)
    assert found.status == "OPTIMAL"
    assert objective(p, found.loss) == pytest.approx(best.objective, rel=1e-9)
    weights = [str(found.allocation[name].weight.bits) for name in p.choices.layers]
    assert " ".join(weights) == best.w_bits


@pytest.mark.parametrize("method", ["greedy", "relaxed"])
@pytest.mark.parametrize(("model", "constraint", "fraction"), CASES)
def test_heuristics_stay_between_their_bound_and_twice_the_loss(model: str, constraint: str, fraction: float, method: str) -> None:
    p, best = problem(model, constraint, fraction), optimum(model, constraint, fraction)
    found = solve(p, method)
    assert found.status == "FEASIBLE"
    assert objective(p, found.bound) <= best.objective * (1 - 1e-9)  # objectives are negative
    assert best.objective - 1e-9 <= objective(p, found.loss) <= 0.9 * best.objective


@pytest.mark.parametrize(("model", "constraint", "fraction"), CASES)
def test_the_published_solution_is_the_optimum_but_for_one(model: str, constraint: str, fraction: float) -> None:
    p, best = problem(model, constraint, fraction), optimum(model, constraint, fraction)
    published = p.choices.indices(
        {n: LayerFormat.of(int(b), int(b)) for n, b in zip(p.choices.layers, best.published_w_bits.split(), strict=True)}
    )
    assert p.feasible(published)[0]
    loss = float(p.loss.totals(published)[0])
    found = solve(p)
    if (model, constraint, fraction) == ("resnet50", "modelsize", 0.25):
        assert found.loss < loss * (1 - 1e-4)
    else:
        assert found.loss == pytest.approx(loss, rel=1e-12)


def test_three_budgets_of_one_table_in_one_call() -> None:
    p = problem("resnet50", "latency", 0.5)
    budgets = [problem("resnet50", "latency", f).budget for f in (0.25, 0.5, 0.75)]
    for fraction, found in zip((0.25, 0.5, 0.75), solve_many(p, budgets), strict=True):
        assert not isinstance(found, Exception)
        assert objective(p, found.loss) == pytest.approx(optimum("resnet50", "latency", fraction).objective, rel=1e-9)
