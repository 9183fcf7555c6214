"""Measured loss change: quantise one tensor of one layer at a time, and look at the calibration loss.

The most direct sensitivity, and the slowest: (weight widths + activation widths) x layers evaluations. It is what the others
are judged by (:mod:`.audit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..bits import FLOAT_BITS
from ..choices import Choices
from ..costs import CostTable, FloatArray
from ..errors import TrainingDiverged
from ..quantized import QuantizedModel, evaluating
from ..task import Task
from .noise import tensor_of
from .parts import Progress, calibration, quiet, table_of, widths


def mean_loss(model: QuantizedModel, task: Task, data: Sequence[Any]) -> float:
    """The loss at the present widths, averaged over the samples of ``data``, in evaluation mode."""
    with torch.no_grad(), evaluating(model.network):
        total = sum(float(task.loss(model.network(*inputs), target)) * len(inputs[0]) for inputs, target in data)
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


def changes(model: QuantizedModel, task: Task, choices: Choices, progress: Progress = quiet) -> tuple[FloatArray, FloatArray]:
    """(L, W) and (L, A): calibration loss with one tensor at one width, minus the floating-point loss, as measured, noise and all.

    Raises:
        TrainingDiverged: a loss that is not finite. UsageError: a layer that never ran.
    """
    data = calibration(model, task)
    model.observe(data)
    base = float_loss(model, task, data)
    by_weight, by_activation = widths(choices)
    weight, activation = (np.zeros((len(choices.layers), len(at))) for at in (by_weight, by_activation))
    with model.in_float():
        for i, name in enumerate(choices.layers):
            progress(i, len(choices.layers))
            path, of_input = model.module[name], tensor_of(model, name, "activation")
            for k, bits in enumerate(by_weight):
                if bits < FLOAT_BITS:
                    model.weight_quantizer(name).calibrate(model.weight_of(name), bits)
                    model.weights[path].bits = bits
                    weight[i, k] = mean_loss(model, task, data) - base
            model.weights[path].bits = FLOAT_BITS
            for k, bits in enumerate(by_activation if of_input else ()):
                if of_input and bits < FLOAT_BITS:
                    of_input[0].calibrate(of_input[1], bits)
                    model.input_bits[path] = bits
                    activation[i, k] = mean_loss(model, task, data) - base
            if of_input:
                model.input_bits[path] = FLOAT_BITS
    if not (np.isfinite(weight).all() and np.isfinite(activation).all()):
        raise TrainingDiverged("a quantised network's calibration loss is not finite; its sensitivity is unknown.")
    return weight, activation


def table_of_changes(model: QuantizedModel, choices: Choices, weight: FloatArray, activation: FloatArray) -> CostTable:
    """The loss table of measured changes: improvements count as 0, they are noise of the calibration split."""
    convention = "measured loss change on the calibration split, one tensor at a time"
    return table_of(model, choices, np.maximum(weight, 0), np.maximum(activation, 0), convention)


def measured(model: QuantizedModel, task: Task, choices: Choices, *, progress: Progress = quiet) -> CostTable:
    """Loss at each width of each tensor minus the floating-point loss, the rest in floating point; a layer's two parts add up."""
    return table_of_changes(model, choices, *changes(model, task, choices, progress))
