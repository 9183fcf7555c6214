"""The linear relaxation of a program (HiGHS through scipy) and the bound that its duals prove.

The bound does not rest on the LP solver's tolerances: for any multipliers u >= 0 of the rows and t of the ties

    bound(u, t) = sum_l min_o (loss[l, o] + u . a[l, o] + t . d[l, o]) - sum_r u[r]

(a link of two layers counts as a layer, its pairs as options, its equations as ties)

is at or below the optimum (Lagrange), and at the LP's duals it equals the LP's value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from ..costs import FloatArray
from .rows import Rows

# what HiGHS takes at the least; its own 1e-7 loses small losses
TOLERANCES = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


@dataclass(frozen=True, eq=False)
class Relaxation:
    """What the linear program says.

    Attributes:
        bound: proven lower bound on the loss increment, at least 0.
        excess: (V,) how much the bound rises if a variable is 1: variables with ``bound + excess`` above a known answer can go.
        share: (V,) the fractional solution; None where the solver found none.
        duals: (R,) loss per whole right-hand side of each row, >= 0.
        infeasible: the LP solver calls the rows contradictory.
    """

    bound: float
    excess: FloatArray
    share: FloatArray | None
    duals: FloatArray
    infeasible: bool = False


def relax(rows: Rows, time_limit: float | None = None) -> Relaxation:
    """Solves the relaxation. A failure of the LP solver costs only tightness: the bound is then the one without rows."""
    loss, count, kept = rows.loss, len(rows.loss), rows.matrix.shape[0]
    starts = rows.starts
    scale = float(loss.max()) or 1.0
    groups = len(starts)
    of = np.repeat(np.arange(groups), np.diff(starts, append=count))
    one_hot = sparse.csr_array((np.ones(count), (of, np.arange(count))), shape=(groups, count))
    equal = sparse.csr_array(sparse.vstack([one_hot, rows.ties])) if rows.ties.shape[0] else one_hot
    right = np.concatenate([np.ones(groups), np.zeros(rows.ties.shape[0])])
    solver: Any = linprog  # its stubs do not know sparse matrices
    options = dict(TOLERANCES) if time_limit is None else {**TOLERANCES, "time_limit": float(time_limit)}
    answer = solver(
        loss / scale, A_ub=rows.matrix if kept else None, b_ub=np.ones(kept) if kept else None, A_eq=equal, b_eq=right,
        method="highs", options=options,
    )  # fmt: skip
    duals, tied, share = np.zeros(kept), np.zeros(rows.ties.shape[0]), None
    if answer.status == 0:
        share = np.asarray(answer.x)
        if kept:
            duals = scale * np.maximum(-np.asarray(answer.ineqlin.marginals), 0.0)
        tied = -scale * np.asarray(answer.eqlin.marginals)[groups:]
    reduced = loss + duals @ rows.matrix + tied @ rows.ties
    least = np.minimum.reduceat(reduced, starts)
    bound = float(least.sum() - duals.sum())
    if bound < 0:  # without multipliers the bound is 0
        duals, tied, reduced, bound = np.zeros(kept), np.zeros_like(tied), loss, 0.0
        least = np.zeros(groups)
    return Relaxation(bound, reduced - least[of], share, duals, answer.status == 2)
