"""Sweeps: many trials over allocators, accelerators, budgets and training lengths, turned into one record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

_WHERE = {
    "Knobs": "knobs", "Place": "database", "Plan": "knobs", "Progress": "engine", "SweepConfig": "config", "Team": "workers",
    "run_sweep": "engine", "run_trial": "trial", "run_worker": "engine",
}  # fmt: skip
__all__ = ["Knobs", "Place", "Plan", "Progress", "SweepConfig", "Team", "run_sweep", "run_trial", "run_worker"]

if TYPE_CHECKING:
    from .config import SweepConfig
    from .database import Place
    from .engine import Progress, run_sweep, run_worker
    from .knobs import Knobs, Plan
    from .trial import run_trial
    from .workers import Team


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'hwdse.sweeps' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_WHERE[name]}", __name__), name)
