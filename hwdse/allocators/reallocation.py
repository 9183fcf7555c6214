"""Re-solving the constrained program while the network trains: what QBitOpt and ADQ share."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from ..formats import Allocation
from ..problem import Problem, Solution
from ..quantized import QuantizedModel
from ..quantizers import Scheme
from ..sensitivity import FisherTraces, FitLosses
from ..solvers import solve
from ..training import Step


class Reallocating:
    """Solves at the start with the problem's own loss table, then every ``tau`` steps with sensitivities from the training gradients.

    Every allocation comes from the solver, so the budget holds from the first to the last.

    Args:
        tau: steps between re-allocations (QBitOpt: 250); shorter trainings use a quarter of their re-allocating part.
        freeze: share of training at the end during which widths stay (ours: 25 %).
        momentum: of the moving average of the Fisher traces (ours).
        solver: a name in :data:`hwdse.solvers.SOLVERS`, or ``auto``.
        reallocate: False solves once, before training.
    """

    scheme = Scheme("lsq", "lsq")
    post_training_steps = 0

    def __init__(self, tau: int = 250, freeze: float = 0.25, momentum: float = 0.95, solver: str = "auto", reallocate: bool = True) -> None:
        self.tau, self.freeze, self.momentum, self.solver, self.reallocate = tau, freeze, momentum, solver, reallocate
        self._open = contextlib.ExitStack()

    def start(self, model: QuantizedModel, problem: Problem) -> Allocation:
        """Solves the problem as given."""
        self.model, self.problem = model, problem
        self._solution = solve(problem, self.solver)
        self._traces = FisherTraces(model, self.momentum)
        self._losses = FitLosses(model, problem.choices)
        if self.reallocate:
            self._open.enter_context(model.frozen_too())
            self._open.enter_context(model.tapped(self._traces.tap))
        return self._solution.allocation

    def observe(self, step: Step) -> Allocation | None:
        """Feeds the traces; every tau steps, another solution. Nothing in the last part of training."""
        active = int((1 - self.freeze) * step.total)
        if not self.reallocate or step.index >= active:
            self._open.close()
            return None
        self._traces.update(step.batch_size)
        tau = max(1, min(self.tau, active // 4))
        if (step.index + 1) % tau:
            return None
        self._losses.forget_weights()
        self._solution = solve(self.problem.with_loss(self._losses.table(self._traces, self.problem.loss)), self.solver)
        changed = self._solution.allocation != self.model.allocation
        return self._solution.allocation if changed else None

    def state(self) -> dict[str, Any]:
        """The solution in force, and the traces."""
        return {"solution": self._solution.to_dict(), "traces": self._traces.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        self._solution = Solution.from_dict(state["solution"])
        self._traces.load_state(state["traces"])

    def finish(self) -> Solution:
        """The last solution; its loss and bound are those of the table it was solved with."""
        self._open.close()
        return self._solution
