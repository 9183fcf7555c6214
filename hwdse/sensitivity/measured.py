"""Measured loss change: quantise one tensor of one layer at a time, and look at the calibration loss.

The most direct sensitivity, and the slowest: (weight widths + activation widths) x layers evaluations. It is what the others
are judged by (:mod:`.audit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..choices import Choices
from ..contract import loss_of
from ..costs import CostTable, FloatArray
from ..errors import TrainingDiverged
from ..formats import FP32
from ..inputs import run
from ..quantized import QuantizedModel, evaluating
from ..task import Task
from .noise import tensor_of
from .parts import Progress, calibration, formats, named, quiet, table_of
from .reach import Unknown


def mean_loss(model: QuantizedModel, task: Task, data: Sequence[Any]) -> float:
    """The loss at the present widths, averaged over the samples of ``data``, in evaluation mode."""
    with torch.no_grad(), evaluating(model.network):
        total = sum(float(loss_of(task, run(model.network, inputs), target)) * len(inputs[0]) for inputs, target in data)
    return total / sum(len(inputs[0]) for inputs, _ in data)


def float_loss(model: QuantizedModel, task: Task, data: Sequence[Any]) -> float:
    """The same in floating point.

    Raises:
        TrainingDiverged: it is not finite.
    """
    with model.in_float():
        base = mean_loss(model, task, data)
    if not np.isfinite(base):
        raise TrainingDiverged(f"the calibration loss is {base}; check the data and the trained weights.")
    return base


def changes(
    model: QuantizedModel, task: Task, choices: Choices, progress: Progress = quiet, of: Unknown | None = None
) -> tuple[FloatArray, FloatArray]:
    """(L, W) and (L, A): calibration loss with one tensor in one format, minus the floating-point loss, as measured, noise and all.

    Args:
        of: the tensors to measure, the others are left at 0; None measures all.

    Raises:
        TrainingDiverged: a loss that is not finite. UsageError: a layer that never ran.
    """
    data = calibration(model, task)
    model.observe(data)
    base = float_loss(model, task, data)
    by_weight, by_activation = formats(choices)
    weight, activation = (np.zeros((len(choices.layers), len(at))) for at in (by_weight, by_activation))
    every = np.ones(len(choices.layers), bool)
    of_weight, of_activation = (every, every) if of is None else of
    layers = [(i, name) for i, name in enumerate(choices.layers) if of_weight[i] or of_activation[i]]
    with model.in_float():
        for done, (i, name) in enumerate(layers):
            progress(done, len(layers))
            path, of_input = model.module[name], tensor_of(model, name, "activation") if of_activation[i] else None
            for k, number in enumerate(by_weight if of_weight[i] else ()):
                if not number.floating:
                    model.weight_quantizer(name).calibrate(model.weight_of(name), number)
                    model.weights[path].format = number
                    weight[i, k] = mean_loss(model, task, data) - base
            model.weights[path].format = FP32
            for k, number in enumerate(by_activation if of_input else ()):
                if of_input and not number.floating:
                    of_input.quantizer.calibrate(of_input.of(number), number)
                    model.input_formats[path] = number
                    activation[i, k] = mean_loss(model, task, data) - base
            if of_input:
                model.input_formats[path] = FP32
    if not (np.isfinite(weight).all() and np.isfinite(activation).all()):
        raise TrainingDiverged("a quantised network's calibration loss is not finite; its sensitivity is unknown.")
    return weight, activation


def table_of_changes(model: QuantizedModel, choices: Choices, weight: FloatArray, activation: FloatArray) -> CostTable:
    """The loss table of measured changes: improvements count as 0, they are noise of the calibration split."""
    convention = "measured loss change on the calibration split, one tensor at a time"
    return table_of(model, choices, np.maximum(weight, 0), np.maximum(activation, 0), convention)


def mixed_table(
    model: QuantizedModel,
    task: Task,
    choices: Choices,
    weight: FloatArray,
    activation: FloatArray,
    unknown: Unknown,
    convention: str,
    notes: Sequence[str] = (),
    *,
    why: str = "no gradient reaches",
    progress: Progress = quiet,
) -> CostTable:
    """The loss table of a method that works by gradients, with measured losses where those say nothing.

    Args:
        weight, activation: (L, W) and (L, A) losses by the method.
        unknown: the tensors that are measured instead.
        convention, notes: of the method. why: begins the note on what was measured.

    Raises:
        TrainingDiverged: a loss that is not finite.
    """
    if not unknown.either.any():
        return table_of(model, choices, weight, activation, convention, notes)
    found = (np.maximum(part, 0) for part in changes(model, task, choices, progress, unknown))
    weight, activation = (
        np.where(yes[:, None], there, part) for yes, there, part in zip(unknown, found, (weight, activation), strict=True)
    )
    said = [
        f"{why} {names_of(choices.layers, unknown)}: what these lose was measured on the calibration split, one tensor and width at a time."
    ]
    nothing = unknown.either & (weight == 0).all(axis=1) & (activation == 0).all(axis=1)
    if nothing.any():
        names = named(name for name, yes in zip(choices.layers, nothing, strict=True) if yes)
        said.append(f"the loss does not rise at any width of {names}: they count as insensitive.")
    return table_of(model, choices, weight, activation, convention, (*notes, *said))


def names_of(layers: Sequence[str], unknown: Unknown) -> str:
    """``"the weights of a, b and the inputs of c"``, for a note."""
    of = {"the weights of": unknown.weight, "the inputs of": unknown.activation}
    if (unknown.weight == unknown.activation).all():
        of = {"the weights and inputs of": unknown.weight}
    return " and ".join(
        f"{what} {named(name for name, yes in zip(layers, which, strict=True) if yes)}" for what, which in of.items() if which.any()
    )


def measured(model: QuantizedModel, task: Task, choices: Choices, *, progress: Progress = quiet) -> CostTable:
    """Loss at each width of each tensor minus the floating-point loss, the rest in floating point; a layer's two parts add up."""
    return table_of_changes(model, choices, *changes(model, task, choices, progress))
