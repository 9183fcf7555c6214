"""Expected loss increase from the trace of the Hessian, by Hutchinson's estimator.

Dong et al., "HAWQ-V2", arXiv 1911.03852: the loss rises by the mean eigenvalue of the Hessian of each tensor times the squared norm of its
quantisation error, here with the factor 1/2 of the Taylor series, so that it is in nats and stands beside the other methods' (ours):

    1/2 Tr(H_q) mean_i(e_i^2),    Tr(H_q) = E[z^T H_q z],    z_i = +1 or -1, each with probability 1/2,

H_q z by a second backward pass through the first, in floating point. For weights H_q is the Hessian of the mean loss over the calibration
split. For inputs, as the paper does for activations, it is the Hessian with respect to each sample's input, averaged over the samples:
the Hessian of a batch-mean loss has those as its blocks, divided by B, so that one probe of the whole batch sees their mean.

Ours: probes go on, pass by pass over the calibration split, tensor by tensor, until a trace's standard error is below ``tolerance`` of
it; each tensor is probed by itself, because probes of all at once also pick up the blocks between layers (on the embedded task about
10 times the variance at 3 times the speed); and where a trace is not positive, it says nothing of the loss: what the tensor loses is
measured (:mod:`.measured`), which the table's notes say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..choices import Choices
from ..contract import loss_of
from ..costs import CostTable
from ..errors import UsageError
from ..inputs import run
from ..quantized import QuantizedModel, evaluating
from ..task import Task, device_of
from .fit import check_finite, errors_of, finite, own
from .measured import mixed_table
from .parts import Progress, calibration, named, quiet
from .reach import Unknown

Key = tuple[str, str]  # ("weight", layer) or ("activation", module path)


@dataclass
class Trace:
    """Estimates of one trace: a row for each pass over the data, whose sum is one estimate, a column for each batch."""

    rows: list[list[float]] = field(default_factory=list)
    cut: bool = False  # the loss was no function of the tensor in some call: it says nothing of it

    @property
    def mean(self) -> float:
        """The trace."""
        return float(np.sum(self.rows) / len(self.rows))

    @property
    def error(self) -> float:
        """Standard error of the probes; the data are given. Infinite before the second pass."""
        if len(self.rows) < 2:
            return float("inf")
        return float(np.sqrt(np.var(self.rows, axis=0, ddof=1).sum() / len(self.rows)))


def hutchinson(
    model: QuantizedModel,
    task: Task,
    data: list[Any],
    *,
    tolerance: float = 0.2,
    passes: int = 16,
    seed: int = 0,
    progress: Progress = quiet,
) -> dict[Key, Trace]:
    """Traces of the Hessian of the mean loss over ``data`` (a list of batches) with respect to each weight and each input.

    Args:
        model: run in floating point.
        task: its loss.
        data: batches as :func:`hwdse.task.batches_of` gives them.
        tolerance: a tensor is probed until its standard error is below this part of its trace.
        passes: over the data, at most; at least 2 are made.
        seed: of the probes.
        progress: told of batches probed.

    Raises:
        TrainingDiverged: a loss that is not finite. UsageError: an operation without a second derivative.
    """
    _check_twice(model, task, *data[0])
    total = sum(len(inputs[0]) for inputs, _ in data)
    found: dict[Key, Trace] = {("weight", name): Trace() for name in model.layers}
    found.update({("activation", path): Trace() for path in model.inputs})
    random = torch.Generator(device=device_of(model.network)).manual_seed(seed)
    for number in range(passes):
        open_ = [key for key, trace in found.items() if number < 2 or trace.error > tolerance * abs(trace.mean)]
        if not open_:
            break
        for key in open_:
            found[key].rows.append([])
        for i, (inputs, target) in enumerate(data):
            progress(number * len(data) + i, passes * len(data))
            share = len(inputs[0]) / total
            values, cut = _probed(model, task, inputs, target, open_, random)
            for key, value in values.items():
                found[key].rows[-1].append(share * value)
                found[key].cut |= key in cut
    return found


def _probed(
    model: QuantizedModel, task: Task, inputs: tuple[Tensor, ...], target: Any, keys: list[Key], random: torch.Generator
) -> tuple[dict[Key, float], set[Key]]:
    """``z^T H z`` of a batch-mean loss, one probe a tensor, and the tensors with a call that no gradient reaches.

    A module that is called twice reads two inputs, whose traces add up.
    """
    cut: set[Key] = set()
    with _differentiable_twice(model, keys) as leaves:
        loss = finite(loss_of(task, run(model.network, inputs), target, gradient=True))
        values = dict.fromkeys(keys, torch.zeros((), device=loss.device))
        tensors = [(key, x) for key in keys for x in leaves[key]]
        for (key, x), gradient in zip(tensors, _gradients(loss, [x for _, x in tensors]), strict=True):
            if gradient is None:
                cut.add(key)
            if gradient is None or not gradient.requires_grad:  # the loss is linear in it
                continue
            z = torch.empty_like(x).bernoulli_(0.5, generator=random) * 2 - 1
            (product,) = torch.autograd.grad(gradient, x, z, retain_graph=True, allow_unused=True)
            if product is not None:
                values[key] = values[key] + torch.sum((z * product).float()).to(loss.device)
    return dict(zip(values, torch.stack(list(values.values())).tolist(), strict=True)), cut


def _gradients(loss: Tensor, tensors: list[Tensor]) -> list[Tensor | None]:
    """First derivatives, with a graph of their own where the loss is not linear in the tensor; None where none arrives."""
    if not (loss.requires_grad and tensors):
        return [None] * len(tensors)
    return list(torch.autograd.grad(loss, tensors, create_graph=True, allow_unused=True))


def _check_twice(model: QuantizedModel, task: Task, inputs: tuple[Tensor, ...], target: Any) -> None:
    """Raises UsageError where an operation has no second derivative.

    A whole ``backward()`` runs every operation; ``autograd.grad`` would pass by one marked ``once_differentiable``, and say nothing.
    """
    weights = [("weight", name) for name in model.layers]
    try:
        with _differentiable_twice(model, weights) as leaves:
            loss = finite(loss_of(task, run(model.network, inputs), target, gradient=True))
            gradients = _gradients(loss, [x for key in weights for x in leaves[key]])
            sums = [g.sum().to(loss.device) for g in gradients if g is not None and g.requires_grad]
            if sums:
                torch.stack(sums).sum().backward()  # type: ignore[no-untyped-call]  # torch's stub
    except RuntimeError as error:
        if not ("derivative" in str(error) or "differentiate twice" in str(error)):
            raise
        raise UsageError(
            f"the Hessian needs second derivatives, and an operation of the model has none ({str(error).splitlines()[0]}); "
            "use --method fit or fit_exact, which need only the first."
        ) from error
    finally:
        model.network.zero_grad(set_to_none=True)


@contextmanager
def _differentiable_twice(model: QuantizedModel, keys: list[Key]) -> Iterator[dict[Key, list[Tensor]]]:
    """While open, the model runs in floating point and its weights and inputs are collected, to be differentiated by."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    leaves: dict[Key, list[Tensor]] = {key: [model.weight_of(key[1])] if key[0] == "weight" else [] for key in keys}

    def tap(path: str, x: Tensor) -> Tensor:
        if ("activation", path) not in leaves or not x.is_floating_point():
            return x
        if not torch.is_grad_enabled():
            leaves["activation", path].append(x.detach().requires_grad_())  # that no gradient will reach
            return x
        x = own(x)
        leaves["activation", path].append(x)
        return x

    fused = sdpa_kernel(SDPBackend.MATH)  # fused attention has no second derivative
    with evaluating(model.network), model.in_float(), model.frozen_too(), model.tapped(tap), torch.enable_grad(), fused:
        yield leaves


def hessian(
    model: QuantizedModel,
    task: Task,
    choices: Choices,
    *,
    tolerance: float = 0.2,
    passes: int = 16,
    seed: int = 0,
    progress: Progress = quiet,
) -> CostTable:
    """The loss table of the module's formula with the quantisers' measured errors. Arguments as for :func:`hutchinson`.

    Raises:
        TrainingDiverged: a loss or gradient that is not finite. UsageError: a layer that never ran; no second derivative.
    """
    data = calibration(model, task)
    model.observe(data)
    errors = errors_of(model, choices, "weight"), errors_of(model, choices, "activation")
    traces = hutchinson(model, task, data, tolerance=tolerance, passes=passes, seed=seed, progress=progress)
    of_weight = [traces["weight", name] for name in choices.layers]
    of_input = [traces.get(("activation", model.module[name])) for name in choices.layers]
    weight = np.array([trace.mean for trace in of_weight])
    activation = np.array([trace.mean if trace else 0.0 for trace in of_input])
    check_finite(choices.layers, weight, activation)
    unknown = Unknown(
        # a call that no gradient reaches is missing in its weight's trace, too
        np.array([w.cut or w.mean <= 0 or (x is not None and x.cut) for w, x in zip(of_weight, of_input, strict=True)]),
        np.array([trace is not None and (trace.cut or trace.mean <= 0) for trace in of_input]),
    )
    notes = _unsure(choices.layers, {"weights": of_weight, "inputs": of_input}, unknown, tolerance)
    most = max(len(trace.rows) for trace in traces.values())
    return mixed_table(
        model, task, choices, 0.5 * weight[:, None] * errors[0], 0.5 * activation[:, None] * errors[1], unknown,
        f"Hessian: half its trace (Hutchinson, up to {most} probes of each of {len(data)} batches) times the measured quantisation error",
        notes, why="no gradient reaches, or the Hessian's trace is not above 0 for,", progress=progress,
    )  # fmt: skip


def _unsure(layers: Sequence[str], traces: Mapping[str, Sequence[Trace | None]], unknown: Unknown, tolerance: float) -> list[str]:
    """Which of the traces that count stayed uncertain."""
    said = []
    for (what, of), measured in zip(traces.items(), unknown, strict=True):
        each = zip(layers, of, measured, strict=True)
        names = [name for name, trace, out in each if trace and not out and trace.error > tolerance * trace.mean]
        if names:
            said.append(f"the trace's standard error stayed above {tolerance:.0%} for the {what} of {named(names)}.")
    return said
