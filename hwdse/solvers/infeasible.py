"""Why no allocation meets a budget: which limits conflict, and what can be reached instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse

from ..choices import IntArray
from ..constraints import Budget, Constraint
from ..errors import InfeasibleBudget, SolverError
from ..problem import Problem
from . import integer
from .components import contradiction, front
from .program import Block, Program
from .rows import Rows, cover, tie_rows, tightest


def explain(problem: Problem) -> InfeasibleBudget:
    """The error for a budget that cannot be met, naming the smallest set of limits that conflict.

    Raises:
        SolverError: the budget can be met after all. UsageError: the ties cannot be held, whatever the budget.
    """
    tied_up(problem)
    limits = tightest(problem.budget)
    constraints = list({c.metric.key: c for c in problem.budget if c.limit == limits[c.metric.key]}.values())
    for one in constraints:
        value, _ = _least(problem, one, ())
        if not one.holds(value):
            return _alone(one, value)
    conflict = list(constraints)
    for one in constraints:  # whatever can go without making it feasible is no part of the conflict
        fewer = [c for c in conflict if c is not one]
        if fewer and not _fits(problem, fewer):
            conflict = fewer
    if len(conflict) < 2 or _fits(problem, conflict):
        raise SolverError("the integer solver called a budget infeasible that can be met; try method 'lagrangian' or 'greedy'.")
    first, *others = conflict
    value, _ = _least(problem, first, others)
    return _together(first, others, value)


def tied_up(problem: Problem) -> None:
    """Raises UsageError where no widths hold all the ties between some layers."""
    program = Program.of(problem, ())
    zero = np.zeros_like(program.loss)
    for component in program.components:
        if component.tree:
            if not len(front(component, problem.choices, problem.choices.allowed, zero, zero).cost):
                raise contradiction(problem.choices, component)
            continue
        active = np.zeros_like(problem.choices.allowed)
        layers = list(component.members)
        active[layers] = problem.choices.allowed[layers]
        layer, option = np.nonzero(active)
        group = np.searchsorted(layers, layer)
        nothing = sparse.csr_array((0, len(layer)))
        ties = tie_rows(problem.choices, layer, option, layers)
        if integer.minimise(np.zeros(len(layer)), group, nothing, ties).state == "infeasible":
            raise contradiction(problem.choices, component)


def feasible(problem: Problem, time_limit: float | None = None) -> IntArray:
    """Any allocation (L,) inside the budget.

    Raises:
        InfeasibleBudget: there is none. SolverError: none was found in time.
    """
    constraints = list(problem.budget)
    if not constraints:
        raise explain(problem)
    value, chosen = _least(problem, constraints[0], constraints[1:], time_limit)
    if chosen is None or not constraints[0].holds(value):
        raise explain(problem)
    return chosen


def _fits(problem: Problem, constraints: Sequence[Constraint]) -> bool:
    value, _ = _least(problem, constraints[0], constraints[1:])
    return constraints[0].holds(value)


def _least(
    problem: Problem, target: Constraint, others: Sequence[Constraint], time_limit: float | None = None
) -> tuple[float, IntArray | None]:
    """The smallest reachable cost under the other limits, in stored units, and where; inf where they conflict by themselves."""
    limits = tightest(Budget(tuple(others)))
    key = target.metric.key
    limits.pop(key, None)
    program = Program.of(problem, [key, *limits])
    rows = Rows.of(program, limits)
    if rows is None:
        return np.inf, None
    block = program.blocks[key]
    if not limits and block.table.rows == 1 and not program.links and all(c.tree for c in program.components):
        chosen = _separate(program, block)
    else:
        found = _search(problem, rows, block, limits, time_limit)
        if found is None:
            return np.inf, None
        chosen = found
    return float(block.table.totals(chosen)[0]), chosen


def _separate(program: Program, block: Block) -> IntArray:
    """One row, no other limit: each component by itself."""
    cells = np.zeros_like(program.loss)
    cells[block.layer] = block.cells
    chosen = np.zeros(len(cells), np.intp)
    for component in program.components:
        best = front(component, program.choices, program.active, np.zeros_like(cells), cells)
        if not len(best.cost):
            raise contradiction(program.choices, component)
        chosen[list(component.members)] = best.options[0]
    return chosen


def _search(problem: Problem, rows: Rows, block: Block, limits: Mapping[str, float], time_limit: float | None) -> IntArray | None:
    """Integer program for the smallest largest row of ``block``; None where the limits conflict."""
    matrix = rows.terms(block)
    cuts: list[integer.Cut] = []
    for _ in range(50):
        peak = (matrix, block.table.fixed) if block.table.rows > 1 else None
        objective = matrix.toarray()[0] if peak is None else np.zeros(len(rows.loss))
        outcome = integer.minimise(
            objective, rows.group, rows.matrix, rows.ties, whole=len(rows.layer), cuts=cuts, peak=peak, time_limit=time_limit
        )
        if outcome.state == "infeasible":
            return None
        if outcome.chosen is None:
            raise SolverError(f"no allocation inside the budget was found in {time_limit:.3g} s; allow more time.")
        chosen = rows.decided(outcome.chosen)
        broken = [k for k, limit in limits.items() if not Constraint(problem.table[k].metric, limit).holds(
            float(problem.table[k].totals(chosen)[0]))]  # fmt: skip
        if not broken:
            return chosen
        cuts.append(cover(rows, outcome.chosen))
    raise SolverError("the integer solver keeps returning allocations over budget by a rounding error; move the limit a little.")


def _alone(one: Constraint, value: float) -> InfeasibleBudget:
    metric = one.metric
    limit, reach = metric.apart(one.limit, value)
    return InfeasibleBudget(
        f"{metric.key} <= {limit} cannot be met: the smallest reachable {metric.key} is {reach}. "
        f"Raise the limit to {reach} or more, or allow narrower widths.",
        metric.key, one.limit, value,
    )  # fmt: skip


def _together(first: Constraint, others: Sequence[Constraint], value: float) -> InfeasibleBudget:
    metric = first.metric
    limit, reach = metric.apart(first.limit, value)
    given = " and ".join(map(str, others))
    text = f"with {given} the smallest reachable {metric.key} is {reach}, the limit is {limit}. "
    if len(others) == 1:
        text += f"Each can be met alone: raise {metric.key} to {reach} or more, or give {others[0].metric.key} more room."
        return InfeasibleBudget(text, metric.key, first.limit, value, others[0].metric.key)
    text += f"All {len(others) + 1} limits conflict together, and any fewer of them can be met: raise one of them."
    return InfeasibleBudget(text, metric.key, first.limit, value)
