"""Conversions: what a device pays where a tensor goes on to a layer that runs at another activation width.

    cost(A, B) = 0                            where A and B run their activations at one width
               = fixed + each · elements      otherwise, in the metric's unit

A layer writes at the width it runs at, and needs what it reads at that width too. Every tensor has one width: what is computed from a
tensor without a layer (views, norms, pools) keeps it; a sum is made by the last layer whose output is in it, so the other operand (the
shortcut around a block) is converted for that layer; the parts of a concatenation keep theirs. A tensor that a layer reads is at that
layer's width for all else that reads it. What is converted is the smaller of the tensor written and the tensor read. Layers that read one
tensor share its conversion evenly: exact where they run at one width, as tied ones do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..costs import CostTable
from ..edges import Edges
from ..graph import LayerGraph, Step
from .precision import Precision


@dataclass(frozen=True)
class Crossing:
    """``elements`` that are at the width of layer ``writer`` and that ``reader`` needs at its own; a share, where readers share them."""

    writer: str
    reader: str
    elements: int
    share: float = 1.0


@dataclass(frozen=True)
class Conversion:
    """``fixed`` a conversion and ``each`` an element, in a metric's unit, on a device with these widths."""

    fixed: float
    each: float
    precision: Precision

    def added(self, table: CostTable, graph: LayerGraph, scale: float = 1.0) -> CostTable:
        """A table of one entry per layer with the conversions, times ``scale``, as its edges.

        They count in the reader's row. Between a layer and one that takes no widths, which runs at ``precision.other``, the cost
        depends on one choice alone and goes into that layer's cells.
        """
        if not graph.data_flow:
            note = "conversions between layers of different widths are not counted: how tensors flow between the layers is not known here."
            return replace(table, notes=(*table.notes, note))
        place = {name: i for i, name in enumerate(table.layers)}
        runs = [self.precision.executed(option) for option in table.options]
        distinct = [run.activation for run in runs if run is not None]
        # -1: those that cannot run are infinite in the cells
        widths = np.array([-1 if run is None else distinct.index(run.activation) for run in runs])
        other = self.precision.executed(self.precision.other)
        cells, ends, matrices = table.cells.copy(), [], []
        for crossing in crossings(graph):
            cost = scale * crossing.share * (self.fixed + self.each * crossing.elements)
            one, two = place.get(crossing.writer), place.get(crossing.reader)
            if one is not None and two is not None:
                ends.append((one, two))
                matrices.append(cost * (widths[:, None] != widths))
            elif other is not None and (one is not None or two is not None):
                cells[two if one is None else one] += cost * (
                    widths != (distinct.index(other.activation) if other.activation in distinct else -2)
                )
        pairs = np.array(ends, np.intp).reshape(-1, 2)
        edges = Edges(pairs, table.row[pairs[:, 1]], np.array(matrices).reshape(-1, len(widths), len(widths)))
        return replace(table, cells=cells, edges=edges, notes=(*table.notes, self._note(table, len(pairs), scale)))

    def _note(self, table: CostTable, count: int, scale: float) -> str:
        parts = [f"{scale * self.fixed:.4g} {table.metric.unit} each"] if self.fixed else []
        parts += [f"{scale * self.each:.4g} {table.metric.unit} an element"] if self.each else []
        return (
            f"converting a tensor for a layer that runs at another activation width costs {' and '.join(parts)}; {count} edges of layers."
        )


def conversion(fixed: float, each: float, precision: Precision) -> Conversion | None:
    """None where it costs nothing."""
    return Conversion(fixed, each, precision) if fixed or each else None


def crossings(graph: LayerGraph) -> tuple[Crossing, ...]:
    """Every step of a tensor from one layer's width to another's, in execution order.

    The model's inputs, indices, and what embeddings look up come at any width.
    """
    flow = _Flow(graph)
    for step in graph.steps:
        flow.follow(step)
    return tuple(flow.found)


class _Flow:
    """At whose width each tensor is: layer -> elements of it (several for concatenations)."""

    def __init__(self, graph: LayerGraph) -> None:
        self.graph, self.found = graph, list[Crossing]()
        self.order = {layer.name: i for i, layer in enumerate(graph.layers)}
        self.root = {name: name for name in graph.tensors}
        self.width: dict[str, dict[str, int]] = {name: {} for name in graph.tensors}

    def follow(self, step: Step) -> None:
        layer = self.graph[step.layer] if step.layer else None
        if step.op == "view" and step.reads:
            self.root.update(dict.fromkeys(step.writes, self.root[step.reads[0]]))
            self.width.update(dict.fromkeys(step.writes, self.width[step.reads[0]]))
        elif layer is None:
            self._combine(step)
        else:
            if layer.quantisable:
                self._read(step.reads[0], layer.name)
            for name in () if layer.quantisable else dict.fromkeys(step.reads):
                self._cross(self._kept(name), layer.name, self.graph.tensors[name].elements)
            if layer.kind != "embedding":
                self.width.update({t: {layer.name: self.graph.tensors[t].elements} for t in step.writes})

    def _kept(self, name: str) -> dict[str, int]:
        """A tensor's width for all but the layers that read it: theirs, if there are any."""
        tensor, readers = self.graph.tensors[name], self.graph.readers.get(self.root[name], ())
        return {} if tensor.integer else {readers[0]: tensor.elements} if readers else self.width[name]

    def _read(self, name: str, layer: str) -> None:
        """Readers of all of a tensor share it; those of a part of it each have their own."""
        tensor, readers = self.graph.tensors[name], self.graph.readers[self.root[name]]
        if not tensor.integer:
            share = min(1.0, self.graph.tensors[self.root[name]].elements / (len(readers) * tensor.elements))
            self._cross(self.width[name], layer, tensor.elements, share)

    def _cross(self, width: dict[str, int], layer: str, elements: int, share: float = 1.0) -> None:
        self.found += [Crossing(writer, layer, min(n, elements), share) for writer, n in width.items() if writer != layer]

    def _combine(self, step: Step) -> None:
        """Sums, products, concatenations, and what has one operand."""
        above: dict[str, int] = {}
        for name in dict.fromkeys(step.reads):
            for writer, elements in self._kept(name).items():
                above[writer] = max(above.get(writer, 0), elements)
        for name in step.writes:
            elements = self.graph.tensors[name].elements
            if step.op == "concat" or len(above) < 2:
                self.width[name] = above
            else:
                last = max(above, key=self.order.__getitem__)
                self._cross(above, last, elements)
                self.width[name] = {last: elements}
