"""How learnt widths moved: what evidence is plotted from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any

KEPT = 512


@dataclass(frozen=True)
class Moment:
    """One step.

    Attributes:
        step: of the training.
        weight, activation: N of every group of weights and of activations, in real-valued bits.
        cost_weight: lambda, summed over the metrics.
        cost: at the widths in use: the largest over its limit; without a budget, the mean over the costs at the start.
    """

    step: int
    weight: tuple[float, ...]
    activation: tuple[float, ...]
    cost_weight: float
    cost: float


class History(list[Moment]):
    """Every step, or every 2nd, 4th, ... of a longer training: at most :data:`KEPT`."""

    every = 1

    def note(self, moment: Moment) -> None:
        """Adds a step, if it is its turn."""
        if moment.step % self.every:
            return
        self.append(moment)
        if len(self) > KEPT:
            del self[1::2]
            self.every *= 2

    def to_list(self) -> list[tuple[Any, ...]]:
        """Plain values."""
        return [astuple(moment) for moment in self]

    @classmethod
    def from_list(cls, rows: Iterable[tuple[Any, ...]]) -> History:
        """The inverse of :meth:`to_list`."""
        found = cls(Moment(step, tuple(weight), tuple(activation), *rest) for step, weight, activation, *rest in rows)
        if len(found) > 1:
            found.every = found[1].step - found[0].step
        return found
