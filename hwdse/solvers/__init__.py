"""Solvers of a :class:`~hwdse.problem.Problem`: exact, greedy and relaxed, one result type."""

from __future__ import annotations

from .dispatch import SOLVERS, solve, solve_many

__all__ = ["SOLVERS", "solve", "solve_many"]
