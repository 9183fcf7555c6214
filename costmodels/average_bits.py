"""Average bits of an element, with the meaning named: the phrase alone has at least three."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..costs import CostTable, FloatArray
from ..errors import UsageError
from ..formats import LayerFormat
from ..graph import Layer, LayerGraph, Storage
from ..metrics import AVERAGE_BITS, Metric


class AverageBits:
    """Cost model of the average width over the layers that widths are chosen for, in bits.

    ``sum of share · bits``, the shares adding up to 1.

    Args:
        of: ``weights``, ``activations`` (layer inputs), or ``both`` (the mean of the two averages).
        weighting: ``parameter`` weighs weights by their elements (shared ones once) and activations by the elements of the
            layer's input; ``layer`` gives every layer the same share.
    """

    def __init__(
        self, of: Literal["weights", "activations", "both"] = "weights", weighting: Literal["parameter", "layer"] = "parameter"
    ) -> None:
        if of not in ("weights", "activations", "both"):
            raise UsageError(f"of must be 'weights', 'activations' or 'both', got '{of}'.")
        if weighting not in ("parameter", "layer"):
            raise UsageError(f"weighting must be 'parameter' or 'layer', got '{weighting}'.")
        self.of, self.weighting = of, weighting

    @property
    def metric(self) -> Metric:
        """Average bits."""
        return AVERAGE_BITS

    def tabulate(self, graph: LayerGraph, options: Sequence[LayerFormat]) -> CostTable:
        """One row; a cell is the layer's share times the width."""
        layers = graph.quantisable
        seen: set[Storage | None] = set()
        elements = []
        for layer in layers:
            elements.append(0 if layer.storage in seen else layer.params)
            seen.add(layer.storage)
        cells = np.zeros((len(layers), len(options)))
        if self.of != "activations":
            cells += np.outer(self._shares(elements), [o.weight.stored_bits for o in options])
        if self.of != "weights":
            cells += np.outer(self._shares([_inputs(layer) for layer in layers]), [o.activation.stored_bits for o in options])
        if self.of == "both":
            cells /= 2
        what = {"weights": "weight", "activations": "input", "both": "weight and input"}[self.of]
        by = "weighted by elements" if self.weighting == "parameter" else "every layer weighted alike"
        return CostTable.one_row(
            AVERAGE_BITS, [layer.name for layer in layers], options, cells,
            convention=f"average {what} width over the layers that widths are chosen for, {by}.",
        )  # fmt: skip

    def _shares(self, elements: Sequence[int]) -> FloatArray:
        weights = np.array(elements, np.float64) if self.weighting == "parameter" else np.ones(len(elements))
        total = weights.sum()
        return weights / total if total else weights


def _inputs(layer: Layer) -> int:
    return int(np.prod(layer.input_shape, dtype=np.int64)) if layer.input_shape else 0
