"""The greedy integer solver of QBitOpt (arXiv 2307.04535): from the cheapest state, take what lowers the loss most per unit
of the binding cost, until the room is spent.

Exact for one budget with equal costs; with unequal ones it has been 2 times off, so the status is FEASIBLE. Several budgets
and rows count by the row in which a step takes most of the room left.
"""

from __future__ import annotations

from ..choices import IntArray
from ..costs import FloatArray
from ..problem import Problem, Solution
from .answer import Answer
from .clock import Clock
from .infeasible import explain, feasible
from .linear import relax
from .moves import Moves
from .prices import relaxed_program
from .program import Program
from .rows import Rows, tightest
from .walk import climb


def greedy(problem: Problem, *, time_limit: float | None = None, program: Program | None = None) -> Solution:
    """An allocation inside the budget, in milliseconds.

    Its bound and shadow prices are those of the linear program. With edges between layers the walk is begun at its prices too: from the
    cheapest state, a step that makes two conversions hides what lies beyond it.

    Raises:
        InfeasibleBudget: no allocation is inside.
    """
    clock = Clock(time_limit)
    limits = tightest(problem.budget)
    program = program or Program.of(problem, limits)
    rows = Rows.of(program, limits)
    if rows is None:
        raise explain(problem)
    relaxation = relax(rows, clock.left) if program.links else None
    chosen = walk(rows, None if relaxation is None else relaxation.duals)
    if chosen is None:
        chosen = start_anywhere(problem, rows, clock)
    linear = relaxed_program(program, limits, program.value(chosen), clock)
    bound = linear.bound if relaxation is None else max(linear.bound, relaxation.bound)
    return Answer(chosen, bound, False, linear.prices).solution(problem, program, "greedy", clock)


def walk(rows: Rows, duals: FloatArray | None = None) -> IntArray | None:
    """The greedy allocation (L,) from the cheapest state, or the better one from the state at prices ``duals``, (R,), where they are given;
    None where no start was found (which proves nothing).
    """
    moves = Moves.of(rows)
    if moves is None:
        return None
    starts = [moves.cheapest(), None if duals is None else moves.priced(duals)]
    ends = [climb(moves, start) for start in starts if start is not None]
    return moves.chosen(min(ends, key=lambda state: float(moves.loss[state].sum()))) if ends else None


def start_anywhere(problem: Problem, rows: Rows, clock: Clock) -> IntArray:
    """Where the rows pull against one another: the integer program finds a start, the walk spends what is left.

    Raises:
        InfeasibleBudget: there is none.
    """
    chosen = feasible(problem, clock.left)
    moves = Moves.of(rows)
    state = None if moves is None else moves.state_of(chosen)
    return chosen if moves is None or state is None else moves.chosen(climb(moves, state))
