"""Replacing markers by nodes: what the two forms, QDQ and QONNX, have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..quantizers.levels import Grid, Thresholds
from .levels import Weight
from .marking import DOMAIN, Mark, Marked

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto


class Writer:
    """Nodes and constants that take the place of one marker.

    Attributes:
        nodes, constants: what was written. x: name of the tensor that comes in; None for a weight, which is a constant. y: of the one
            that goes on. name: of the marked tensor, the prefix of all names here.
    """

    def __init__(self, x: str | None, y: str, name: str) -> None:
        self.x, self.y, self.name = x, y, name
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, what: str, values: Any, kind: str = "float") -> str:
        """A constant's name; ``kind`` is a type of ONNX, ``"int4"``."""
        import ml_dtypes  # comes with onnx
        from onnx import numpy_helper

        dtype = np.dtype(np.float32 if kind == "float" else getattr(ml_dtypes, kind, kind))
        found = np.ascontiguousarray(np.asarray(values).astype(dtype))
        self.constants.append(numpy_helper.from_array(found, f"{self.name}.{what}"))
        return f"{self.name}.{what}"

    def node(self, operation: str, inputs: Sequence[str], output: str = "", domain: str = "", **attributes: Any) -> str:
        """A node's output; without a name, one after the operation."""
        from onnx import helper

        made = output or f"{self.name}.{operation.lower()}"
        self.nodes.append(helper.make_node(operation, list(inputs), [made], name=f"{made}/{operation}", domain=domain, **attributes))
        return made


def _mark(marked: Marked, node: NodeProto) -> Mark:
    return marked.marks[next(int(a.i) for a in node.attribute if a.name == "index")]


def _turned(graph: GraphProto, marked: Marked) -> dict[str, tuple[tuple[int, ...], list[str]]]:
    """Marked weights that are only read transposed, as linear layers do: output -> (the order of axes, the transpositions' outputs).

    They are stored transposed: device tools look for an integer weight right before its product.
    """
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    ends = {value.name for value in graph.output}
    found = {}
    for node in graph.node:
        if node.domain != DOMAIN or not isinstance(_mark(marked, node).levels, Weight) or node.output[0] in ends:
            continue
        mine = readers.get(node.output[0], [])
        orders = {tuple(a.ints) for n in mine for a in n.attribute if a.name == "perm"}
        if mine and all(n.op_type == "Transpose" for n in mine) and len(orders) == 1 and not ends & {n.output[0] for n in mine}:
            found[node.output[0]] = (orders.pop(), [n.output[0] for n in mine])
    return found


Write = Callable[[Writer, Weight | Grid | Thresholds], None]


@dataclass(frozen=True)
class Lowered:
    """A graph whose markers are replaced.

    Attributes:
        model: the graph. inputs: of every marked input, call by call, (mark, name before, name after).
        tensors: name of each tensor that took a marker's place -> the mark.
    """

    model: ModelProto
    inputs: list[tuple[Mark, str, str]]
    tensors: Mapping[str, Mark]


def lowered(marked: Marked, write: Write, domains: Sequence[tuple[str, int]] = ()) -> Lowered:
    """A copy of a marked graph with every marker replaced; ``domains``: the (name, version) of nodes that are not ONNX's own."""
    import onnx
    from onnx import helper

    model = onnx.ModelProto()
    model.CopyFrom(marked.graph)
    lowering = _Lowering(marked, write, model.graph)
    lowering.rewrite()
    del model.metadata_props[:], model.opset_import[:]
    model.opset_import.extend([helper.make_opsetid("", marked.opset), *(helper.make_opsetid(*d) for d in domains)])
    model.ir_version = 13 if marked.opset >= 25 else 10  # the first that has the types of the opset
    model.producer_name = "hwdse"
    return Lowered(model, lowering.inputs, lowering.tensors)


class _Lowering:
    """One graph, rewritten in place: node by node, every marker by what ``write`` makes of it.

    Attributes:
        inputs: (mark, name before, name after) of marked inputs. renamed: outputs of markers, and of transpositions that a weight has
            taken over, -> the name by which the tensor goes on. tensors: those names -> their marks. transposed: those of weights that
            are stored transposed, whose shapes the exporter has not noted.
    """

    def __init__(self, marked: Marked, write: Write, graph: GraphProto) -> None:
        self.marked, self.write, self.graph = marked, write, graph
        self.turned = _turned(graph, marked)
        self.gone = {name for _, outputs in self.turned.values() for name in outputs}
        self.renamed: dict[str, str] = {}
        self.tensors: dict[str, Mark] = {}
        self.transposed: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.inputs: list[tuple[Mark, str, str]] = []
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def rewrite(self) -> None:
        for node in self.graph.node:
            for i, name in enumerate(node.input):
                node.input[i] = self.renamed.get(name, name)
            if node.output[0] in self.gone:
                continue
            if node.domain == DOMAIN:
                self._replace(node)
            else:
                del node.metadata_props[:]  # the exporter's notes: lines of source and folders of whoever exported
                node.doc_string = ""
                self.nodes.append(node)
        for result in self.graph.output:
            result.name = self.renamed.get(result.name, result.name)
        self._store()

    def _replace(self, node: NodeProto) -> None:
        mark = _mark(self.marked, node)
        output, levels = node.output[0], mark.levels
        if isinstance(levels, Weight):
            order, outputs = self.turned.get(output, ((), []))
            name = f"{mark.name}.T" if order else mark.name
            self.transposed.update([name] if order else [])
            self.tensors[name] = mark
            self.renamed.update(dict.fromkeys([output, *outputs], name))
            self.calls[name] += 1
            if self.calls[name] > 1:  # a weight that several modules share is written once
                return
            made = Writer(None, name, name)
            self.write(made, levels.transposed(order) if order else levels)
        else:
            self.calls[mark.name] += 1
            name = mark.name + (f"#{self.calls[mark.name]}" if self.calls[mark.name] > 1 else "")
            self.renamed[output], self.tensors[name] = name, mark
            made = Writer(node.input[0], name, name)
            self.write(made, levels)
            self.inputs.append((mark, node.input[0], name))
        self.nodes.extend(made.nodes)
        self.constants.update({c.name: c for c in made.constants})

    def _store(self) -> None:
        """Nodes, constants that are still read, and shapes of tensors that are still made."""
        graph, left = self.graph, {name for node in self.nodes for name in node.output}
        shapes = {self.renamed.get(v.name, v.name): v for v in graph.value_info if v.name not in self.gone}
        for name, value in shapes.items():
            value.name = name
            del value.metadata_props[:]
        shaped = [value for name, value in shapes.items() if name in left - self.transposed]
        used = {name for node in self.nodes for name in node.input}
        kept = [c for c in graph.initializer if c.name in used]
        del graph.value_info[:], graph.node[:], graph.initializer[:], graph.metadata_props[:]
        graph.value_info.extend(shaped)
        graph.node.extend(self.nodes)
        graph.initializer.extend([*kept, *self.constants.values()])


def table_nodes(to: Writer, weight: Weight) -> None:
    """Codebook weights: indices gathered from a table, whose entries are integers with a scale where they have one."""
    assert weight.table is not None  # the callers look
    if weight.grid is not None and weight.table_codes is not None:
        kind = weight.grid.kind
        parts = [to.constant("codebook", weight.table_codes, kind), to.constant("scale", weight.grid.scale), to.constant("zero", 0, kind)]
        table = to.node("DequantizeLinear", parts, f"{to.name}.levels")
    else:
        table = to.constant("levels", weight.table)
    # Gather takes wide indices only; they are stored narrow
    indices = to.constant("indices", weight.codes, "uint8" if weight.bits <= 8 else "uint16")
    wide = to.node("Cast", [indices], f"{to.name}.wide", to=_INT32)
    to.node("Gather", [table, wide], to.y, axis=0)


_INT32 = 6  # TensorProto.INT32


def threshold_nodes(to: Writer, levels: Thresholds) -> None:
    """N2UQ: how many thresholds lie below each element, as an integer with a scale."""
    assert to.x is not None  # only inputs have thresholds
    scaled = to.node("Div", [to.x, to.constant("half", np.float32(levels.half))])
    column = to.node("Unsqueeze", [scaled, to.constant("last", np.array([-1]), "int64")])
    above = to.node("Greater", [column, to.constant("thresholds", levels.thresholds)])
    ones = to.node("Cast", [above], f"{to.name}.ones", to=_INT32)
    count = to.node("ReduceSum", [ones, f"{to.name}.last"], keepdims=0)
    codes = to.node("Cast", [count], f"{to.name}.codes", to=2)  # TensorProto.UINT8: thresholds end at 8 bits
    to.node("DequantizeLinear", [codes, to.constant("scale", np.float32(levels.scale)), to.constant("zero", 0, "uint8")], to.y)
