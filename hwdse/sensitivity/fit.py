"""FIT: expected loss increase from the Fisher information trace and the quantisation error, all widths at once.

Zandonati et al., "FIT: A Metric for Model Sensitivity", arXiv 2210.08502; used by QBitOpt, arXiv 2307.04535. To second order, and with
the Fisher information in place of the Hessian, an error e on a tensor q raises the mean loss by

    1/2 sum_i F_ii e_i^2  ~  1/2 s_q mean_i(e_i^2),    s_q = mean over batches of sum_i B g_i^2,

g the gradient of the batch-mean loss and B the batch size. ``noise = "model"`` takes ``mean e^2 = (R_q / (2^b - 1))^2 / 12`` (uniform
noise of one step, R_q the tensor's range: the paper's); ``noise = "measured"`` takes the mean squared error that the quantiser
makes on the tensor at b bits (ours: it sees clipping, and the shape of the distribution). Both in nats where the loss is a cross
entropy.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..bits import FLOAT_BITS
from ..choices import Choices
from ..costs import CostTable
from ..errors import TrainingDiverged
from ..problem import loss_table
from ..quantized import QuantizedModel, evaluating
from ..quantizers import Quantizer
from ..task import Task, batches_of

Noise = Literal["model", "measured"]


class FisherTraces:
    """s_q of every weight and every input, averaged over the backward passes seen so far.

    Attributes:
        weight, activation: layer name -> s_q. momentum: None averages all passes equally; otherwise an exponential moving average.
    """

    def __init__(self, model: QuantizedModel, momentum: float | None = None) -> None:
        self.model, self.momentum, self.passes = model, momentum, 0
        self.weight: dict[str, float] = dict.fromkeys(model.layers, 0.0)
        self.activation: dict[str, float] = dict.fromkeys(model.layers, 0.0)
        self._squares: dict[str, Tensor] = {}

    def tap(self, path: str, x: Tensor) -> Tensor:
        """For :meth:`QuantizedModel.tapped`: collects the squared gradient of each input."""
        if not torch.is_grad_enabled() or not x.is_floating_point():
            return x
        # an alias of its own: other readers of the tensor (a skip path, q beside k and v) must not count for this layer
        x = x.view_as(x) if x.requires_grad else x.detach().requires_grad_()

        def collect(gradient: Tensor) -> None:
            square = gradient.detach().float().pow(2).sum()
            self._squares[path] = self._squares[path] + square if path in self._squares else square

        x.register_hook(collect)  # type: ignore[no-untyped-call]  # torch's stub
        return x

    def update(self, batch_size: int) -> None:
        """Takes in one backward pass: call it after ``backward()``, before the gradients are cleared."""
        self.passes += 1
        keep = 1 - 1 / self.passes if self.momentum is None else min(self.momentum, 1 - 1 / self.passes)
        for name in self.model.layers:
            gradient = self.model.weight_of(name).grad
            square = 0.0 if gradient is None else float(gradient.detach().float().pow(2).sum())
            self.weight[name] = keep * self.weight[name] + (1 - keep) * batch_size * square
            activation = self._squares.get(self.model.module[name])
            value = 0.0 if activation is None else float(activation)
            self.activation[name] = keep * self.activation[name] + (1 - keep) * batch_size * value
        self._squares.clear()


def mean_square_error(quantizer: Quantizer, sample: Tensor, bits: int, noise: Noise) -> float:
    """``mean e^2`` of a tensor at ``bits``: of the noise model, or of a copy of the quantiser calibrated at that width."""
    if bits >= FLOAT_BITS or not sample.numel():
        return 0.0
    if noise == "model":
        low, high = float(sample.min()), float(sample.max())
        span = high - min(low, 0.0) if low >= 0 else 2 * max(-low, high)
        return float((span / (2**bits - 1)) ** 2 / 12)
    trial = copy.deepcopy(quantizer)
    with torch.no_grad():
        trial.calibrate(sample, bits)
        return float((trial.quantize(sample, bits) - sample).float().pow(2).mean())


class FitLosses:
    """Turns traces into a loss table: the errors per width are worked out once and kept until :meth:`forget`."""

    def __init__(self, model: QuantizedModel, choices: Choices, noise: Noise = "measured") -> None:
        self.model, self.choices, self.noise = model, choices, noise
        self._errors: dict[tuple[str, str], dict[int, float]] = {}

    def forget_weights(self) -> None:
        """The weights have moved: their errors are worked out again at the next table."""
        self._errors = {key: value for key, value in self._errors.items() if key[1] != "weight"}

    def _error(self, name: str, what: str, widths: Sequence[int]) -> dict[int, float]:
        found = self._errors.get((name, what))
        if found is None:
            quantizer = self.model.weight_quantizer(name) if what == "weight" else self.model.input_quantizer(name)
            sample = self.model.weight_of(name).detach() if what == "weight" else self.model.input_sample(name)
            if quantizer is None or sample is None:
                found = dict.fromkeys(widths, 0.0)
            else:
                found = {b: mean_square_error(quantizer, sample, b, self.noise) for b in widths}
            self._errors[name, what] = found
        return found

    def table(self, traces: FisherTraces) -> CostTable:
        """(L, O) expected loss increase of each layer at each option, monotone in both widths."""
        choices = self.choices
        cells = np.zeros((len(choices.layers), len(choices.options)))
        weight_bits, activation_bits = sorted(set(choices.weight_bits.tolist())), sorted(set(choices.activation_bits.tolist()))
        for i, name in enumerate(choices.layers):
            weight = self._error(name, "weight", weight_bits)
            activation = self._error(name, "activation", activation_bits)
            for j, option in enumerate(choices.options):
                cells[i, j] = 0.5 * (traces.weight[name] * weight[option.weight] + traces.activation[name] * activation[option.activation])
        if not np.isfinite(cells).all():
            bad = choices.layers[int(np.flatnonzero(~np.isfinite(cells).all(axis=1))[0])]
            raise TrainingDiverged(f"the gradients of layer '{bad}' are not finite; its sensitivity is unknown.")
        rule = {"model": "uniform noise of one step over the range", "measured": "measured quantisation error"}[self.noise]
        return loss_table(choices, cells, f"FIT: half the Fisher trace times the {rule}; {traces.passes} backward passes")


def fit(
    model: QuantizedModel, task: Task, choices: Choices, *, noise: Noise = "measured", batches: Iterable[Any] | None = None
) -> CostTable:
    """The loss table from one pass of forward and backward over the calibration split, in floating point.

    Raises:
        TrainingDiverged: a loss or gradient that is not finite.
    """
    traces = FisherTraces(model)
    network = model.network
    data = list(batches_of(task, "calibration") if batches is None else batches)
    model.observe(data)
    with evaluating(network), model.in_float(), model.frozen_too(), model.tapped(traces.tap), torch.enable_grad():
        for inputs, target in data:
            network.zero_grad(set_to_none=True)
            loss = task.loss(network(*inputs), target)
            if not torch.isfinite(loss):
                raise TrainingDiverged(f"the calibration loss is {float(loss.detach())}; check the data and the trained weights.")
            loss.backward()  # type: ignore[no-untyped-call]  # torch's stub
            traces.update(len(inputs[0]))
    network.zero_grad(set_to_none=True)
    return FitLosses(model, choices, noise).table(traces)
