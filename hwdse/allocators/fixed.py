"""Widths that were chosen elsewhere: to replay an allocation, or to measure one that a search proposes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..formats import Allocation, LayerFormat
from ..problem import Problem, Solution
from ..quantized import QuantizedModel
from ..quantizers import Scheme
from ..training import Step


class Fixed:
    """Holds one allocation from the first step to the last.

    Args:
        allocation: the widths, or a solution of the very problem that it will be given, which is then not solved or checked again.

    Raises:
        UsageError: at the start, where widths break the budget, the choices or the ties.
    """

    scheme = Scheme("lsq", "lsq")
    post_training_steps = 0

    def __init__(self, allocation: Mapping[str, LayerFormat] | Solution) -> None:
        self._given = self._solution = allocation if isinstance(allocation, Solution) else None
        self.allocation = allocation.allocation if isinstance(allocation, Solution) else Allocation(allocation)

    def start(self, model: QuantizedModel, problem: Problem) -> Allocation:
        """The allocation, checked."""
        self._solution = self._given or Solution.checked(problem, self.allocation, status="FEASIBLE", solver="given widths", seconds=0.0)
        return self.allocation

    def observe(self, step: Step) -> Allocation | None:
        """Nothing changes."""
        return None

    def finish(self) -> Solution:
        """The allocation, with what it costs."""
        assert self._solution is not None  # start comes first
        return self._solution

    def state(self) -> dict[str, Any]:
        """Nothing is gathered."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Nothing was gathered."""
