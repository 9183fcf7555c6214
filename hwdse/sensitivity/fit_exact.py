"""FIT with the error of each element beside its gradient: ``1/2 sum_i F_ii e_i^2``, no mean over the tensor taken (ours).

The step that :mod:`.fit` skips: the product of traces and mean squared errors supposes that elements with large gradients have errors
like any other's. Here ``F_ii = mean over batches of B g_i^2`` is kept per weight, and each input's error meets its own gradient in the
backward pass, ``mean over samples of (dl/dx_i)^2 (Q_b(x_i) - x_i)^2``, at all widths at once. ADQ, arXiv 2510.19760, uses the weight half.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..choices import Choices
from ..contract import differentiate, loss_of
from ..costs import CostTable
from ..formats import NumberFormat
from ..inputs import run
from ..quantized import QuantizedModel, evaluating
from ..quantizers import Quantizer
from ..task import Task
from .fit import check_finite, finite, own
from .measured import mixed_table
from .noise import Sample, in_number_format, tensor_of
from .parts import Progress, calibration, formats, quiet
from .reach import Reach


class _InputErrors:
    """``sum_i g_i^2 (Q_b(x_i) - x_i)^2`` of every input at every width, of the present batch."""

    def __init__(self, model: QuantizedModel, choices: Choices) -> None:
        self.formats = formats(choices)[1]
        self.quantizers: dict[str, list[Quantizer | None]] = {}  # by module path; None leaves the input in floating point
        for name in choices.layers:
            tensor = tensor_of(model, name, "activation")
            if tensor is not None:
                self.quantizers[model.module[name]] = [None if one.floating else in_number_format(tensor, one) for one in self.formats]
        self.sums: dict[str, Tensor] = {}
        self.reach = Reach(model)

    def tap(self, path: str, x: Tensor) -> Tensor:
        """For :meth:`QuantizedModel.tapped`."""
        if not self.reach.call(path, x) or path not in self.quantizers:
            return x
        x = own(x)
        value = x.detach()

        def collect(gradient: Tensor) -> None:
            self.reach.arrived(path)
            at = zip(self.quantizers[path], self.formats, strict=True)
            found = [self._square(quantizer, one, value, gradient) for quantizer, one in at]
            self.sums[path] = self.sums.get(path, 0.0) + torch.stack(found)

        x.register_hook(collect)  # type: ignore[no-untyped-call]  # torch's stub
        return x

    def _square(self, quantizer: Quantizer | None, number: NumberFormat, value: Tensor, gradient: Tensor) -> Tensor:
        if quantizer is None:
            return torch.zeros((), device=value.device)
        with torch.no_grad():
            square: Tensor = torch.linalg.vector_norm(((quantizer.quantize(value, number) - value) * gradient).float()) ** 2
            return square


def fit_exact(model: QuantizedModel, task: Task, choices: Choices, *, progress: Progress = quiet) -> CostTable:
    """The loss table from one forward pass for the ranges, then one of forward and backward, over the calibration split.

    Raises:
        TrainingDiverged: a loss or gradient that is not finite. UsageError: a layer that never ran.
    """
    network, data = model.network, calibration(model, task)
    model.observe(data)
    errors = _InputErrors(model, choices)
    total = sum(len(inputs[0]) for inputs, _ in data)
    fisher = {name: torch.zeros_like(model.weight_of(name), dtype=torch.float32) for name in choices.layers}
    inputs_loss: dict[str, Tensor] = {}
    try:
        with evaluating(network), model.in_float(), model.frozen_too(), model.tapped(errors.tap), torch.enable_grad():
            for number, (inputs, target) in enumerate(data):
                progress(number, len(data))
                network.zero_grad(set_to_none=True)
                differentiate(task, finite(loss_of(task, run(network, inputs), target, gradient=True)))
                errors.reach.end_pass()
                size = len(inputs[0])
                share = size * size / total  # B, and the batch's part of the mean
                for name in choices.layers:
                    gradient = model.weight_of(name).grad
                    if gradient is not None:
                        fisher[name].addcmul_(gradient.float(), gradient.float(), value=share)
                for path, sums in errors.sums.items():
                    inputs_loss[path] = inputs_loss.get(path, 0.0) + share * sums
                errors.sums = {}
    finally:
        network.zero_grad(set_to_none=True)
    traces = np.array([float(fisher[name].sum()) for name in choices.layers])
    weight = np.array([_weight_losses(model, name, fisher[name], formats(choices)[0]) for name in choices.layers])
    nothing = torch.zeros(len(errors.formats))
    activation = 0.5 * np.array([inputs_loss.get(model.module[name], nothing).tolist() for name in choices.layers])
    check_finite(choices.layers, traces, activation.sum(axis=1))
    unknown = errors.reach.unknown(choices.layers, traces, activation.sum(axis=1))
    return mixed_table(
        model, task, choices, weight, activation, unknown,
        f"FIT: half the Fisher information times the squared error, element by element; {len(data)} backward passes", progress=progress,
    )  # fmt: skip


def _weight_losses(model: QuantizedModel, name: str, fisher: Tensor, at: Sequence[NumberFormat]) -> list[float]:
    """(W,) of one weight."""
    weight = model.weight_of(name).detach()
    sample = Sample(model.weight_quantizer(name), weight, weight)
    found = torch.zeros(len(at), device=weight.device)
    with torch.no_grad():
        for k, number in enumerate(at):
            if not number.floating and weight.numel():
                error = (in_number_format(sample, number).quantize(weight, number) - weight).float()
                found[k] = 0.5 * torch.sum(fisher * error**2)
    losses: list[float] = found.tolist()
    return losses
