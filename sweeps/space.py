"""The search space: from knobs to the point where the sampler sees them, and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .config import SweepConfig
from .knobs import Knobs, Plan

if TYPE_CHECKING:
    import optuna


class Space:
    """What the sampler chooses from: goal (a budget on an accelerator), allocator, tightness, epochs."""

    def __init__(self, config: SweepConfig, plan: Plan) -> None:
        self.config, self.plan = config, plan
        self._goals = {f"{target or 'any'} / budget {number + 1}": (target, number) for target, number in plan.limits}

    def point(self, knobs: Knobs) -> dict[str, Any]:
        """Where a queued trial stands; baselines stand nowhere."""
        goal = next((name for name, key in self._goals.items() if key == (knobs.accelerator, knobs.goal)), None)
        if goal is None or knobs.allocator not in self.config.allocators or knobs.epochs not in self.config.epochs:
            return {}
        return {"goal": goal, "allocator": knobs.allocator, "tightness": knobs.tightness, "epochs": knobs.epochs}

    def turn(self, number: int) -> dict[str, Any]:
        """Goals by turns, so that no budget is left to what the sampler thinks of the others."""
        names = list(self._goals)
        return {"goal": names[number % len(names)]}

    def knobs(self, trial: optuna.Trial) -> Knobs:
        """Of a queued trial: as queued (its attribute ``knobs``). Otherwise the sampler's."""
        text = trial.user_attrs.get("knobs")
        queued = None if text is None else Knobs.from_dict(json.loads(text))
        if queued is not None and not self.point(queued):
            return queued
        goal = trial.suggest_categorical("goal", list(self._goals))
        allocator = trial.suggest_categorical("allocator", list(self.config.allocators))
        tightness = trial.suggest_float("tightness", self.config.tightness[0], 1.0)
        epochs = trial.suggest_categorical("epochs", list(self.config.epochs))
        if queued is not None:
            return queued
        target, number = self._goals[goal]
        # the sampler's range is laid over what can be met, so that no two of its values mean the same
        (low, high), least = self.config.tightness, self.plan.least[target, number]
        share = (tightness - low) / (1 - low) if low < 1 else 1.0
        inside = least + share * (max(high, least) - least)
        return Knobs(allocator, target, number, round(inside, 4), epochs, self.config.seed)
