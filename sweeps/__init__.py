"""Sweeps: many trials over allocators, accelerators, budgets and training lengths, turned into one record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

_WHERE = {"SweepConfig": "config", "Knobs": "knobs", "Plan": "knobs", "Progress": "engine", "run_sweep": "engine", "run_trial": "trial"}
__all__ = ["Knobs", "Plan", "Progress", "SweepConfig", "run_sweep", "run_trial"]

if TYPE_CHECKING:
    from .config import SweepConfig
    from .engine import Progress, run_sweep
    from .knobs import Knobs, Plan
    from .trial import run_trial


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'hwdse.sweeps' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_WHERE[name]}", __name__), name)
