"""The quantiser of one tensor whatever format is chosen for it: each format is rounded by the method that serves it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..formats import NumberFormat
from . import Scheme
from .base import Quantizer
from .scaled import Scaled


class ByFormat(Quantizer):
    """One quantiser per method, made when a format first asks for it. Each keeps its state while another format is in use.

    Args:
        scheme: names the methods.
        weight: (the weight, axis of its output channels, groups); None for an activation.
        axis: the dimension of an activation that holds its channels.
    """

    def __init__(self, scheme: Scheme, weight: tuple[Tensor, int, int] | None = None, axis: int = -1) -> None:
        super().__init__()
        self.scheme, self.axis = scheme, axis
        self._weight = weight
        self.methods = nn.ModuleDict()
        self._own = scheme.activation if weight is None else scheme.weight
        self._made(self._own)  # has the parameters that an optimiser is given

    def method(self, number: NumberFormat) -> str:
        """Name of the method that rounds to a format.

        Raises:
            UsageError: none does.
        """
        return self.scheme.activation_method(number) if self._weight is None else self.scheme.weight_method(number)

    def of(self, number: NumberFormat) -> Quantizer:
        """The quantiser that rounds to a format."""
        return self._made(self.method(number))

    def _made(self, method: str) -> Quantizer:
        if method not in self.methods:
            made = self.scheme.make_activation(method) if self._weight is None else self.scheme.make_weight(method)
            if self._weight is not None:
                made.prepare(*self._weight)
            elif isinstance(made, Scaled):
                made.axis = self.axis
            self.methods[method] = made.to(self._device())
        found: Quantizer = self.methods[method]  # type: ignore[assignment]  # nothing else is put there
        return found

    def _device(self) -> torch.device:
        known = next((t.device for t in (*self.parameters(), *self.buffers())), None)
        return known or (torch.device("cpu") if self._weight is None else self._weight[0].device)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Makes the methods that the state has; one of before there were several is the scheme's own."""
        for key in [k for k in state_dict if k.startswith(prefix)]:
            rest = key[len(prefix) :]
            if not rest.startswith("methods."):
                state_dict[f"{prefix}methods.{self._own}.{rest}"] = state_dict.pop(key)
            else:
                self._made(rest.split(".")[1])
        super()._load_from_state_dict(state_dict, prefix, *args)

    def serves(self, number: NumberFormat) -> bool:
        """Every format that some method serves."""
        return self.of(number).serves(number)

    def calibrate(self, sample: Tensor, number: NumberFormat) -> None:
        """Fits the method that serves the format."""
        self.of(number).calibrate(sample, number)

    def quantize(self, x: Tensor, number: NumberFormat) -> Tensor:
        """``x`` in the format, by the method that serves it."""
        return self.of(number).quantize(x, number)

    def adapt(self, x: Tensor, number: NumberFormat) -> None:
        """One step of adaptation of the method that serves the format."""
        self.of(number).adapt(x, number)
