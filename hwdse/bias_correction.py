"""Bias correction: quantising weights moves the mean of a layer's output, and the mean can be put back at no cost on the device.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", arXiv 1906.04721, section 4.2, with the means
measured on calibration data (appendix D), layer by layer in the order in which they run. Where batch norm follows, the values fold into
its shift.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from .objective import Batch
from .quantized import QuantizedModel, evaluating


def correct_biases(model: QuantizedModel, batches: Iterable[Batch], progress: Callable[[int, int], None] | None = None) -> None:
    """Gives every layer's output the mean, by channel, that it has in floating point. The model must be set and calibrated."""
    data = list(batches)
    with torch.no_grad(), evaluating(model.network):
        for number, path in enumerate(model.inputs):
            means = []
            for floating in (True, False):
                parts = [_sum(model, path, y) for inputs, _ in data for _, y in model.calls(path, inputs, floating=floating)]
                means.append(sum(total for total, _ in parts) / max(1, sum(count for _, count in parts)))
            if isinstance(means[0], Tensor) and isinstance(means[1], Tensor):  # a layer that never runs has none
                model.offset(path, means[0] - means[1])
            if progress:
                progress(number + 1, len(model.inputs))


def _sum(model: QuantizedModel, path: str, output: Tensor) -> tuple[Tensor, int]:
    """(C,) sum of the outputs of each channel, and how many there are."""
    axis = model.channels(path, output)
    rows = output.detach().double().movedim(axis, 0).flatten(1)
    return rows.sum(1), rows.shape[1]
