"""The error that quantisation makes on one tensor, at every width."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ..bits import FLOAT_BITS
from ..errors import UsageError
from ..quantized import QuantizedModel
from ..quantizers import Quantizer

Noise = Literal["model", "measured"]
Part = Literal["weight", "activation"]


def tensor_of(model: QuantizedModel, layer: str, part: Part) -> tuple[Quantizer, Tensor] | None:
    """A layer's weight, or the sample of its input, with its quantiser; None for inputs that are not quantised (indices).

    Raises:
        UsageError: the layer saw no calibration data, so that nothing can be said of its input.
    """
    if part == "weight":
        return model.weight_quantizer(layer), model.weight_of(layer).detach()
    quantizer, sample = model.input_quantizer(layer), model.input_sample(layer)
    if quantizer is None:
        return None
    if sample is None:
        raise UsageError(
            f"layer '{layer}' never ran on the calibration split, so its sensitivity is unknown and it cannot be quantised; "
            "give calibration data that reaches it, or take it out of the model."
        )
    return quantizer, sample


def mean_square_errors(quantizer: Quantizer, sample: Tensor, widths: Sequence[int], noise: Noise = "measured") -> dict[int, float]:
    """Width -> ``mean e^2`` of a tensor: of the noise model, or of a copy of the quantiser calibrated at that width."""
    if not sample.numel():
        return dict.fromkeys(widths, 0.0)
    if noise == "model":
        low, high = sample.aminmax()
        span = float(high) - min(float(low), 0.0) if low >= 0 else 2 * float(torch.maximum(-low, high))
        return {b: 0.0 if b >= FLOAT_BITS else (span / (2**b - 1)) ** 2 / 12 for b in widths}
    found: dict[int, Tensor] = {}
    trial = copy.deepcopy(quantizer)
    with torch.no_grad():
        for bits in widths:
            if bits >= FLOAT_BITS:
                found[bits] = sample.new_zeros(())
                continue
            trial.calibrate(sample, bits)
            found[bits] = torch.linalg.vector_norm((trial.quantize(sample, bits) - sample).float()) ** 2 / sample.numel()
        return dict(zip(found, torch.stack([v.float() for v in found.values()]).tolist(), strict=True))


def at_width(quantizer: Quantizer, sample: Tensor, bits: int) -> Quantizer:
    """A copy of the quantiser, calibrated at a width."""
    trial = copy.deepcopy(quantizer)
    with torch.no_grad():
        trial.calibrate(sample, bits)
    return trial
