"""Solvers of a :class:`~hwdse.problem.Problem`: exact, greedy and relaxed, one result type."""

from __future__ import annotations

from .dispatch import GROUP, SOLVERS, Solver, solve, solve_many
from .steps import NextStep, next_step
from .water_filling import reverse_water_filling

__all__ = ["GROUP", "SOLVERS", "NextStep", "Solver", "next_step", "reverse_water_filling", "solve", "solve_many"]
