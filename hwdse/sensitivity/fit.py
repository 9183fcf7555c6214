"""FIT: expected loss increase from the Fisher information trace and the quantisation error, all widths at once.

Zandonati et al., "FIT: A Metric for Model Sensitivity", arXiv 2210.08502; used by QBitOpt, arXiv 2307.04535. To second order, and with
the Fisher information in place of the Hessian, an error e on a tensor q raises the mean loss by

    1/2 sum_i F_ii e_i^2  ~  1/2 s_q mean_i(e_i^2),    s_q = mean over batches of sum_i B g_i^2,

g the gradient of the batch-mean loss and B the batch size; batches count by their size, so that a last, smaller one weighs no more
than its samples (ours). ``noise = "model"`` takes ``mean e^2 = (R_q / (2^b - 1))^2 / 12`` (uniform noise of one step, R_q the tensor's
range: the paper's); ``noise = "measured"`` takes the mean squared error that the quantiser makes on the tensor at b bits (ours: it sees
clipping, and the shape of the distribution). Both in nats where the loss is a cross entropy. Where errors meet gradients element by
element: :mod:`.fit_exact`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..choices import Choices
from ..contract import differentiate, loss_of
from ..costs import CostTable, FloatArray
from ..errors import TrainingDiverged
from ..inputs import run
from ..problem import loss_table
from ..quantized import QuantizedModel
from ..task import Task, batches_of, device_of
from .measured import mixed_table, names_of
from .noise import Noise, Part, mean_square_errors, tensor_of
from .parts import Progress, formats, quiet, table_of
from .reach import Reach, Unknown


class FisherTraces:
    """s_q of every weight and every input, averaged over the backward passes seen so far.

    Nothing is read back from the device before it is asked for.

    Attributes:
        momentum: None averages all samples equally; otherwise an exponential moving average over the passes.
        passes: backward passes seen.
    """

    def __init__(self, model: QuantizedModel, momentum: float | None = None) -> None:
        self.model, self.momentum, self.passes, self.samples = model, momentum, 0, 0
        self.reach = Reach(model)
        self._home = device_of(model.network)
        self._mean = torch.zeros(2, len(model.layers), dtype=torch.float64, device=self._home)
        self._norms: dict[str, Tensor] = {}  # of the gradients at each input, this pass

    @property
    def weight(self) -> dict[str, float]:
        """Layer name -> s_q of its weight."""
        return dict(zip(self.model.layers, self._mean[0].tolist(), strict=True))

    @property
    def activation(self) -> dict[str, float]:
        """Layer name -> s_q of its input."""
        return dict(zip(self.model.layers, self._mean[1].tolist(), strict=True))

    def tap(self, path: str, x: Tensor) -> Tensor:
        """For :meth:`QuantizedModel.tapped`: collects the size of the gradient at each input."""
        if not self.reach.call(path, x):
            return x
        x = own(x)

        def collect(gradient: Tensor) -> None:
            self.reach.arrived(path)
            norm = norm_of(gradient)
            self._norms[path] = torch.hypot(self._norms[path], norm) if path in self._norms else norm

        x.register_hook(collect)  # type: ignore[no-untyped-call]  # torch's stub
        return x

    def update(self, batch_size: int) -> None:
        """Takes in one backward pass: call it after ``backward()``, before the gradients are cleared."""
        self.passes += 1
        self.samples += batch_size
        self.reach.end_pass()
        keep = 1 - batch_size / self.samples if self.momentum is None else min(self.momentum, 1 - 1 / self.passes)
        layers, none = self.model.layers, torch.zeros((), device=self._home)
        gradients = [self.model.weight_of(name).grad for name in layers]
        norms = [none if g is None else norm_of(g) for g in gradients]
        norms += [self._norms.get(self.model.module[name], none) for name in layers]
        squares = torch.stack([n.to(self._home) for n in norms]).view(2, -1).double() ** 2
        self._mean = keep * self._mean + (1 - keep) * batch_size * squares
        self._norms.clear()

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs."""
        return {"passes": self.passes, "samples": self.samples, "mean": self._mean.cpu(), "reach": self.reach.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        self.passes, self.samples, self._mean = int(state["passes"]), int(state["samples"]), state["mean"].to(self._home)
        self.reach.load_state(state["reach"])


def norm_of(gradient: Tensor) -> Tensor:
    """Its Euclidean norm, summed in float32, or in float64 where the gradient is."""
    norm: Tensor = torch.linalg.vector_norm(gradient, dtype=torch.promote_types(gradient.dtype, torch.float32))
    return norm


def own(x: Tensor) -> Tensor:
    """The input as a tensor whose gradient is this reader's alone: other readers of it (a skip path, q beside k and v) do not count."""
    return x.view_as(x) if x.requires_grad else x.detach().requires_grad_()


class FitLosses:
    """Turns traces into a loss table: the errors per width are worked out once and kept until :meth:`forget_weights`."""

    def __init__(self, model: QuantizedModel, choices: Choices, noise: Noise = "measured") -> None:
        self.model, self.choices, self.noise = model, choices, noise
        self._errors: dict[Part, FloatArray] = {}

    def forget_weights(self) -> None:
        """The weights have moved: their errors are worked out again at the next table."""
        self._errors.pop("weight", None)

    def _of(self, part: Part) -> FloatArray:
        if part not in self._errors:
            self._errors[part] = errors_of(self.model, self.choices, part, self.noise)
        return self._errors[part]

    def losses(self, traces: FisherTraces) -> tuple[FloatArray, FloatArray, Unknown]:
        """(L, W) and (L, A) expected loss increase by each weight and each input at each width, and where it says nothing.

        Raises:
            TrainingDiverged: a gradient that is not finite.
        """
        layers, by_weight, by_activation = self.choices.layers, traces.weight, traces.activation
        weight, activation = (np.array([by[n] for n in layers]) for by in (by_weight, by_activation))
        check_finite(layers, weight, activation)
        unknown = traces.reach.unknown(layers, weight, activation)
        return 0.5 * weight[:, None] * self._of("weight"), 0.5 * activation[:, None] * self._of("activation"), unknown

    def convention(self, traces: FisherTraces) -> str:
        """What the table holds, in words."""
        rule = {"model": "uniform noise of one step over the range", "measured": "measured quantisation error"}[self.noise]
        return f"FIT: half the Fisher trace times the {rule}; {traces.passes} backward passes"

    def table(self, traces: FisherTraces, known: CostTable) -> CostTable:
        """(L, O) expected loss increase of each layer at each option, monotone in both widths.

        Args:
            traces: from backward passes so far.
            known: what was known before; layers of which the traces say nothing keep their rows.

        Raises:
            TrainingDiverged: a gradient that is not finite.
        """
        weight, activation, unknown = self.losses(traces)
        found = table_of(self.model, self.choices, weight, activation, self.convention(traces))
        if not unknown.either.any():
            return found
        cells = np.where(unknown.either[:, None], known.aligned(self.choices).dense[0], found.dense[0])
        kept = f"no gradient reaches {names_of(self.choices.layers, unknown)} in training: their losses stay as they were before it."
        return loss_table(self.choices, cells, found.convention, (kept,))


def errors_of(model: QuantizedModel, choices: Choices, part: Part, noise: Noise = "measured") -> FloatArray:
    """(L, W) or (L, A) ``mean e^2`` of each layer's weight, or input, in each format; 0 where the input is not quantised."""
    at = formats(choices)[part == "activation"]
    found = np.zeros((len(choices.layers), len(at)))
    for i, name in enumerate(choices.layers):
        tensor = tensor_of(model, name, part)
        if tensor is not None:
            found[i] = mean_square_errors(tensor, at, noise)
    return found


def check_finite(layers: Iterable[str], weight: FloatArray, activation: FloatArray) -> None:
    """Raises TrainingDiverged where a layer's sum over its weight's gradients, or its input's, is not finite."""
    for name, ok in zip(layers, np.isfinite(weight) & np.isfinite(activation), strict=True):
        if not ok:
            raise TrainingDiverged(f"the gradients of layer '{name}' are not finite; its sensitivity is unknown.")


def finite(loss: Tensor) -> Tensor:
    """The same loss.

    Raises:
        TrainingDiverged: it is not finite.
    """
    if not torch.isfinite(loss):
        raise TrainingDiverged(f"the calibration loss is {float(loss.detach())}; check the data and the trained weights.")
    return loss


def fisher_traces(model: QuantizedModel, task: Task, data: Iterable[Any]) -> FisherTraces:
    """One pass of forward and backward in floating point; the same forward pass is what the model :meth:`~QuantizedModel.observe` s.

    Raises:
        TrainingDiverged: a loss that is not finite.
    """
    traces, network = FisherTraces(model), model.network

    def passes() -> Iterator[Any]:
        """Runs the network itself and yields nothing: the taps of ``observe`` are open, and it need not run a forward pass of its own."""
        parameters = list(network.parameters())  # once: walking the modules takes as long as a small layer
        with model.frozen_too(), model.tapped(traces.tap), torch.enable_grad():
            for inputs, target in data:
                for parameter in parameters:
                    parameter.grad = None
                differentiate(task, finite(loss_of(task, run(network, inputs), target, gradient=True)))
                traces.update(len(inputs[0]))
        yield from ()

    try:
        model.observe(passes())
    finally:
        network.zero_grad(set_to_none=True)
    return traces


def fit(model: QuantizedModel, task: Task, choices: Choices, *, noise: Noise = "measured", progress: Progress = quiet) -> CostTable:
    """The loss table from one pass of forward and backward over the calibration split, in floating point.

    Raises:
        TrainingDiverged: a loss or gradient that is not finite. UsageError: a layer that never ran.
    """
    traces = fisher_traces(model, task, batches_of(task, "calibration", device=device_of(model.network)))
    losses = FitLosses(model, choices, noise)
    return mixed_table(model, task, choices, *losses.losses(traces), losses.convention(traces), progress=progress)
