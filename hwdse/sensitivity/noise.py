"""The error that quantisation makes on one tensor, in every format."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ..errors import UsageError
from ..formats import NumberFormat
from ..quantized import QuantizedModel
from ..quantizers import Quantizer

Noise = Literal["model", "measured"]
Part = Literal["weight", "activation"]


class Sample(NamedTuple):
    """A weight, or a sample of an input.

    Attributes:
        quantizer: of the tensor.
        values: the weight, or elements of the input in no order, (N,).
        blocks: the weight, or whole columns of the input's channels, in its dimensions: for formats that scale blocks of channels.
    """

    quantizer: Quantizer
    values: Tensor
    blocks: Tensor

    def of(self, number: NumberFormat) -> Tensor:
        """What shows the error of a format."""
        return self.values if number.scaling.per == "plain" else self.blocks


def tensor_of(model: QuantizedModel, layer: str, part: Part) -> Sample | None:
    """A layer's weight, or the sample of its input, with its quantiser; None for inputs that are not quantised (indices).

    Raises:
        UsageError: the layer saw no calibration data, so that nothing can be said of its input.
    """
    if part == "weight":
        weight = model.weight_of(layer).detach()
        return Sample(model.weight_quantizer(layer), weight, weight)
    quantizer, values, blocks = model.input_quantizer(layer), model.input_sample(layer), model.input_blocks(layer)
    if quantizer is None:
        return None
    if values is None or blocks is None:
        raise UsageError(
            f"layer '{layer}' never ran on the calibration split, so its sensitivity is unknown and it cannot be quantised; "
            "give calibration data that reaches it, or take it out of the model."
        )
    return Sample(quantizer, values, blocks)


def mean_square_errors(sample: Sample, formats: Sequence[NumberFormat], noise: Noise = "measured") -> list[float]:
    """(F,) ``mean e^2`` of a tensor in each format: of the noise model, or of a copy of the quantiser calibrated in that format.

    Raises:
        UsageError: the noise model, which is of integers, asked for another format.
    """
    values = sample.values
    if not values.numel():
        return [0.0] * len(formats)
    if noise == "model":
        low, high = values.aminmax()
        span = float(high) - min(float(low), 0.0) if low >= 0 else 2 * float(torch.maximum(-low, high))
        other = next((one for one in formats if not one.plain), None)
        if other is not None:
            raise UsageError(f"the noise model is of integers, and {other} is none: use --method fit, which measures the error.")
        return [0.0 if one.floating else (span / (2**one.bits - 1)) ** 2 / 12 for one in formats]
    found: list[Tensor] = []
    trial = copy.deepcopy(sample.quantizer)
    with torch.no_grad():
        for number in formats:
            tensor = sample.of(number)
            if number.floating:
                found.append(values.new_zeros((), dtype=torch.float32))
                continue
            trial.calibrate(tensor, number)
            error = (trial.quantize(tensor, number) - tensor).float()
            found.append((torch.linalg.vector_norm(error) ** 2 / tensor.numel()).float())
        errors: list[float] = torch.stack(found).tolist()
        return errors


def in_number_format(sample: Sample, number: NumberFormat) -> Quantizer:
    """A copy of the quantiser, calibrated in a format."""
    trial = copy.deepcopy(sample.quantizer)
    with torch.no_grad():
        trial.calibrate(sample.of(number), number)
    return trial
