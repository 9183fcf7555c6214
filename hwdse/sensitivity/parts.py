"""What every method ends in: one loss per (layer, tensor, format), put together into a loss table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..choices import Choices
from ..costs import CostTable, FloatArray
from ..errors import TrainingDiverged
from ..formats import NumberFormat
from ..problem import loss_table
from ..quantized import QuantizedModel
from ..task import Task, batches_of, device_of

Progress = Callable[[int, int], None]  # (steps done, steps in all)
_NAMED = 8  # layers that a note names


def quiet(done: int, total: int) -> None:
    """Progress that nobody looks at."""


def calibration(model: QuantizedModel, task: Task) -> list[Any]:
    """The calibration split as (inputs, target) batches, where the model is."""
    return list(batches_of(task, "calibration", device=device_of(model.network)))


Formats = Sequence[NumberFormat]


def formats(choices: Choices) -> tuple[Formats, Formats]:
    """The distinct weight formats (W of them) and activation formats (A of them) of the options: columns are per format, never per pair."""
    return choices.weight_formats, choices.activation_formats


def sharers(model: QuantizedModel, choices: Choices) -> tuple[FloatArray, FloatArray]:
    """(L,) and (L,): how many layers hold each layer's weight, and how many read through its input quantiser.

    A weight that two layers share, or a module that is called twice, changes the loss once: each layer gets an equal part (ours).
    """
    weight = Counter(id(model.weight_of(name)) for name in choices.layers)
    activation = Counter(model.module[name] for name in choices.layers)
    return (
        np.array([weight[id(model.weight_of(name))] for name in choices.layers], np.float64),
        np.array([activation[model.module[name]] for name in choices.layers], np.float64),
    )


def combined(model: QuantizedModel, choices: Choices, weight: FloatArray, activation: FloatArray) -> FloatArray:
    """(L, O) losses of each layer at each option: its two parts add up.

    Args:
        model: says which layers share a tensor.
        choices: the options.
        weight, activation: (L, W) and (L, A) losses of each tensor at each of :func:`formats`, the rest in floating point.
    """
    of_weight, of_activation = sharers(model, choices)
    cells: FloatArray = (weight / of_weight[:, None])[:, choices.weight_code]
    return cells + (activation / of_activation[:, None])[:, choices.activation_code]


def table_of(
    model: QuantizedModel, choices: Choices, weight: FloatArray, activation: FloatArray, convention: str, notes: Sequence[str] = ()
) -> CostTable:
    """The loss table of :func:`combined` losses >= 0, monotone in both formats.

    Raises:
        TrainingDiverged: a loss that is not finite.
    """
    cells = combined(model, choices, weight, activation)
    broken = ~np.isfinite(cells).all(axis=1)
    if broken.any():
        name = choices.layers[int(np.flatnonzero(broken)[0])]
        raise TrainingDiverged(f"the sensitivity of layer '{name}' is not finite; look at the calibration data and the trained weights.")
    return loss_table(choices, cells, convention, notes)


def named(names: Iterable[str]) -> str:
    """A list of names for a note; a long one is cut, and says so."""
    found = list(names)
    return ", ".join(found[:_NAMED]) + (f" and {len(found) - _NAMED} more" if len(found) > _NAMED else "")
