"""A cost model of your own, in one file: the traffic to off-chip memory, with a scratchpad that keeps small inputs on chip.

    python examples/my_cost_model.py

A cost model is any object with ``metric`` and ``tabulate``. Hand it to whatever takes cost models, or make it known by
name to the command line from a package of yours:

    [project.entry-points."hwdse.cost_models"]
    traffic = "my_package:OffChipTraffic"
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hwdse.choices import Choices
from hwdse.costs import CostTable
from hwdse.formats import LayerFormat, grid
from hwdse.graph import Layer, LayerGraph
from hwdse.metrics import Metric


class OffChipTraffic:
    """Bytes that cross the memory interface: weights once, inputs unless they fit the scratchpad at their width.

    ``cell(layer, w, a) = weights · w / 8 + (inputs · a / 8 if that is more than the scratchpad, else 0)``
    """

    def __init__(self, scratchpad: int = 32 * 1024) -> None:
        self.scratchpad = scratchpad

    @property
    def metric(self) -> Metric:
        """What it measures; the unit ``B`` is shown in KiB and MiB and read in budgets such as ``traffic <= 2 MiB``."""
        return Metric("traffic", "B")

    def tabulate(self, graph: LayerGraph, options: Sequence[LayerFormat]) -> CostTable:
        """One row: a cell per layer and pair of widths; what no width is chosen for counts at 8 bits in the fixed part."""
        cells = np.array([[self._bytes(layer, option) for option in options] for layer in graph.quantisable])
        fixed = sum(self._bytes(layer, LayerFormat.of(8, 8)) for layer in graph.layers if not layer.quantisable)
        return CostTable.one_row(
            self.metric, [layer.name for layer in graph.quantisable], options, cells, fixed,
            convention=f"off-chip traffic: weights once, inputs that exceed {self.scratchpad:,} B; outputs not counted.",
        )  # fmt: skip

    def _bytes(self, layer: Layer, widths: LayerFormat) -> float:
        inputs = math.prod(layer.input_shape) * widths.activation.bits / 8
        return layer.params * widths.weight.bits / 8 + (inputs if inputs > self.scratchpad else 0.0)


def main() -> None:
    """Compares uniform allocations of a three-layer network."""
    graph = LayerGraph(
        (
            Layer("stem", "conv", 1_769_472, (1, 3, 64, 64), (1, 16, 64, 64), "stem.weight", (16, 3, 3, 3), 0, "stem"),
            Layer("body", "conv", 9_437_184, (1, 16, 64, 64), (1, 16, 64, 64), "body.weight", (16, 16, 3, 3), 0, "body"),
            Layer("head", "linear", 655_360, (1, 65_536), (1, 10), "head.weight", (10, 65_536), 0, "head"),
        ),
        tensors={}, steps=(), inputs=(), outputs=(), data_flow=False,
    )  # fmt: skip
    choices = Choices.of(graph, (2, 4, 8), (2, 4, 8), ends=None)
    table = OffChipTraffic().tabulate(graph, choices.options)
    print(table.convention)
    for widths in grid((2, 4, 8), (2, 8)):
        print(f"  uniform {widths}: {table.metric.format(table.total(choices.uniform(widths)))}")


if __name__ == "__main__":
    main()
