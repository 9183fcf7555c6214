"""What ``hwdse allocate`` prints of an allocation: widths, costs and how sure they are, and what a little more of a limit would buy."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwdse.constraints import Constraint
from hwdse.formats import NumberFormat
from hwdse.margins import standing
from hwdse.problem import Problem, Solution
from hwdse.workbench import Workbench

from .next_steps import More, sentence
from .show import print_table, print_text


def _format(number: NumberFormat) -> str:
    return f"{number.bits} bit" if number.plain else number.name


def print_allocation(
    bench: Workbench, problem: Problem, solution: Solution, score: tuple[float, float] | None, more: More | None, *, given: bool
) -> None:
    """Widths, costs and limits, and how good the choice is.

    Args:
        score: measured, and of FP32. more: what more of the limits would buy; None without any. given: nothing was chosen.
    """
    graph = bench.graph
    print_table(
        ["layer", "weights", "inputs", "MACs share"],
        [[n, _format(w.weight), _format(w.activation), f"{graph[n].macs / graph.macs:.1%}"] for n, w in solution.allocation.items()],
        title=f"{bench.task.name}: {solution.status.lower()} by {solution.solver}, {solution.seconds * 1e3:.0f} ms",
    )
    print_text()
    limits = {c.metric.key: c for c in problem.budget}
    rows = []
    for key, table in problem.table.items():
        m, cost = table.metric, solution.costs[key]
        mine = [c for c in problem.budget if c.metric.key == key]
        tight = min(mine, key=lambda c: c.limit) if key in limits else None
        indices = problem.choices.indices(solution.allocation)
        shares, error = table.by_source(indices), table.error(indices)
        rows.append(
            [
                key,
                m.format(cost),
                m.format(tight.limit) if tight else "",
                f"{m.format(solution.slack[str(tight)], like=tight.limit)} ({solution.slack[str(tight)] / tight.limit:.1%})"
                if tight and tight.limit
                else "",
                standing(solution.slack[str(tight)], error) if tight else "",
                "unknown" if np.isnan(error) else f"{error / cost:.1%}" if error and cost else "",
                ", ".join(f"{source} {share:.0%}" for source, share in shares.items() if share >= 0.005),
            ]
        )
    print_table(["cost", "value", "limit", "slack", "limit is ", "may be off", "where the number comes from "], rows)
    print_text()
    if score is not None:
        metric, (found, reference) = bench.task.metric, score
        print_text(
            f"Measured {metric.name} on the validation split: {metric.format(found)} (FP32: {metric.format(reference)})", style="bold"
        )
    for said in _warnings(problem, solution):
        print_text(said, style="bold")
    if given:
        print_text(f"Expected loss increase: {solution.loss:.4g} nats. By {problem.loss.convention or 'the loss table'}.")
        print_text("The widths were given: nothing was chosen.")
    else:
        _print_choice(problem, solution, more)


def _print_choice(problem: Problem, solution: Solution, more: More | None) -> None:
    """How good the choice is, and what limits it."""
    gap = solution.loss - solution.bound
    if solution.status == "OPTIMAL":
        proof = "proven smallest"
    else:
        proof = f"at most {gap:.2g} above the smallest possible" if gap < 1e300 else "no bound known"
    print_text(f"Expected loss increase: {solution.loss:.4g} nats, {proof}. By {problem.loss.convention or 'the loss table'}.")
    if more is not None:
        print_text(sentence(more, solution.binding))
    else:
        print_text('No budget was given: every layer has its widest choice. Give one with -b "latency <= 60% of w8a8".')


def _warnings(problem: Problem, solution: Solution) -> list[str]:
    """What must be said of limits that may not hold on the device."""
    found = []
    for limit in problem.budget:
        how, m = stands(problem, solution, limit), limit.metric
        if how["standing"] == "at risk":
            calibrated = problem.table[m.key].whole_error is not None
            found.append(
                f"At risk: {limit}. The cost may be off by {m.format(how['error'], like=limit.limit)}, more than the room of "
                f"{m.format(how['slack'], like=limit.limit)}: "
                f"{'measure this allocation' if calibrated else 'calibrate the accelerator'}, or tighten the limit."
            )
        elif how["standing"] == "error unknown":
            found.append(f"{limit} is met by an estimate whose error nobody knows: measure whole networks and calibrate the accelerator.")
    return found


def stands(problem: Problem, solution: Solution, limit: Constraint) -> dict[str, Any]:
    """How sure it is that a limit holds: slack and error in stored units, and what they come to."""
    error = problem.table[limit.metric.key].error(problem.choices.indices(solution.allocation))
    slack = solution.slack[str(limit)]
    return {"slack": slack, "error": error, "standing": standing(slack, error)}
