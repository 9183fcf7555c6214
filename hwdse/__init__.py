"""hwdse: design-space exploration of mixed-precision quantisation for real hardware.

The names below are imported when first used, so that ``import hwdse`` stays fast and loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "Allocation": "formats",
    "LayerFormat": "formats",
    "Budget": "constraints",
    "Choices": "choices",
    "CostTable": "costs",
    "LayerGraph": "graph",
    "Metric": "metrics",
    "ParetoFront": "pareto",
    "Problem": "problem",
    "Solution": "problem",
    "SweepRecord": "records",
    "TrialResult": "records",
    "Workbench": "api",
    "load_run": "api",
    "sweep": "api",
}
__all__ = [
    "Allocation",
    "Budget",
    "Choices",
    "CostTable",
    "LayerFormat",
    "LayerGraph",
    "Metric",
    "ParetoFront",
    "Problem",
    "Solution",
    "SweepRecord",
    "TrialResult",
    "Workbench",
    "__version__",
    "load_run",
    "sweep",
]

if TYPE_CHECKING:
    from .api import Workbench, load_run, sweep
    from .choices import Choices
    from .constraints import Budget
    from .costs import CostTable
    from .formats import Allocation, LayerFormat
    from .graph import LayerGraph
    from .metrics import Metric
    from .pareto import ParetoFront
    from .problem import Problem, Solution
    from .records import SweepRecord, TrialResult


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'hwdse' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_WHERE[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
