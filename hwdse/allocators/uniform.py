"""The baseline: one pair of widths for the whole network, pinned layers at theirs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InfeasibleBudget, UsageError
from ..formats import Allocation, LayerFormat
from ..problem import Problem, Solution
from ..quantized import QuantizedModel
from ..quantizers import Scheme
from ..solvers import solve
from ..training import Step


class Uniform:
    """Uniform widths: the given pair, or the pair inside the budget with the smallest expected loss.

    Args:
        widths: a fixed pair, such as w4a4; None looks for the best one.

    Raises:
        InfeasibleBudget: no uniform allocation is inside the budget; a mixed one may be.
    """

    scheme = Scheme("lsq", "lsq")
    post_training_steps = 0

    def __init__(self, widths: LayerFormat | None = None) -> None:
        self.widths = widths

    def start(self, model: QuantizedModel, problem: Problem) -> Allocation:
        """Every uniform pair is costed at once; the best feasible one is taken."""
        began = time.perf_counter()
        pairs, rows = [], []
        for option in problem.choices.options if self.widths is None else (self.widths,):
            try:
                rows.append(problem.choices.indices(problem.choices.uniform(option)))
                pairs.append(option)
            except UsageError:
                if self.widths is not None:
                    raise
        if not rows:
            raise UsageError("no pair of widths is allowed for every layer, so there is no uniform allocation.")
        indices = np.array(rows)
        feasible = problem.feasible(indices)
        if not feasible.any():
            solve(problem)  # says so where nothing at all is inside
            worst = min(problem.budget, key=lambda c: float((c.limit / problem.table[c.metric.key].totals(indices)).max()))
            least = float(problem.table[worst.metric.key].totals(indices).min())
            which = "no uniform allocation meets" if self.widths is None else f"uniform {self.widths} does not meet"
            raise InfeasibleBudget(
                f"{which} {problem.budget}: {worst.metric.key} reaches {worst.metric.format(least)} at the least, "
                "or other limits stand in the way; mixed widths do meet it.",
                worst.metric.key,
                worst.limit,
                least,
            )
        losses = np.where(feasible, problem.loss.totals(indices), np.inf)
        best = int(np.argmin(losses))
        self._solution = Solution.checked(
            problem,
            problem.choices.allocation(indices[best]),
            status="FEASIBLE",
            solver=f"uniform {pairs[best]}",
            seconds=time.perf_counter() - began,
        )
        return self._solution.allocation

    def observe(self, step: Step) -> None:
        """Nothing changes."""

    def state(self) -> dict[str, Any]:
        """Nothing: the start finds the same again."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to load."""

    def finish(self) -> Solution:
        """The allocation of the start."""
        return self._solution
