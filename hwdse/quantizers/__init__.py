"""Quantisers of weights and activations, by name. Which one is used is independent of which allocator chooses the widths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ..errors import UsageError
from ..registry import find
from .base import MAX_BITS, MIN_BITS, Quantizer
from .calibrators import CALIBRATORS
from .codebook import Codebook
from .dorefa import DoReFa, Pact
from .n2uq import N2UQ
from .uniform import LearntRange

WEIGHT_QUANTIZERS: Mapping[str, Callable[[], Quantizer]] = {
    "lsq": LearntRange,
    "lsq_channel": partial(LearntRange, per_channel=True),
    "dorefa": DoReFa,
    "dorefa_sat": partial(DoReFa, "fan_out"),
    "codebook": Codebook,
    "codebook_quantile": partial(Codebook, "quantile"),
    "codebook_grid": partial(Codebook, "grid"),
    "codebook_fixed": partial(Codebook, decay=1.0),
}
ACTIVATION_QUANTIZERS: Mapping[str, Callable[[], Quantizer]] = {"lsq": LearntRange, "pact": Pact, "n2uq": N2UQ}


@dataclass(frozen=True)
class Scheme:
    """Names of the weight and the activation quantiser, and of the rule that finds their ranges. ``str``: ``"lsq_channel+lsq@mse"``.

    All three are handed over with an allocation: the same widths under another rule are another network.
    """

    weight: str = "lsq"
    activation: str = "lsq"
    calibrator: str = "mse"

    @classmethod
    def parse(cls, text: str) -> Scheme:
        """The inverse of ``str``; ``@mse`` may be left out.

        Raises:
            UsageError: not of this form. UnknownName: nobody provides a part.
        """
        pair, _, calibrator = text.partition("@")
        weight, plus, activation = (part.strip() for part in pair.partition("+"))
        if not (plus and weight and activation):
            raise UsageError(f"quantisers are written WEIGHT+ACTIVATION or WEIGHT+ACTIVATION@RANGES, as lsq+lsq@mse, got '{text}'.")
        made = cls(weight, activation, calibrator.strip() or "mse")
        made.make_weight(), made.make_activation()
        return made

    def __str__(self) -> str:
        return f"{self.weight}+{self.activation}@{self.calibrator}"

    @property
    def codebook(self) -> bool:
        """Whether weights are indices into codebooks."""
        return self.weight.partition("_")[0] == "codebook"

    @property
    def asks(self) -> tuple[str, ...]:
        """What the device must do for these quantisers beyond multiplying integers; said beside every result."""
        codes = "weights are indices into codebooks of 8-bit codes, which the costs include"
        thresholds = "activations are rounded at learnt, unevenly spaced thresholds, which the device must apply"
        channels = "weights have one scale per output channel, which the device must apply"
        said = codes if self.codebook else channels if self.weight == "lsq_channel" else ""
        return (*((said,) if said else ()), *((thresholds,) if self.activation == "n2uq" else ()))

    def post_training(self) -> tuple[Scheme, tuple[str, ...]]:
        """The scheme where no weight is trained, and what must be said: DoReFa bends the weights and needs training to make up for it."""
        if self.weight.partition("_")[0] != "dorefa":
            return self, ()
        plain = Scheme("lsq", "lsq", self.calibrator)
        return plain, (f"post-training: {plain} quantisers in place of {self}, which need training",)

    @property
    def classes(self) -> tuple[type[Quantizer], type[Quantizer]]:
        """Of the weight and the activation quantiser: their code is part of what a stored result depends on."""
        return type(self.make_weight()), type(self.make_activation())

    def make_weight(self) -> Quantizer:
        """A fresh weight quantiser."""
        return self._made(find("weight quantiser", WEIGHT_QUANTIZERS, self.weight, "hwdse.weight_quantizers")())

    def make_activation(self) -> Quantizer:
        """A fresh activation quantiser."""
        return self._made(find("activation quantiser", ACTIVATION_QUANTIZERS, self.activation, "hwdse.activation_quantizers")())

    def _made(self, quantizer: Quantizer) -> Quantizer:
        quantizer.calibrator = find("range calibrator", CALIBRATORS, self.calibrator, "hwdse.calibrators")
        return quantizer


__all__ = [
    "ACTIVATION_QUANTIZERS",
    "CALIBRATORS",
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
