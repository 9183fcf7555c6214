"""The search space: from knobs to the point where the sampler sees them, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .config import SweepConfig
from .knobs import Knobs, Plan

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class Space:
    """What the sampler chooses from: goal (a budget on an accelerator), allocator, tightness, epochs."""

    def __init__(self, config: SweepConfig, plan: Plan) -> None:
        self.config, self.plan = config, plan
        self._goals = {f"{target or 'any'} / budget {number + 1}": (target, number) for target, number in plan.limits}

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Distribution of every parameter."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        return {
            "goal": CategoricalDistribution(list(self._goals)),
            "allocator": CategoricalDistribution(list(self.config.allocators)),
            "tightness": FloatDistribution(self.config.tightness[0], 1.0),
            "epochs": CategoricalDistribution(list(self.config.epochs)),
        }

    def point(self, knobs: Knobs) -> dict[str, Any]:
        """Where a trial stands that the sampler did not choose; baselines, and what the sampler cannot choose, stand nowhere."""
        goal = next((name for name, key in self._goals.items() if key == (knobs.accelerator, knobs.goal)), None)
        if goal is None or knobs.allocator not in self.config.allocators or knobs.epochs not in self.config.epochs:
            return {}
        (low, _), (least, most) = self.config.tightness, self._range(goal)
        if not least - 1e-4 <= knobs.tightness <= most + 1e-4:  # knobs are rounded to as much
            return {}
        share = min(max((knobs.tightness - least) / (most - least), 0.0), 1.0) if most > least else 1.0
        return {"goal": goal, "allocator": knobs.allocator, "tightness": low + share * (1 - low), "epochs": knobs.epochs}

    def turn(self, number: int) -> str:
        """Goals by turns, so that no budget is left to what the sampler thinks of the others."""
        names = list(self._goals)
        return names[number % len(names)]

    def knobs(self, found: Mapping[str, Any]) -> Knobs:
        """What the sampler chose, by parameter."""
        (low, _), (least, most) = self.config.tightness, self._range(found["goal"])
        share = (found["tightness"] - low) / (1 - low) if low < 1 else 1.0
        target, number = self._goals[found["goal"]]
        tightness = round(least + share * (most - least), 4)
        return Knobs(found["allocator"], target, number, tightness, found["epochs"], self.config.seed)

    def _range(self, goal: str) -> tuple[float, float]:
        """Tightness that can be met. The sampler's range is laid over it, so that no two of its values mean the same."""
        least = self.plan.least[self._goals[goal]]
        return least, max(self.config.tightness[1], least)
