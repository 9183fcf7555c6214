"""From what a solver found to a checked :class:`~hwdse.problem.Solution`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..choices import IntArray
from ..errors import SolverError, UsageError
from ..problem import Problem, Solution
from .clock import Clock
from .program import Program
from .rows import tightest


@dataclass(frozen=True, eq=False)
class Answer:
    """One allocation and what is known of it.

    Attributes:
        chosen: (L,) option indices.
        bound: lower bound on the loss over ``program.base``.
        proven: nothing better exists.
        prices: metric key -> loss per stored unit of limit; without those that are not known.
    """

    chosen: IntArray
    bound: float = 0.0
    proven: bool = False
    prices: Mapping[str, float] = field(default_factory=dict)

    def solution(self, problem: Problem, program: Program, solver: str, clock: Clock) -> Solution:
        """The solution, re-checked from the tables. Of two limits on one metric the tighter one carries the price.

        Raises:
            SolverError: the re-check refuses it.
        """
        limits, spent, prices = tightest(problem.budget), set[str](), dict[str, float]()
        for c in problem.budget:
            key = c.metric.key
            if c.limit == limits[key] and key not in spent:
                spent.add(key)
                if key in self.prices:
                    prices[str(c)] = self.prices[key]
            else:
                prices[str(c)] = 0.0
        allocation = problem.choices.allocation(self.chosen)
        loss = problem.loss_of(allocation)
        try:
            return Solution.checked(
                problem, allocation, status="OPTIMAL" if self.proven else "FEASIBLE", solver=solver, seconds=clock.seconds,
                bound=loss if self.proven else min(loss, program.base + self.bound), shadow_prices=prices,
            )  # fmt: skip
        except UsageError as error:
            raise SolverError(f"the answer did not pass the check against the tables: {error}") from error
