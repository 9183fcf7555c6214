"""How long the solvers take, how far the fast ones are from the optimum, and HiGHS beside CBC, on made-up networks.

python benchmarks/solvers.py [--save]

Costs are log-normal over layers and grow with the widths (bit operations, weights, a latency with 20 % noise); losses are log-normal
times 4^-bits. One option list is {2..8} x {2..8} (49 pairs), the other {2..8} weights at 8-bit activations (7). Best of three runs;
the machine is shared, so trust the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pulp

from hwdse.choices import Choices
from hwdse.constraints import Budget, Constraint
from hwdse.costs import CostTable
from hwdse.formats import grid
from hwdse.metrics import ACTIVATIONS, BITOPS, LATENCY, WEIGHTS
from hwdse.problem import Problem, loss_table
from hwdse.solvers import integer, solve, solve_many

RESULT = Path(__file__).parent / "results" / "solvers.json"


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    packages = {name: version(name) for name in ("numpy", "scipy", "pulp", "highspy")}
    return {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), **packages}


def network(layers: int, options: int, budgets: int, seed: int = 0, tightness: float = 0.3, peak: bool = False) -> Problem:
    rng = np.random.default_rng(seed)
    pairs = grid(range(2, 9), range(2, 9) if options == 49 else [8])
    names = tuple(f"l{i}" for i in range(layers))
    choices = Choices(names, pairs, np.ones((layers, len(pairs)), bool))
    w, a = (np.array([getattr(o, k) for o in pairs]) for k in ("weight", "activation"))
    macs, params = (np.exp(rng.normal(mean, 1, (layers, 1))).round() for mean in (15, 10))
    noise = rng.uniform(0.8, 1.2, (layers, len(pairs)))
    tables = [
        CostTable.one_row(BITOPS, names, pairs, macs * w * a),
        CostTable.one_row(WEIGHTS, names, pairs, params * w / 8),
        CostTable.one_row(LATENCY, names, pairs, 1e-9 * macs * np.sqrt(w * a) * noise),
    ][:budgets]
    if peak:  # each schedule step holds the tensors that three neighbouring layers read
        steps = layers - 2
        row = np.repeat(np.arange(steps), 3)
        layer = (np.arange(steps)[:, None] + np.arange(3)).ravel()
        cells = (np.exp(rng.normal(10, 1, (layers, 1))) * a / 8)[layer]
        tables.append(CostTable(ACTIVATIONS, names, pairs, cells, row, layer, np.zeros(steps), np.zeros(cells.shape, np.int8)))
    loss = rng.lognormal(0, 2, (layers, 1)) * 4.0**-w + rng.lognormal(0, 2, (layers, 1)) * 4.0**-a
    limits = []
    for table in tables:
        low, high = table.totals(np.array([[0] * layers, [len(pairs) - 1] * layers]))
        limits.append(Constraint(table.metric, float(low + tightness * (high - low))))
    return Problem(choices, loss_table(choices, loss), tuple(tables), Budget(tuple(limits)))


def best(work: Callable[[], Any], times: int = 3) -> tuple[float, Any]:
    """Smallest wall time in seconds, and the last result."""
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - begin)
    return min(seconds), result


def one_budget() -> list[dict[str, Any]]:
    rows = []
    sizes = [(20, 7, 1, False), (50, 49, 1, False), (200, 49, 1, False), (1000, 49, 1, False)]
    sizes += [(50, 7, 3, False), (50, 49, 3, False), (1000, 7, 3, False), (50, 49, 1, True), (1000, 49, 1, True)]
    for layers, options, budgets, peak in sizes:
        problem = network(layers, options, budgets, peak=peak)
        lines = sum(table.rows for table in problem.costs)
        optimum = solve(problem)
        for method in ("lagrangian", "milp", "greedy", "relaxed"):
            if method == "lagrangian" and lines > 1:
                continue
            seconds, found = best(lambda m=method, p=problem: solve(p, m), 1 if layers == 1000 and lines > 1 else 3)
            row = {"layers": layers, "options": options, "rows": lines, "method": method, "seconds": round(seconds, 4)}
            rows.append({**row, "status": found.status, "above_optimum": round(found.loss / optimum.loss - 1, 6)})
            print("{layers:>5} layers {options:>3} options {rows:>4} rows  {method:<10} {seconds:>8.4f} s  {status:<8} "
                  "+{above_optimum:.3%}".format(**rows[-1]), flush=True)  # fmt: skip
    return rows


def many_budgets() -> list[dict[str, Any]]:
    rows = []
    for seed in range(3):
        problem = network(50, 49, 1, seed)
        table = problem.costs[0]
        low, high = table.totals(np.array([[0] * 50, [48] * 50]))
        budgets = [Budget((Constraint(table.metric, float(low + f * (high - low))),)) for f in np.linspace(0.01, 0.9, 200)]
        for method in ("auto", "greedy"):
            seconds, found = best(lambda m=method, p=problem, b=budgets: solve_many(p, b, m))
            longest = max(one.seconds for one in found)
            rows.append({"seed": seed, "budgets": 200, "method": method, "seconds": round(seconds, 3), "longest": round(longest, 4)})
            print("200 budgets of 50 x 49, seed {seed}, {method:<6} {seconds:>7.3f} s, longest {longest:.4f} s".format(**rows[-1]))
    return rows


def without_highs(program: pulp.LpProblem, time_limit: float | None) -> None:
    raise pulp.PulpSolverError("left out, to time CBC")


def processor() -> float:
    """Seconds of this process and of those it has run."""
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def two_budgets(count: int) -> list[dict[str, Any]]:
    """Two limits at 20 x 49, random tightness: processor seconds, those of CBC's own process among them."""
    problems = []
    for seed in range(count):
        problems.append(network(20, 49, 2, seed, float(np.random.default_rng(seed).uniform(0.1, 0.8))))
    rows, losses = [], {}
    highs = integer._highs
    for name, first in (("HiGHS", highs), ("CBC", without_highs)):
        integer._highs = first
        seconds, found = [], []
        for problem in problems:
            begin = processor()
            found.append(solve(problem, "milp", time_limit=60))
            seconds.append(processor() - begin)
        losses[name] = np.array([one.loss for one in found])
        proven = sum(one.status == "OPTIMAL" for one in found)
        spread = {"median": np.median(seconds), "longest": max(seconds), "sum": sum(seconds)}
        rows.append({"problems": count, "solver": name, "proven": proven} | {k: round(float(v), 3) for k, v in spread.items()})
        print("{problems} problems of 20 x 49 under two limits, {solver:<5} {proven} proven, median {median:.3f} s, "
              "longest {longest:.2f} s, in all {sum:.1f} s".format(**rows[-1]), flush=True)  # fmt: skip
    integer._highs = highs
    apart = float(np.abs(losses["HiGHS"] / losses["CBC"] - 1).max())
    print(f"largest relative difference of their losses: {apart:.2g}")
    return [*rows, {"largest_difference": apart}]


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    save = arguments.parse_args().save
    result = {"machine": machine(), "one_budget": one_budget(), "two_budgets": two_budgets(200), "many_budgets": many_budgets()}
    if save:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
