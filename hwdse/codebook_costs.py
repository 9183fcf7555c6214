"""What weight codebooks cost: indices in memory with the table of codes beside them, codes in the arithmetic.

A codebook of b bits stores b-bit indices and ``2^b - 1`` codes of ``c = max(8, b)`` bits a layer. The multiplier sees the codes, so
BitOPs, latency and energy are those of c-bit weights; that also charges their traffic at c bits, which is too much where indices
travel and are looked up late: an upper estimate.

Which of the two a cost is about, its model says with an attribute ``codebooks``, or its metric does: operations, times and energies are of
the arithmetic, ``weights`` is of memory, ``activations`` and ``average_bits`` know no codes. Any other cost is refused: priced by the
width of the indices, it could be several times too low.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, cast, get_args

import numpy as np

from .bits import BitWidths
from .costs import SOURCE_CODE, CostModel, CostTable
from .errors import UsageError
from .graph import LayerGraph
from .metrics import ACTIVATIONS, AVERAGE_BITS, WEIGHTS
from .quantizers.codebook import code_bits

#: ``codes``: the cost of weights as wide as the codes. ``memory``: that of the indices, and the table of codes beside it, in bytes.
#: ``indices``: that of weights as wide as the indices.
Charge = Literal["codes", "memory", "indices"]
_OF_UNIT: dict[str, Charge] = {"bitop": "codes", "s": "codes", "J": "codes"}
_OF_METRIC: dict[tuple[str, str], Charge] = {
    (WEIGHTS.name, WEIGHTS.unit): "memory",
    (ACTIVATIONS.name, ACTIVATIONS.unit): "indices",
    (AVERAGE_BITS.name, AVERAGE_BITS.unit): "indices",
}


def charge_of(model: CostModel) -> Charge:
    """What of a codebook a cost model charges.

    Raises:
        UsageError: neither the model nor its metric says so.
    """
    metric, said = model.metric, getattr(model, "codebooks", None)
    if said is None:
        said = _OF_METRIC.get((metric.name, metric.unit)) or _OF_UNIT.get(metric.unit)
    if said not in get_args(Charge):
        how = "does not say" if said is None else f"has codebooks = {said!r}, which does not say"
        raise UsageError(
            f"the cost model of {metric.key} ({type(model).__name__}) {how} what weights held as codebook indices cost, which the "
            "allocator adq uses. Give the model an attribute codebooks: 'codes' (arithmetic and traffic at the codes' 8 bits or more), "
            "'memory' (bytes of indices and codes), or 'indices' (the width of the indices); or use uniform levels: --quantizers lsq+lsq."
        )
    return cast(Charge, said)


def tabulate_codebook(model: CostModel, graph: LayerGraph, options: Sequence[BitWidths], looked_up: bool = True) -> CostTable:
    """A cost model's table for weights held as codebook indices; ``options`` are index widths.

    Args:
        looked_up: whether the device has a look-up; without one every cell is unsupported.

    Raises:
        UsageError: what it costs is not known, see :func:`charge_of`.
    """
    charge = charge_of(model)
    if charge == "codes":
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
        if charge == "memory":
            size = np.array([(2**o.weight - 1) * code_bits(o.weight) / 8 for o in options])
            cells = np.where(table.cells > 0, table.cells + size, table.cells)
            table = replace(table, cells=cells, notes=(*table.notes, "codebooks of 2^b - 1 codes a layer are counted."))
    if looked_up:
        return table
    return replace(table, cells=np.full_like(table.cells, np.inf), sources=np.full_like(table.sources, SOURCE_CODE["unsupported"]))
