"""The next step of a limit: the smallest larger limit at which the smallest expected loss falls. Widths come in steps, prices do not."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..constraints import Budget, Constraint
from ..errors import SolverError
from ..problem import Problem, Solution
from .clock import Clock
from .dispatch import solve

_LOWER = 1e-9  # part by which a loss must be smaller to count as a fall
_NEAR = 1e-4  # part of the limit to which the step is found
_FIRST = 1e-3  # part of the limit by which it is raised at first


@dataclass(frozen=True)
class NextStep:
    """Where the smallest expected loss falls next.

    Attributes:
        limit: the smallest larger limit that was found to lower it, in stored units: the cost of the allocation that is then the best.
        unchanged: up to this limit nothing changes: proven by solving.
        loss: the smallest expected loss at ``limit``, in nats.
    """

    limit: float
    unchanged: float
    loss: float


def next_step(problem: Problem, constraint: Constraint, now: float, time_limit: float | None = None) -> NextStep | None:
    """The next step of one limit, the others as they are; None where no larger one changes anything.

    Args:
        constraint: one of the budget's.
        now: the smallest expected loss inside the budget, proven.
        time_limit: seconds in all.

    Raises:
        SolverError: not proven in time.
    """
    clock = Clock(time_limit)
    others = [c for c in problem.budget if c is not constraint]

    def at(limit: float | None) -> Solution:
        raised = [] if limit is None else [replace(constraint, limit=limit)]
        found = solve(problem.with_budget(Budget((*others, *raised))), time_limit=clock.left)
        if found.status != "OPTIMAL":
            raise SolverError("the next step of a limit was not proven in time.")
        return found

    def lower(found: Solution) -> bool:
        return found.loss < now - _LOWER * abs(now)

    key = constraint.metric.key
    best = at(None)
    if not lower(best):
        return None
    unchanged, step = constraint.limit, _FIRST * abs(constraint.limit)
    # outwards in doubling steps, then halving what is between: each answer's own cost is the nearest limit that allows it
    while step > 0 and (limit := constraint.limit + step) < best.costs[key]:
        found = at(limit)
        if lower(found):
            best = found
            break
        unchanged, step = limit, 2 * step
    near = _NEAR * abs(constraint.limit)
    while best.costs[key] - unchanged > near:
        found = at((unchanged + best.costs[key]) / 2)
        if lower(found):
            best = found
        else:
            unchanged = (unchanged + best.costs[key]) / 2
    return NextStep(best.costs[key], unchanged, at(best.costs[key]).loss)
