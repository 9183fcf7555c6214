"""Quantisers of weights and activations, by name. Which one is used is independent of which allocator chooses the widths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..registry import find
from .base import MAX_BITS, MIN_BITS, Quantizer
from .codebook import N2UQ, Codebook
from .dorefa import DoReFa, Pact
from .uniform import LearntRange

WEIGHT_QUANTIZERS: Mapping[str, Callable[[], Quantizer]] = {"lsq": LearntRange, "dorefa": DoReFa, "codebook": Codebook}
ACTIVATION_QUANTIZERS: Mapping[str, Callable[[], Quantizer]] = {"lsq": LearntRange, "pact": Pact, "n2uq": N2UQ}


@dataclass(frozen=True)
class Scheme:
    """Names of the weight and the activation quantiser. ``str`` gives ``"dorefa+pact"``."""

    weight: str = "lsq"
    activation: str = "lsq"

    def __str__(self) -> str:
        return f"{self.weight}+{self.activation}"

    @property
    def asks(self) -> tuple[str, ...]:
        """What the device must do for these quantisers beyond multiplying integers; said beside every result."""
        codes = "weights are indices into codebooks of 8-bit codes, which the costs include"
        thresholds = "activations are rounded at learnt, unevenly spaced thresholds, which the device must apply"
        return (*((codes,) if self.weight == "codebook" else ()), *((thresholds,) if self.activation == "n2uq" else ()))

    def post_training(self) -> tuple[Scheme, tuple[str, ...]]:
        """The scheme where no weight is trained, and what must be said: DoReFa bends the weights and needs training to make up for it."""
        if self.weight != "dorefa":
            return self, ()
        return Scheme("lsq", "lsq"), (f"post-training: lsq+lsq quantisers in place of {self}, which need training",)

    def make_weight(self) -> Quantizer:
        """A fresh weight quantiser."""
        return find("weight quantiser", WEIGHT_QUANTIZERS, self.weight, "hwdse.weight_quantizers")()

    def make_activation(self) -> Quantizer:
        """A fresh activation quantiser."""
        return find("activation quantiser", ACTIVATION_QUANTIZERS, self.activation, "hwdse.activation_quantizers")()


__all__ = [
    "ACTIVATION_QUANTIZERS",
    "MAX_BITS",
    "MIN_BITS",
    "N2UQ",
    "WEIGHT_QUANTIZERS",
    "Codebook",
    "DoReFa",
    "LearntRange",
    "Pact",
    "Quantizer",
    "Scheme",
]
