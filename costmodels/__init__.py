"""Cost models: bit operations, memory, and accelerators as files.

A cost model is a class with ``metric`` and ``tabulate``, and one line in :data:`COST_MODELS`; other packages add theirs
through the entry point group ``hwdse.cost_models``. An accelerator is one TOML file and no line.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ..costs import CostModel
from ..errors import UsageError
from ..registry import find, names
from .accelerator import Accelerator
from .activations import ActivationMemory, kv_cache_bytes
from .answers import Answer
from .average_bits import AverageBits
from .bitops import CONVENTIONS, BitOps, BitOpsConvention, EndRule
from .largest_bits import LargestBits
from .loading import accelerator_names, check_accelerator, load_accelerator
from .memory import WeightMemory

GROUP = "hwdse.cost_models"
COST_MODELS: Mapping[str, Callable[..., CostModel]] = {
    "bitops": BitOps,
    "weights": WeightMemory,
    "activations": ActivationMemory,
    "average_bits": AverageBits,
    "largest_bits": LargestBits,
}

__all__ = [
    "CONVENTIONS",
    "COST_MODELS",
    "Accelerator",
    "ActivationMemory",
    "Answer",
    "AverageBits",
    "BitOps",
    "BitOpsConvention",
    "EndRule",
    "LargestBits",
    "WeightMemory",
    "accelerator_names",
    "check_accelerator",
    "cost_model",
    "cost_model_names",
    "kv_cache_bytes",
    "load_accelerator",
]


def cost_model_names() -> list[str]:
    """Every cost model that depends on no accelerator, plug-ins last."""
    return names(COST_MODELS, GROUP)


def cost_model(name: str, **options: Any) -> CostModel:
    """The cost model called ``name``, made with ``options``.

    Raises:
        UnknownName: nobody provides it. UsageError: options that it does not take, or values that it refuses.
    """
    make = find("cost model", COST_MODELS, name, GROUP)
    try:
        inspect.signature(make).bind(**options)
    except TypeError as error:
        taken = ", ".join(inspect.signature(make).parameters) or "none"
        raise UsageError(f"cost model '{name}': {error}; it takes: {taken}.") from None
    return make(**options)
