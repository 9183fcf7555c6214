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
            if not model.weights[path].format.floating:
                shift_to(model, path, mean_output(model, path, data, floating=True), data)
            if progress:
                progress(number + 1, len(model.inputs))


def mean_output(model: QuantizedModel, path: str, data: list[Batch], *, floating: bool) -> Tensor | None:
    """(C,) mean of a module's output by channel over all of its calls; None where it never runs."""
    parts = [_sum(model, path, y) for inputs, _ in data for _, y in model.calls(path, inputs, floating=floating)]
    if not parts:
        return None
    total = torch.stack([one for one, _ in parts]).sum(0)
    return total / sum(count for _, count in parts)


def shift_to(model: QuantizedModel, path: str, wanted: Tensor | None, data: list[Batch]) -> None:
    """Gives the output of a quantised layer the wanted mean."""
    found = mean_output(model, path, data, floating=False)
    if wanted is not None and found is not None:
        model.offset(path, (wanted - found).float())


def _sum(model: QuantizedModel, path: str, output: Tensor) -> tuple[Tensor, int]:
    """(C,) sum of the outputs of each channel, and how many there are."""
    axis = model.channels(path, output)
    rows = output.detach().double().movedim(axis, 0).flatten(1)
    return rows.sum(1), rows.shape[1]
