"""What weight codebooks cost: indices in memory with the table of codes beside them, codes in the arithmetic.

A codebook of b bits stores b-bit indices and ``2^b - 1`` codes of ``c = max(8, b)`` bits a layer. The multiplier sees the codes, so
BitOPs, latency and energy are those of c-bit weights; that also charges their traffic at c bits, which is too much where indices
travel and are looked up late: an upper estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .bits import BitWidths
from .costs import SOURCE_CODE, CostModel, CostTable
from .graph import LayerGraph
from .quantizers.codebook import code_bits

COMPUTED = ("bitops", "latency", "interval", "energy")


def tabulate_codebook(model: CostModel, graph: LayerGraph, options: Sequence[BitWidths], looked_up: bool = True) -> CostTable:
    """A cost model's table for weights held as codebook indices; ``options`` are index widths.

    Args:
        looked_up: whether the device has a look-up; without one every cell is unsupported.
    """
    if model.metric.name in COMPUTED:
        codes = [BitWidths(code_bits(o.weight), o.activation) for o in options]
        known = sorted(set(codes))
        table = model.tabulate(graph, known)
        column = [known.index(o) for o in codes]
        table = replace(
            table, options=tuple(options), cells=table.cells[:, column], sources=table.sources[:, column],
            errors=None if table.errors is None else table.errors[:, column],
            edges=table.edges and table.edges.aligned(np.arange(len(table.layers)), column),
            notes=(*table.notes, "weights are codebook indices: arithmetic and traffic at the width of the codes, 8 bits or more."),
        )  # fmt: skip
    else:
        table = model.tabulate(graph, options)
        if model.metric.name == "weights":
            size = np.array([(2**o.weight - 1) * code_bits(o.weight) / 8 for o in options])
            cells = np.where(table.cells > 0, table.cells + size, table.cells)
            table = replace(table, cells=cells, notes=(*table.notes, "codebooks of 2^b - 1 codes a layer are counted."))
    if looked_up:
        return table
    return replace(table, cells=np.full_like(table.cells, np.inf), sources=np.full_like(table.sources, SOURCE_CODE["unsupported"]))
