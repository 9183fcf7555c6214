"""The linear relaxation, rounded down-feasibly: a bound, shadow prices, and an allocation that is never over budget.

For tables of any shape the relaxation is over the one-hot x in [0, 1] (convex hull of each layer's options). Where the widths are free
reals and the budget is on average bits, :mod:`~hwdse.solvers.water_filling` has the closed form.
"""

from __future__ import annotations

from ..choices import IntArray
from ..problem import Problem, Solution
from .answer import Answer
from .clock import Clock
from .greedy import start_anywhere
from .infeasible import explain
from .linear import Relaxation, relax
from .moves import Moves
from .prices import relaxed_program
from .program import Program
from .rows import Rows, tightest
from .walk import climb


def relaxed(problem: Problem, *, time_limit: float | None = None, program: Program | None = None) -> Solution:
    """The bound and prices of the linear program over all allowed options, with an allocation rounded from it.

    Raises:
        InfeasibleBudget: no allocation is inside.
    """
    clock = Clock(time_limit)
    limits = tightest(problem.budget)
    program = program or Program.of(problem, limits)
    rows = Rows.of(program, limits)
    if rows is None:
        raise explain(problem)
    relaxation = relax(rows, clock.left)
    chosen = rounded(rows, relaxation)
    if chosen is None:
        chosen = start_anywhere(problem, rows, clock)
    linear = relaxed_program(program, limits, program.value(chosen), clock)
    return Answer(chosen, linear.bound, False, linear.prices).solution(problem, program, "relaxed", clock)


def rounded(rows: Rows, relaxation: Relaxation) -> IntArray | None:
    """An allocation (L,) from the fractional one: each component at the move with the smallest loss plus price of its load, the prices
    raised where rows are still over; then what is left of the room is spent. None where no state fits (which proves nothing).
    """
    moves = Moves.of(rows)
    if moves is None:
        return None
    state = moves.priced(relaxation.duals)
    return None if state is None else moves.chosen(climb(moves, state))
