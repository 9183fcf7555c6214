"""How a network is trained, or, without epochs, rounded."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from .errors import UsageError


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with momentum, cosine to zero.

    Attributes:
        epochs: passes over the training split.
        lr: peak learning rate of the weights.
        quantizer_lr: learning rate (Adam, no weight decay) of the quantisers' own parameters.
        weight_decay: of weights with two or more dimensions; biases and norms have none.
        momentum: of SGD (Nesterov).
        warmup: share of the steps over which the rate rises from 0.
        accumulate: batches behind each step of the optimiser; their gradients are averaged.
        precision: ``"bfloat16"`` runs the network under autocast, with weights, losses, batch norm and quantisers' scales in float32.
        distillation: share of the loss that comes from the FP32 network's outputs; 0 is none.
        rounding: of weights where nothing is trained: ``"adaptive"`` keeps each layer's output (:mod:`hwdse.rounding`).
        bias_correction: where nothing is trained, puts the mean of each layer's output back (:mod:`hwdse.bias_correction`).
    """

    epochs: int = 5
    lr: float = 0.01
    quantizer_lr: float = 1e-3
    weight_decay: float = 5e-4
    momentum: float = 0.9
    warmup: float = 0.05
    accumulate: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    distillation: float = 0.0
    rounding: Literal["nearest", "adaptive"] = "nearest"
    bias_correction: bool = False

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            UsageError: what must hold, and what was got.
        """
        rules = {
            "epochs": (self.epochs >= 0, "0 or more"),
            "lr": (0 < self.lr < math.inf, "above 0"),
            "quantizer_lr": (0 < self.quantizer_lr < math.inf, "above 0"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "0 or more"),
            "momentum": (0 <= self.momentum < 1, "in [0, 1)"),
            "warmup": (0 <= self.warmup <= 1, "in [0, 1]"),
            "accumulate": (self.accumulate >= 1, "1 or more"),
            "precision": (self.precision in ("float32", "bfloat16"), "float32 or bfloat16"),
            "distillation": (0 <= self.distillation <= 1, "in [0, 1]"),
            "rounding": (self.rounding in ("nearest", "adaptive"), "nearest or adaptive"),
        }
        for name, (holds, what) in rules.items():
            if not holds:
                raise UsageError(f"a recipe's {name} must be {what}, got {getattr(self, name)!r}.")
        if self.epochs and (self.rounding != "nearest" or self.bias_correction):
            raise UsageError(
                "adaptive rounding and bias correction are for post-training quantisation; training undoes them: set epochs to 0."
            )

    def at(self, epochs: int, *, adaptive: bool) -> Recipe:
        """The same for so many epochs; without any, rounded adaptively or to nearest."""
        if not epochs and adaptive:
            return self.post_training()
        kept = self.distillation if epochs else 0.0
        return replace(self, epochs=epochs, distillation=kept, rounding="nearest", bias_correction=False)

    def post_training(self) -> Recipe:
        """Without training, with what makes up for it: adaptive rounding and bias correction."""
        return replace(self, epochs=0, distillation=0.0, rounding="adaptive", bias_correction=True)


@dataclass(frozen=True)
class Recipes:
    """The task's defaults: ``scratch`` trains the FP32 network, ``finetune`` starts from it under quantisation."""

    scratch: Recipe = field(default_factory=lambda: Recipe(epochs=30, lr=0.1))
    finetune: Recipe = field(default_factory=Recipe)
