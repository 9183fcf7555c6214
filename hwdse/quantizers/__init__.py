"""Quantisers of weights and activations, by name. Which one is used is independent of which allocator chooses the widths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial

from ..errors import UsageError
from ..formats import EXAMPLES, LayerFormat, NumberFormat
from ..registry import find
from .affine import Affine
from .base import MAX_BITS, MIN_BITS, Quantizer
from .calibrators import CALIBRATORS
from .codebook import Codebook
from .dorefa import DoReFa, Pact
from .n2uq import N2UQ
from .scaled import Scaled
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
    "affine": Affine,
    "scaled": Scaled,
}
ACTIVATION_QUANTIZERS: Mapping[str, Callable[[], Quantizer]] = {
    "lsq": LearntRange, "pact": Pact, "n2uq": N2UQ, "affine": Affine,
    "scaled": Scaled,
}  # fmt: skip


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

    def formats(self, chosen: LayerFormat) -> LayerFormat:
        """The formats that stand for two widths under these quantisers: a codebook quantiser makes ``w4a8`` ``cb4:int8``."""
        return LayerFormat(self.make_weight().counterpart(chosen.weight), self.make_activation().counterpart(chosen.activation))

    def requirements(self, formats: Iterable[LayerFormat]) -> tuple[str, ...]:
        """What the device must do for some layers' formats beyond multiplying numbers; said beside every result."""
        found: dict[str, None] = {}
        for one in formats:
            for number, method, make in (
                (one.weight, self.weight_method, self.make_weight),
                (one.activation, self.activation_method, self.make_activation),
            ):
                if not number.floating:
                    found[make(method(number)).requirement(number)] = None
        return tuple(filter(None, found))

    def post_training(self) -> tuple[Scheme, tuple[str, ...]]:
        """The scheme where no weight is trained, and what must be said: some quantisers need training to make up for what they bend."""
        if self.make_weight().post_training and self.make_activation().post_training:
            return self, ()
        plain = Scheme("lsq", "lsq", self.calibrator)
        return plain, (f"post-training: {plain} quantisers in place of {self}, which need training",)

    @property
    def classes(self) -> tuple[type[Quantizer], type[Quantizer]]:
        """Classes of the weight and the activation quantiser: their code is part of what a stored result depends on."""
        return type(self.make_weight()), type(self.make_activation())

    def weight_method(self, number: NumberFormat) -> str:
        """Name of the quantiser that rounds weights to a format: the scheme's own where it serves it, else the first that does.

        Raises:
            UsageError: none does.
        """
        return _serving(self, "weights", number)

    def activation_method(self, number: NumberFormat) -> str:
        """The same for activations."""
        return _serving(self, "activations", number)

    def make_weight(self, method: str | None = None) -> Quantizer:
        """A fresh weight quantiser: the scheme's, or that of another method."""
        return self._made(find("weight quantiser", WEIGHT_QUANTIZERS, method or self.weight, "hwdse.weight_quantizers")())

    def make_activation(self, method: str | None = None) -> Quantizer:
        """A fresh activation quantiser: the scheme's, or that of another method."""
        return self._made(find("activation quantiser", ACTIVATION_QUANTIZERS, method or self.activation, "hwdse.activation_quantizers")())

    def _made(self, quantizer: Quantizer) -> Quantizer:
        quantizer.calibrator = find("range calibrator", CALIBRATORS, self.calibrator, "hwdse.calibrators")
        return quantizer


@cache
def _serving(scheme: Scheme, what: str, number: NumberFormat) -> str:
    own, make = (scheme.weight, scheme.make_weight) if what == "weights" else (scheme.activation, scheme.make_activation)
    methods = (own, "lsq", "affine", *(["codebook"] if what == "weights" else []), "scaled")
    found = next((method for method in methods if make(method).serves(number)), None)
    if found is None:
        raise UsageError(f"no quantiser rounds {what} to {number}; known formats: {EXAMPLES}.")
    return found


__all__ = [
    "ACTIVATION_QUANTIZERS",
    "CALIBRATORS",
    "MAX_BITS",
    "MIN_BITS",
    "N2UQ",
    "WEIGHT_QUANTIZERS",
    "Affine",
    "Codebook",
    "DoReFa",
    "LearntRange",
    "Pact",
    "Quantizer",
    "Scaled",
    "Scheme",
]
