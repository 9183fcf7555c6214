"""Measured loss change: quantise one tensor of one layer at a time, and look at the calibration loss.

The most direct sensitivity, and the slowest: (weight widths + activation widths) x layers evaluations. It is what the others
are judged by.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..bits import FLOAT_BITS
from ..choices import Choices
from ..costs import CostTable
from ..errors import TrainingDiverged
from ..problem import loss_table
from ..quantized import QuantizedModel, evaluating
from ..task import Task, batches_of


def measured(model: QuantizedModel, task: Task, choices: Choices, *, progress: Callable[[int, int], None] | None = None) -> CostTable:
    """Loss at each width of each tensor minus the floating-point loss, the rest in floating point; a layer's two parts add up.

    Improvements count as 0 (they are noise of the calibration split), and the table is made monotone in both widths.
    """
    data = list(batches_of(task, "calibration"))
    model.observe(data)

    def loss() -> float:
        with torch.no_grad():
            total = sum(float(task.loss(model.network(*inputs), target)) * len(inputs[0]) for inputs, target in data)
        return total / sum(len(inputs[0]) for inputs, _ in data)

    weight_bits, activation_bits = sorted(set(choices.weight_bits.tolist())), sorted(set(choices.activation_bits.tolist()))
    cells = np.zeros((len(choices.layers), len(choices.options)))
    with evaluating(model.network), model.in_float():
        base = loss()
        if not np.isfinite(base):
            raise TrainingDiverged(f"the calibration loss is {base}; check the data and the trained weights.")
        for i, name in enumerate(choices.layers):
            if progress:
                progress(i, len(choices.layers))
            path = model.module[name]
            at_weight, at_input = {}, dict.fromkeys(activation_bits, 0.0)
            for bits in weight_bits:
                model.weight_quantizer(name).calibrate(model.weight_of(name), bits)
                model.weights[path].bits = bits
                at_weight[bits] = loss() - base
            model.weights[path].bits = FLOAT_BITS
            quantizer, sample = model.input_quantizer(name), model.input_sample(name)
            if quantizer is not None and sample is not None:
                for bits in activation_bits:
                    quantizer.calibrate(sample, bits)
                    model.input_bits[path] = bits
                    at_input[bits] = loss() - base
                model.input_bits[path] = FLOAT_BITS
            for j, option in enumerate(choices.options):
                cells[i, j] = max(at_weight[option.weight], 0.0) + max(at_input[option.activation], 0.0)
    if not np.isfinite(cells).all():
        raise TrainingDiverged("a quantised network's calibration loss is not finite; its sensitivity is unknown.")
    return loss_table(choices, cells, "measured loss change on the calibration split, one tensor at a time")
