"""Peak memory of activations: the largest set of tensors alive at once, over the steps of the schedule.

A tensor has the width of the layer that reads it (its activation width), so each step is a sum over layers and the peak a
maximum of sums: one row per step. A tensor that no quantised layer reads has a fixed, stated width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Literal

import numpy as np

from ..costs import SOURCE_CODE, CostTable
from ..errors import TraceError, UsageError
from ..formats import LayerFormat
from ..graph import LayerGraph
from ..metrics import ACTIVATIONS, Metric
from .coverage import left_out_notes
from .liveness import Buffer, InPlace, Schedule, schedule
from .packing import Packing

_MOST_ROWS = 64  # rows that one step may take for tensors with several readers

# A row before it has numbers: (number of a buffer, layer whose width it has; "" for a fixed width).
Row = frozenset[tuple[int, str]]


class ActivationMemory:
    """Cost model of the peak of activation memory, in bytes.

    Args:
        level: ``liveness``: inputs and outputs of the step and everything that a later step still reads. ``layer``: inputs and
            outputs of the step alone, as if residuals took no room.
        norm, activation, add, depthwise: what is computed in place; see :class:`~.liveness.InPlace`. Views always are.
        other_bits: width of tensors that no quantised layer reads.
        index_bits: width of indices, which integers of 32 and 64 bits are taken for. Integers of fewer bits (images of bytes) and
            booleans (masks) have the width of their type, a byte for uint8 and bool.
        packing: how narrow numbers are packed; see :class:`~.packing.Packing`.

    Where layers of different activation width read one tensor, it counts at the widest of them: exact for tied layers (the
    default of :class:`~hwdse.choices.Choices`), and one row per reader otherwise.
    """

    def __init__(
        self,
        level: Literal["liveness", "layer"] = "liveness",
        *,
        norm: bool = True,
        activation: bool = True,
        add: bool = True,
        depthwise: bool = False,
        other_bits: int = 8,
        index_bits: int = 32,
        packing: str = "dense",
    ) -> None:
        if level not in ("liveness", "layer"):
            raise UsageError(f"level must be 'liveness' or 'layer', got '{level}'.")
        for what, bits, most in (("other_bits", other_bits, 32), ("index_bits", index_bits, 64)):
            if not 1 <= bits <= most:
                raise UsageError(f"{what} must lie in 1..{most}, got {bits}.")
        self.level, self.in_place = level, InPlace(norm, activation, add, depthwise)
        self.other_bits, self.index_bits, self.packing = other_bits, index_bits, Packing(packing)

    @property
    def metric(self) -> Metric:
        """Peak activation memory, in bytes."""
        return ACTIVATIONS

    def tabulate(self, graph: LayerGraph, options: Sequence[LayerFormat]) -> CostTable:
        """One row per step that may be the peak.

        Raises:
            TraceError: the graph lists layers only, without the tensors between them.
        """
        if not graph.data_flow or not graph.steps:
            raise TraceError(
                "activation memory needs the tensors between the layers, but this model could only be traced layer by layer; "
                "make it exportable (torch.export), or leave 'activations' out of the metrics."
            )
        plan = schedule(graph, self.in_place)
        buffers = list({id(b): b for b in plan.of.values()}.values())
        rows, capped = self._rows(graph, plan, {id(b): i for i, b in enumerate(buffers)})
        position = {layer.name: i for i, layer in enumerate(graph.quantisable)}
        entries = [(r, position[layer], buffers[b].elements) for r, (row, _) in enumerate(rows) for b, layer in sorted(row) if layer]
        cells = self.packing.stored([e[2] for e in entries], [o.activation for o in options]).reshape(len(entries), len(options))
        widest = max((o.activation.bits for o in options), default=8)
        fixed = [sum(self._fixed(buffers[b], widest) for b, layer in row if not layer) for row, _ in rows]
        return CostTable(
            ACTIVATIONS, tuple(layer.name for layer in graph.quantisable), tuple(options), cells,
            np.array([e[0] for e in entries], np.intp), np.array([e[1] for e in entries], np.intp), np.array(fixed, np.float64),
            np.full(cells.shape, SOURCE_CODE["computed"], np.int8), self._sentence(),
            (*([f"at {capped} steps, tensors with several readers count at the widest option."] if capped else []),
             "a tensor kept for a skip path is counted at its quantised reader's width; the measured score keeps that path unrounded.",
             *left_out_notes(graph)),
            tuple(name for _, name in rows),
        )  # fmt: skip

    def _fixed(self, buffer: Buffer, widest: int) -> int:
        bits = (buffer.bits or self.index_bits) if buffer.integer else widest if buffer.readers else self.other_bits
        return self.packing.bytes(buffer.elements, bits)

    def _rows(self, graph: LayerGraph, plan: Schedule, number_of: Mapping[int, int]) -> tuple[list[tuple[Row, str]], int]:
        """Rows that no neighbour contains, with the name of their step; and at how many steps readers had to be capped."""
        found: list[tuple[Row, str]] = []
        capped = 0
        for position, (alive, step) in enumerate(zip(plan.alive(len(graph.steps)), graph.steps, strict=True)):
            if self.level == "layer":
                alive = list({id(b): b for b in (plan.of[name] for name in (*step.reads, *step.writes))}.values())
            for live in _without_replaced(alive, plan.replaced.get(position)):
                choices = [[""] if b.integer or not b.readers else list(b.readers) for b in live]
                if np.prod([float(len(c)) for c in choices]) > _MOST_ROWS:
                    choices = [c if len(c) == 1 else [""] for c in choices]
                    capped += 1
                numbers = [number_of[id(b)] for b in live]
                for readers in product(*choices):
                    _push(found, frozenset(zip(numbers, readers, strict=True)), step.name)
        return found, capped

    def _sentence(self) -> str:
        what = "everything alive" if self.level == "liveness" else "inputs and outputs of one step"
        flags = [name for name in ("norm", "activation", "add", "depthwise") if getattr(self.in_place, name)]
        return (
            f"peak activation memory: {what}, over the traced order; in place: {', '.join(['views', *flags])}; a tensor has the "
            f"activation width of the layer that reads it, {self.other_bits} bits where no quantised layer does, indices (int32, int64) "
            f"{self.index_bits}, bool and narrower integers those of their type; packing '{self.packing.rule}'."
        )


def _without_replaced(alive: Sequence[Buffer], pair: tuple[Buffer, Buffer] | None) -> Iterator[list[Buffer]]:
    """The step's buffers; twice, with the operand and with the result, where one is written over the other."""
    if pair is None:
        yield list(alive)
        return
    for gone in pair:
        yield [b for b in alive if b is not gone]


def _push(found: list[tuple[Row, str]], row: Row, name: str) -> None:
    """Adds a row unless the previous one contains it; drops previous ones that it contains."""
    while found and found[-1][0] <= row:
        found.pop()
    if not found or not row <= found[-1][0]:
        found.append((row, name))


def kv_cache_bytes(
    layers: int,
    kv_heads: int,
    head_dim: int,
    tokens: int,
    batch: int,
    bits: int,
    *,
    group: int | None = None,
    scale_bits: int = 16,
    zero_point_bits: int = 0,
) -> int:
    """Bytes of the keys and values that a decoder keeps: ``2 · layers · kv_heads · head_dim · tokens · batch · bits / 8``.

    Args:
        layers, kv_heads, head_dim: of the model; ``tokens`` kept per sequence; ``batch`` sequences; ``bits`` per element.
        group: elements that share one scale and zero point; None without them.
        scale_bits, zero_point_bits: of each group.

    Raises:
        UsageError: a number below 1.
    """
    if min(layers, kv_heads, head_dim, tokens, batch, bits, group or 1) < 1:
        raise UsageError("layers, kv_heads, head_dim, tokens, batch, bits and group must be at least 1.")
    elements = 2 * layers * kv_heads * head_dim * tokens * batch
    beside = -(-elements // group) * (scale_bits + zero_point_bits) if group else 0
    return -(-(elements * bits + beside) // 8)
