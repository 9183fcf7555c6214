"""One-hot integer programs through PuLP: HiGHS, and its bundled CBC where HiGHS is not installed or fails.

Their tolerances are absolute, so what they see is scaled: objective to a sum of 1e6, rows to a right-hand side of 1e4. Rows are
loosened by one part in 10^10, so that a rounding never cuts off an allocation that meets its limit exactly; one that is over is
found by the caller's check against the tables and forbidden by a cut. A warm start is not given: it made CBC's answers worse.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import pulp
from scipy import sparse

from ..choices import IntArray
from ..costs import FloatArray
from ..errors import SolverError

_OBJECTIVE, _ROW, _LOOSE = 1e6, 1e4, 1e-10
_TOLERANCE = 1e-10  # the least that HiGHS takes
_PATH = pulp.PULP_CBC_CMD.pulp_cbc_path  # the bundled one, not whatever is on the search path
Cut = tuple[IntArray, int]  # the variables of which at most so many may be 1


@dataclass(frozen=True)
class Outcome:
    """What the solver said. ``chosen`` is the index of the variable taken in each group; None where it found nothing."""

    state: Literal["optimal", "stopped", "infeasible"]
    chosen: IntArray | None


def minimise(
    objective: FloatArray,
    group: IntArray,
    rows: sparse.csr_array,
    ties: sparse.csr_array,
    *,
    whole: int | None = None,
    cuts: Sequence[Cut] = (),
    peak: tuple[sparse.csr_array, FloatArray] | None = None,
    time_limit: float | None = None,
) -> Outcome:
    """Minimises ``objective @ x`` over one-hot x.

    Args:
        objective: (V,) >= 0.
        group: (V,) ascending; exactly one variable of each group is 1.
        rows: ``rows @ x <= 1``. ties: ``ties @ x = 0``.
        whole: how many variables, from the first on, must be whole; the ties make the others so. None for all.
        cuts: sums of variables that must stay at or below a number.
        peak: (matrix, fixed): minimise ``max(matrix @ x + fixed)`` instead of ``objective``.
        time_limit: seconds.

    Raises:
        SolverError: no solver can be run, or each ended without saying what it found.
    """
    program = pulp.LpProblem("allocation", pulp.LpMinimize)
    whole = len(group) if whole is None else whole
    x = [program.add_variable(f"x{v}", 0, 1, pulp.LpInteger if v < whole else pulp.LpContinuous) for v in range(len(group))]
    edges = np.flatnonzero(np.diff(group, prepend=-1, append=group[-1] + 1))
    if peak is None:
        largest = np.maximum.reduceat(objective, edges[:-1]).sum()
        scale = _OBJECTIVE / largest if largest > 0 else 1.0
        program += pulp.LpAffineExpression([(x[v], float(scale * objective[v])) for v in np.flatnonzero(objective)])
    else:
        matrix, fixed = peak
        top = program.add_variable("top", lowBound=0)
        program += pulp.LpAffineExpression([(top, 1.0)])
        scale = _ROW / (float((matrix.max(axis=1).toarray().ravel() + fixed).max()) or 1.0)
        for terms, base in zip(_terms(matrix, x, scale), fixed, strict=True):
            program += pulp.LpAffineExpression([*terms, (top, -1.0)]) <= -scale * float(base)
    for begin, end in pairwise(edges):
        program += pulp.LpAffineExpression([(one, 1.0) for one in x[begin:end]]) == 1
    for terms in _terms(rows, x, _ROW):
        program += pulp.LpAffineExpression(terms) <= _ROW * (1 + _LOOSE)
    for terms in _terms(ties, x, 1.0):
        program += pulp.LpAffineExpression(terms) == 0
    for variables, most in cuts:
        program += pulp.LpAffineExpression([(x[v], 1.0) for v in variables]) <= most
    state = _run(program, time_limit)
    if state == "infeasible":
        return Outcome(state, None)
    values = np.array([one.value() or 0.0 for one in x])
    chosen = np.array([begin + int(np.argmax(values[begin:end])) for begin, end in pairwise(edges)])
    if state == "stopped" and values[chosen].min() < 0.5:  # it stopped before it had an integer solution
        return Outcome(state, None)
    return Outcome(state, chosen)


def _terms(matrix: sparse.csr_array, x: list[pulp.LpVariable], scale: float) -> list[list[tuple[pulp.LpVariable, float]]]:
    """The rows of a matrix as PuLP terms."""
    out = []
    for begin, end in pairwise(matrix.indptr):
        columns, values = matrix.indices[begin:end], scale * matrix.data[begin:end]
        out.append([(x[v], float(c)) for v, c in zip(columns, values, strict=True) if c])
    return out


def _run(program: pulp.LpProblem, time_limit: float | None) -> Literal["optimal", "stopped", "infeasible"]:
    """Runs HiGHS, and CBC where HiGHS is not there or fails."""
    failed = []
    for name, attempt in (("HiGHS", _highs), ("CBC", _cbc)):
        try:
            attempt(program, time_limit)
        except (pulp.PulpSolverError, OSError, IndexError, ValueError) as error:
            failed.append(f"{name} cannot be run: {error}")
            continue
        # a time limit leaves PuLP's status at Optimal: only sol_status tells
        if program.sol_status == pulp.LpSolutionOptimal:
            return "optimal"
        if program.status == pulp.LpStatusInfeasible:
            return "infeasible"
        if time_limit is not None or program.sol_status == pulp.LpSolutionIntegerFeasible:
            return "stopped"
        failed.append(f"{name} ended with status '{pulp.LpStatus[program.status]}' and no answer")
    raise SolverError(f"no integer solver gave an answer: {'; '.join(failed)}. Try method 'greedy', or install highspy anew.")


def _highs(program: pulp.LpProblem, time_limit: float | None) -> None:
    """One thread: the same problem has the same answer."""
    tolerances = dict.fromkeys(("mip_feasibility_tolerance", "primal_feasibility_tolerance", "dual_feasibility_tolerance"), _TOLERANCE)
    exact = {"gapRel": 0, "gapAbs": 0, "threads": 1, "random_seed": 0, "mip_allow_restart": False}  # restarts double the time
    _Interruptible(msg=False, timeLimit=time_limit, **exact, **tolerances).actualSolve(program)


def _cbc(program: pulp.LpProblem, time_limit: float | None) -> None:
    seconds = None if time_limit is None else max(1, math.ceil(time_limit))
    with tempfile.TemporaryDirectory(prefix="hwdse-cbc-") as folder:
        solver = pulp.COIN_CMD(path=_PATH, msg=False, gapRel=0, gapAbs=0, timeLimit=seconds, options=["integerTolerance 1e-9"])
        solver.tmpDir = folder
        program.solve(solver)


class _Interruptible(pulp.HiGHS):  # type: ignore[misc]  # PuLP ships no types
    """HiGHS in a thread of its own, which Ctrl-C stops: by itself it holds every signal back until it ends."""

    def callSolver(self, lp: pulp.LpProblem) -> None:  # noqa: N802 (PuLP's name)
        model = lp.solverModel
        model.HandleUserInterrupt = True
        thread = model.startSolve()
        try:
            while not model.wait(0.1)[0]:
                pass
        except BaseException:
            model.cancelSolve()
            thread.join()
            raise
