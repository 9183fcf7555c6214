"""Which tensors a gradient has reached: a tensor that none has reached is of unknown sensitivity, not insensitive.

A forward pass stops gradients by ``no_grad``, ``detach``, ``.data`` or ``argmax``, and PyTorch says nothing: a weight's ``grad`` stays
None, and the hook on an input does not run. So calls are counted, and the gradients that came back for them. A call without one leaves
its input unknown and, since the weight misses that call's part, the weight as well. A sum of exactly 0 is taken for unknown, too: a unit
that is dead in floating point may live under quantisation, and a measurement costs little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..choices import BoolArray
from ..costs import FloatArray
from ..quantized import QuantizedModel


class Unknown(NamedTuple):
    """(L,) and (L,): layers whose weight, and whose input, the gradients say nothing of."""

    weight: BoolArray
    activation: BoolArray

    @property
    def either(self) -> BoolArray:
        """(L,) layers of which anything is unknown."""
        return self.weight | self.activation


class Reach:
    """Counts, by module path, the calls of each layer and the gradients that came back, pass by pass."""

    def __init__(self, model: QuantizedModel) -> None:
        self.model = model
        self._calls: Counter[str] = Counter()
        self._gradients: Counter[str] = Counter()
        self._cut: set[str] = set()  # module paths with a call that no gradient came back to

    def call(self, path: str, x: Tensor) -> bool:
        """Counts a call; whether a gradient with respect to its input is to be waited for."""
        if not torch.is_grad_enabled():
            self._cut.add(path)
            return False
        if not x.is_floating_point():  # indices: the weight's own gradient says whether it was reached
            return False
        self._calls[path] += 1
        return True

    def arrived(self, path: str) -> None:
        """A gradient came back to a call."""
        self._gradients[path] += 1

    def end_pass(self) -> None:
        """After a backward pass, before the next forward pass."""
        self._cut.update(path for path, calls in self._calls.items() if self._gradients[path] < calls)
        self._calls.clear()
        self._gradients.clear()

    def unknown(self, layers: Sequence[str], weight: FloatArray, activation: FloatArray) -> Unknown:
        """What the passes so far leave open.

        Args:
            layers: names (L of them).
            weight, activation: (L,) sums of squared gradients, or traces, whose zeros say nothing.
        """
        cut = np.array([self.model.module[name] in self._cut for name in layers], bool)
        read = np.array([self.model.module[name] in self.model.inputs for name in layers], bool)
        tensors = [id(self.model.weight_of(name)) for name in layers]
        of_weight = cut | (weight == 0)
        partly = {tensor for tensor, yes in zip(tensors, of_weight, strict=True) if yes}
        return Unknown(np.array([tensor in partly for tensor in tensors], bool), read & (cut | (activation == 0)))

    def state(self) -> list[str]:
        """What a checkpoint needs."""
        return sorted(self._cut)

    def load_state(self, state: Any) -> None:
        """The inverse of :meth:`state`."""
        self._cut = set(state)
