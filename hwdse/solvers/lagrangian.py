"""Exact and fast for one row in all: Lagrangian bound, fixing, and a dynamic program over Pareto fronts. Needs no integer solver."""

from __future__ import annotations

import numpy as np

from ..problem import Problem, Solution
from .answer import Answer
from .clock import Clock
from .infeasible import explain
from .knapsack import pack
from .one_row import OneRow
from .program import FORGIVEN, Program
from .rows import tightest


def lagrangian(
    problem: Problem, *, time_limit: float | None = None, program: Program | None = None, one_row: OneRow | None = None
) -> Solution:
    """The allocation with the smallest loss inside one row, or without any limit.

    Args:
        problem: a budget on at most one metric, whose table has one row. Costs may be anything, monotone in the widths or not.
        time_limit: seconds; the best allocation found by then comes back as FEASIBLE with its bound.
        program, one_row: what does not depend on the limit, where it is already made.

    Raises:
        InfeasibleBudget: no allocation is inside.
        SolverError: more than one row, edges between layers, ties that form a cycle, or too many states.
    """
    clock = Clock(time_limit)
    limits = tightest(problem.budget)
    program = program or Program.of(problem, limits)
    one_row = one_row or OneRow(program)
    fixed, limit = one_row.fixed, min(limits.values(), default=np.inf)
    packed = pack(one_row.bag, limit * (1 + FORGIVEN) - fixed, clock)
    if packed is None:
        raise explain(problem)
    chosen = np.zeros(len(program.loss), np.intp)
    for component, joint, point in zip(program.components, one_row.fronts, packed.point, strict=True):
        chosen[list(component.members)] = joint.options[point]
    answer = Answer(chosen, packed.bound, packed.proven, dict.fromkeys(limits, packed.price))
    return answer.solution(problem, program, "lagrangian", clock)
