"""By how much the loss would change at the neighbouring widths: AdaQAT's L - L(b - 1), by probes or from the backward pass alone."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..choices import IntArray
from ..costs import FloatArray
from ..errors import UsageError
from ..formats import NumberFormat
from ..quantized import QuantizedModel
from ..training import Step
from .cost_slopes import Moves
from .width_groups import WidthGroups

MOMENTUM = 0.9
STRIDE = 4  # every 4th sample stands for the batch's activations: batches are shuffled, so their sums, times 4, are unbiased


class ProbedSlopes:
    """The paper's: one further forward pass on the same mini-batch for every unit of groups."""

    def __init__(self, model: QuantizedModel, groups: WidthGroups) -> None:
        self.groups = groups

    def aim(self, widths: IntArray, moves: Moves) -> None:
        """From now on the slopes are those from these widths, (G,), to their neighbours."""
        self.widths, self.moves = widths, moves

    def watching(self) -> contextlib.AbstractContextManager[None]:
        """Nothing to watch."""
        return contextlib.nullcontext()

    def slopes(self, step: Step) -> FloatArray:
        """(G,) fall of the loss per bit on the way to the neighbour: negative where the network needs the bits."""
        moves, choices = self.moves, self.groups.problem.choices
        falls = np.zeros(len(moves.bits))
        for unit in np.unique(moves.unit[moves.bits != 0]):
            mine = moves.unit == unit
            there = choices.allocation(self.groups.indices(np.where(mine, moves.other, self.widths)))
            falls[mine] = step.loss - step.probe(there)
        return falls / np.where(moves.bits == 0, 1, moves.bits)

    def state(self) -> dict[str, Any]:
        """Nothing is kept."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to load."""


class ExpandedSlopes:
    """One difference for each group at no forward pass (ours), by expanding the loss around the quantised tensors q = Q(x):

        L(other) - L  ~  sum g d  +  1/2 B sum g^2 d^2,    d = Q_other(x) - q,    g = dL/dq

    The first sum is the exact first order. The second is the curvature along d by the diagonal of the empirical Fisher information, for
    a loss that is the mean over B samples, as in FIT (arXiv 2210.08502). Where the weights are the best there are, g d has the mean zero
    and the second sum is the difference to expect; on the way there g d is noise on top. Measured on three small networks, 8 training
    seeds, 3 to 5 bits (``benchmarks/allocators/slopes.py``): after an epoch at these widths the second sum ranked the tensors better
    than the first in 60 of 72 cases (median Spearman correlation with the measured differences 0.66 to 0.85 by network; the first 0.19
    to 0.61, their sum 0.64 to 0.79). Right after calibration it did in 49 of 72; on the residual network with batch norms in 9 of
    24 only. So ``order`` 2, the default, takes the second sum alone; 1 takes the first.

    Either is averaged over the steps with momentum 0.9, times 4^b, b the narrower width: so what was learnt at one width counts at
    the next.

    Args:
        model: the network.
        groups: tensors that count together.
        order: 1 or 2.
    """

    def __init__(self, model: QuantizedModel, groups: WidthGroups, order: int = 2) -> None:
        self.model, self.groups, self.order = model, groups, order
        self._group: dict[tuple[str, str], int] = {}  # ("weight" or "input", module path) -> group
        for i, layer in enumerate(groups.problem.choices.layers):
            path = model.module[layer]
            self._group["weight", model.weights[path].path] = int(groups.weight[i])
            self._group["input", path] = int(groups.activation[i])
        self._sums: list[tuple[int, Tensor]] = []  # (group, the two sums of one tensor)
        self._waiting: list[str] = []  # paths of the tensors whose gradients have not come back in this step
        self._mean, self._passes = np.zeros(groups.count), 0

    def aim(self, widths: IntArray, moves: Moves) -> None:
        """From now on the slopes are those from these widths, (G,), to their neighbours."""
        self.widths, self.moves = widths, moves

    def watching(self) -> contextlib.AbstractContextManager[None]:
        """While open, every backward pass is looked at."""
        return self.model.watched(self._watch)

    def _watch(self, path: str, what: str, x: Tensor, q: Tensor, number: NumberFormat) -> None:
        group = self._group[what, path]
        other = int(self.moves.other[group])
        if other == number.bits or self.moves.bits[group] == 0:
            return
        self._waiting.append(path)
        if not torch.is_grad_enabled():
            return
        quantizer = self.model.weights[path].quantizer if what == "weight" else self.model.inputs[path]
        neighbour = self.groups.format_of(group, other)
        stride = 1 if what == "weight" else STRIDE
        floating, present = x.detach()[::stride], q.detach()[::stride]  # q itself in its own hook would be a circle
        share = len(x) / max(len(present), 1)

        def hook(gradient: Tensor) -> None:
            self._waiting.remove(path)
            with torch.no_grad():
                product = (gradient[::stride].float() * (quantizer.quantize(floating, neighbour).float() - present.float())).flatten()
                self._sums.append((group, torch.stack([product.sum(), product.dot(product)]) * share))

        if not q.requires_grad:  # a frozen weight or an image, behind a quantiser without parameters
            q.requires_grad_()
        q.register_hook(hook)  # type: ignore[no-untyped-call]  # torch's stub

    def differences(self, batch_size: int) -> FloatArray:
        """(2, G) the two sums of L(other) - L since the last call; 0 where there is no neighbour.

        Raises:
            UsageError: a tensor that no gradient reaches, whose slope is unknown.
        """
        if self._waiting:
            names, self._waiting = ", ".join(dict.fromkeys(self._waiting)), []
            raise UsageError(
                f"no gradient reaches {names} (no_grad, detach or argmax in the forward pass), so AdaQAT cannot learn widths there from "
                "gradients; use granularity='network', which measures the loss, or qbitopt."
            )
        found = np.zeros((2, len(self._mean)))
        if self._sums:
            values = torch.stack([sums for _, sums in self._sums]).double().cpu().numpy()  # one wait for the device
            groups = np.array([group for group, _ in self._sums])
            for order in (0, 1):
                np.add.at(found[order], groups, values[:, order])
            self._sums = []
        found[1] *= batch_size / 2
        return found

    def slopes(self, step: Step) -> FloatArray:
        """(G,) fall of the loss per bit on the way to the neighbour, of the whole unit."""
        moves = self.moves
        narrower, side = 4.0 ** np.minimum(self.widths, moves.other), np.sign(moves.bits)
        first, curvature = self.differences(step.batch_size)
        worse = first * side if self.order == 1 else curvature  # by which the narrower of the two widths is worse
        self._passes += 1
        keep = min(MOMENTUM, 1 - 1 / self._passes)
        self._mean = keep * self._mean + (1 - keep) * worse * narrower
        falls = np.bincount(moves.unit, -side * self._mean / narrower, len(side))[moves.unit]
        return falls / np.where(moves.bits == 0, 1, moves.bits)

    def state(self) -> dict[str, Any]:
        """The averages."""
        return {"mean": self._mean.tolist(), "passes": self._passes}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        self._mean, self._passes = np.array(state["mean"]), int(state["passes"])
