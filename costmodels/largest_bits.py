"""Largest bit-width: the L-infinity norm of the widths, beside their average, the L1 norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..costs import SOURCE_CODE, CostTable
from ..errors import UsageError
from ..formats import LayerFormat
from ..graph import LayerGraph
from ..metrics import Metric

LARGEST_BITS = Metric("largest_bits", "bit")


class LargestBits:
    """Cost model of the largest width of any tensor, in bits: ``max over tensors of bits``.

    The tensors are the weights and the inputs of the layers that widths are chosen for; an embedding's input holds indices and has none.

    Args:
        of: ``weights``, ``activations`` (layer inputs), or ``both``.
        ends: whether the first and the last layer count. By default they do not: :meth:`~hwdse.choices.Choices.of` holds them at w8a8,
            so that the maximum over all layers would be 8 whatever is chosen between them. Layers that are pinned by name do
            count: a limit below their widths is infeasible, and the error says what can be reached.
    """

    codebooks = "indices"

    def __init__(self, of: Literal["weights", "activations", "both"] = "both", ends: bool = False) -> None:
        if of not in ("weights", "activations", "both"):
            raise UsageError(f"of must be 'weights', 'activations' or 'both', got '{of}'.")
        self.of, self.ends = of, ends

    @property
    def metric(self) -> Metric:
        """Largest bits."""
        return LARGEST_BITS

    def tabulate(self, graph: LayerGraph, options: Sequence[LayerFormat]) -> CostTable:
        """One row per tensor, of one entry."""
        layers = graph.quantisable
        cells, owners, names = [], [], []
        for i, layer in enumerate(layers):
            if not self.ends and i in (0, len(layers) - 1):
                continue
            if self.of != "activations":
                cells.append([o.weight.bits for o in options])
                owners.append(i)
                names.append(f"{layer.name} weight")
            if self.of != "weights" and layer.kind != "embedding":
                cells.append([o.activation.bits for o in options])
                owners.append(i)
                names.append(f"{layer.name} input")
        what = {"weights": "weight", "activations": "input", "both": "weight or input"}[self.of]
        where = "of all layers that widths are chosen for" if self.ends else "of the layers between the first and the last"
        count = len(cells)
        return CostTable(
            LARGEST_BITS, tuple(layer.name for layer in layers), tuple(options), np.array(cells, np.float64).reshape(count, len(options)),
            np.arange(count), np.array(owners, np.intp), np.zeros(max(count, 1)),
            np.full((count, len(options)), SOURCE_CODE["computed"], np.int8), f"largest {what} width {where}.",
            () if count else ("there is no such tensor: the largest width is 0.",), tuple(names),
        )  # fmt: skip
