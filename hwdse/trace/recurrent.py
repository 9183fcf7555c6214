"""LSTM, GRU and RNN: one layer per level and direction, and one per projection.

A level and direction applies its input and its hidden matrix side by side, (gates x hidden, inputs + hidden), once per time
step and batch entry. Its ``weight`` goes by the name of the input matrix and stands for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from torch.fx import Node

from ..graph import Layer, Step
from .constants import parameter_of
from .deployed import Deployed
from .macs import recurrent_macs
from .ops import arguments, base_name
from .rules import shape
from .values import Values

_MODULES = {"lstm", "gru", "rnn_tanh", "rnn_relu"}
_CELLS = {"lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"}
RECURRENT = frozenset(_MODULES | _CELLS)


@dataclass(frozen=True)
class Cell:
    """One level and direction. ``weights``: input and hidden matrix, or the projection alone; all shapes as stored."""

    suffix: str
    weights: tuple[Node, ...]
    biases: tuple[Node, ...]
    rows: int
    width: int

    @property
    def projects(self) -> bool:
        """Whether this is a projection, which reads the cell before it."""
        return self.suffix.endswith("_proj")

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all time steps and batch entries."""
        return recurrent_macs(self.rows, *(shape(w) for w in self.weights))

    @property
    def weight_shape(self) -> tuple[int, int]:
        """(gates x hidden, inputs + hidden): the matrices side by side, as the cell applies them."""
        return shape(self.weights[0])[0], sum(shape(w)[1] for w in self.weights)


def levels(node: Node) -> tuple[Node, list[list[Cell]]]:
    """(the input, the cells of each level; cells of one level read the same tensor, a projection reads its cell)."""
    given = arguments(node)
    if base_name(node) in _CELLS:
        biases = tuple(b for b in (given["b_ih"], given["b_hh"]) if isinstance(b, Node))
        rows = prod(shape(given["input"])[:-1])
        return given["input"], [[Cell("", (given["w_ih"], given["w_hh"]), biases, rows, shape(given["w_hh"])[1])]]
    source: Node = given["input"] if "input" in given else given["data"]
    rows = prod(shape(source)[:-1])
    result = []
    queue: list[Any] = list(given["params"])
    directions = ("", "_reverse") if given["bidirectional"] else ("",)
    size = len(queue) // (given["num_layers"] * len(directions))
    for level in range(given["num_layers"]):
        cells = []
        for direction in directions:
            own, queue = queue[:size], queue[size:]
            cells += _cells(f"/l{level}{direction}", own, rows, bool(given["has_biases"]))
        result.append(cells)
    return source, result


def _cells(suffix: str, own: Sequence[Node], rows: int, biased: bool) -> list[Cell]:
    matrices = own[:2]
    biases = tuple(own[2:4]) if biased else ()
    projection = own[len(matrices) + len(biases) :]
    cells = [Cell(suffix, tuple(matrices), biases, rows, shape(projection[0] if projection else matrices[1])[1])]
    if projection:
        cells.append(Cell(f"{suffix}_proj", tuple(projection), (), rows, shape(projection[0])[0]))
    return cells


def add_recurrent(node: Node, values: Values, deployed: Deployed, position: int) -> list[Layer]:
    """Adds the steps of a recurrent operation, and notes what it stores; returns its layers, the first of which is number ``position``."""
    source, stack = levels(node)
    states = [n for n in node.all_input_nodes if n is not source]
    values.materialise(source)
    inner, extents = values.current[source], shape(source)[:-1]
    layers: list[Layer] = []
    for number, level in enumerate(stack):
        outputs: list[str] = []
        for cell in level:
            weight, part, computed = _stored(cell, values, deployed)
            for bias in cell.biases:
                deployed.bias(position + len(layers), bias)
            owner = values.owners.caller(node) if weight is None else values.owners.owner(weight)
            name = values.layer((owner + cell.suffix).removeprefix("/") or base_name(node))
            first = outputs.pop() if cell.projects else inner
            shapes = (*extents, shape(cell.weights[0])[1]), (*extents, cell.width)
            layers.append(Layer(name, "recurrent", cell.macs, *shapes, weight, cell.weight_shape, part=part, computed=computed))
            outputs.append(values.tensor(name, cell.rows * cell.width))
            reads = (first, *(t for t in values.read(states) if number == 0 and t != first))
            values.steps.append(Step(name, "layer", reads, (outputs[-1],), name))
        inner = outputs[0]
        if len(outputs) > 1:
            label = values.unique(f"{owner}/l{number}:concat".removeprefix("/"))
            inner = values.tensor(label, sum(values.tensors[t].elements for t in outputs))
            values.steps.append(Step(label, "concat", tuple(outputs), (inner,)))
    _results(node, inner, values)
    return layers


def _stored(cell: Cell, values: Values, deployed: Deployed) -> tuple[str | None, tuple[int, int] | None, bool]:
    """(parameter, part of it, whether it is computed) of the input matrix, which stands for both; notes that they are stored."""
    found = [parameter_of(values.constants[w], w) for w in cell.weights]
    if None in found:  # what the matrices are computed from is stored in their place
        return None, None, True
    for w, one in zip(cell.weights, found, strict=True):
        deployed.take(values.constants[w], *([one] if one else []))
    return *(found[0] or ("", None)), False


def _results(node: Node, inner: str, values: Values) -> None:
    """The output sequence is the last level's; last hidden and cell states are read off it."""
    if not isinstance(node.meta["val"], (tuple, list)):
        values.current[node] = inner
        values.share(node, node)
        return
    for user in node.users:
        if base_name(user) == "getitem" and user.args[1] == 0:
            values.current[user] = inner
            values.share(user, user)
        elif base_name(user) == "getitem" and user.users:
            label = values.label(user)
            values.steps.append(Step(label, "other", (inner,), (values.write(user, label),)))
