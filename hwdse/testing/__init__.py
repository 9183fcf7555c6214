"""Contracts that plug-ins are tested with: subclass one in a test file, give it your class, and run pytest.

Needs pytest, which the package itself does not: ``pip install hwdse[dev]``.
"""

from __future__ import annotations

from .cost_models import CostModelContract
from .graphs import small_graph
from .problems import brute_force, everything, random_problem
from .quantizers import QuantizerContract
from .solvers import SolverContract

__all__ = ["CostModelContract", "QuantizerContract", "SolverContract", "brute_force", "everything", "random_problem", "small_graph"]
