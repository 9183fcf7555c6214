"""From an exported program to a LayerGraph: every node that holds a tensor becomes a step, counted ones a layer as well.

The graph is read as it was traced, before any decomposition, so that attention, LSTM and einsum are still one operation each,
and operations in place are still in place: see :meth:`~hwdse.trace.values.Values.overwrite`.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import GraphModule, Node

from ..errors import TraceError
from ..graph import Layer, LayerGraph, LeftOut, Op, Step
from .constants import Constant, parameter_of, source_of
from .deployed import Deployed
from .ops import base_name, category, may_hide_products, why_uncounted, words, written
from .owners import Names, Owners
from .recurrent import RECURRENT, add_recurrent
from .rules import RULES, Draft, NoRule, numbers_in, shape
from .values import Values

_WEIGHTS = {InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR}
_INPUT_MOVES = words("to _to_copy contiguous clone pad constant_pad_nd _pad_circular _pad_enum reshape")


def read_program(program: ExportedProgram, model: nn.Module, place: str = "", names: Names | None = None) -> LayerGraph:
    """The layer graph of a program exported from the model.

    Args:
        program: the program. model: what it was exported from.
        place: path of the model, where it is a module of a larger one. names: that layers of the larger one have already.
    """
    walk = _Walk(model, place, names)
    targets = {s.arg.name: s.target for s in program.graph_signature.input_specs if s.kind in _WEIGHTS}
    inputs = []
    for node in program.graph.find_nodes(op="placeholder"):
        if node.name in targets:
            walk.values.weight(node, str(targets[node.name]))
        elif isinstance(node.meta.get("val"), torch.Tensor):
            inputs.append(walk.values.write(node, walk.values.unique(node.name)))
        else:
            walk.values.skip(node)
    walk.graph(program.graph_module)
    return walk.finish(inputs, program.graph.output_node())


class _Walk:
    def __init__(self, model: nn.Module, place: str, names: Names | None) -> None:
        self.model = model
        self.owners = Owners(model, place)
        self.values = Values(self.owners, names)
        self.layers: list[Layer] = []
        self.deployed = Deployed(self.values)
        self.left_out: dict[tuple[str, str], int] = {}

    def graph(self, module: GraphModule) -> None:
        for node in module.graph.nodes:
            if node.op == "call_function":
                self.node(node)
            elif node.op == "get_attr":
                self.values.skip(node)
            self.values.done.add(node)

    def node(self, node: Node) -> None:
        name = base_name(node)
        inlined = _inlined(node)
        if inlined is not None:
            self.inline(node, inlined)
        elif name == "getitem":
            self.item(node)
        elif name == "embedding_renorm":  # rows brought to their largest norm, which can be done before deployment
            self.values.adopt(node, node.all_input_nodes[0])
        elif not _holds_tensor(node):
            if written(node):
                self.leave(name, "operation that changes its operands and returns nothing; its work and data flow are unknown")
            self.values.skip(node)
        elif name in RECURRENT:
            for layer in add_recurrent(node, self.values, self.deployed, len(self.layers)):
                self.layers.append(layer)
        elif self.counted(node, name):
            pass
        elif all(self.values.const(source) for source in node.all_input_nodes):
            self.values.derive(node)
        else:
            if name == "batch_norm":
                self.deployed.norm(node)
            self.uncounted(node, name)

    def counted(self, node: Node, name: str) -> bool:
        """Adds a layer if a rule finds products in the node."""
        if name not in RULES:
            return False
        try:
            draft = RULES[name](node, self.values.const)
        except NoRule as error:
            self.leave(self.owners.caller(node) or name, f"{name}: {error}; its work is not counted")
            return False
        if draft is None:
            return False
        self.layer(node, draft)
        return True

    def layer(self, node: Node, draft: Draft) -> None:
        values, operand = self.values, draft.weight
        constant = Constant() if operand is None else values.constants[operand]
        kind, module, weight_shape, spatial, weight, part, computed = (
            draft.kind,
            None,
            draft.weight_shape,
            draft.kind == "conv",
            None,
            None,
            False,
        )
        if operand is None or not constant.sources:
            caller = self.owners.caller(node)
            base = f"{caller}/{draft.op}" if caller else draft.op
            if operand is not None:  # a weight made of literals is no parameter
                kind, weight_shape, spatial = "matmul", (), False
        else:
            base, module = self.owners.resolve(node, self.origin(node, draft.input), constant, operand, draft.op)
            weight, part, computed = self.stored(constant, operand, module)
        if numbers_in(operand or draft.input) > 1:
            module = None  # quantisers round real numbers
        name = values.layer(base)
        values.materialise(draft.input)
        if kind in ("conv", "linear") and values.tensors[values.current[draft.input]].integer:
            raise TraceError(f"layer '{name}' must read floating-point values; got integers.")
        self.deployed.made[node] = len(self.layers)
        if draft.bias is not None:
            self.deployed.bias(len(self.layers), draft.bias)
        self.layers.append(
            Layer(
                name,
                kind,
                draft.macs,
                shape(draft.input),
                draft.output_shape,
                weight,
                weight_shape,
                0,
                module,
                draft.stride if spatial else (),
                draft.padding if spatial else (),
                draft.dilation if spatial else (),
                draft.groups if weight_shape else 1,
                draft.transposed,
                draft.other_shape,
                part,
                computed,
                numbers_in(operand or draft.input),
            )
        )
        self.emit(node, name, "layer", (draft.input, *node.all_input_nodes), name)

    def stored(self, constant: Constant, operand: Node, module: str | None) -> tuple[str | None, tuple[int, int] | None, bool]:
        """(parameter, part of it, whether the forward pass computes it) of a weight, and notes what is stored of it."""
        found = parameter_of(constant, operand)
        if found is not None:
            self.deployed.take(constant, found)
            return *found, False
        source = source_of(constant, operand)
        if module is not None:  # computed before the forward pass: deployed is what is computed
            self.deployed.take(constant, *((name, None) for name in constant.sources))
            return source or next(iter(constant.sources)), None, False
        if source is not None:
            self.deployed.take(constant, (source, None))
        self.deployed.mixed.update(constant.sources)
        return source, None, True

    def origin(self, layer: Node, node: Node) -> Node:
        """The node that computed a layer's input, behind padding, casts and views made inside the layer's own module."""
        while node.op == "call_function" and self.owners.frames(node) == self.owners.frames(layer):
            source = self.values.viewed(node) or (node.all_input_nodes[0] if base_name(node) in _INPUT_MOVES else None)
            if source is None:
                break
            node = source
        return node

    def emit(self, node: Node, label: str, op: Op, sources: Iterable[Node], layer: str | None = None) -> None:
        """Adds a step that writes the node's tensor, or those items of its tuple that anything takes."""
        values, reads = self.values, self.values.read(sources)
        if isinstance(node.meta["val"], torch.Tensor):
            view = values.viewed(node) if op == "view" else None
            names = [values.write(node, label, values.root.get(view) if view is not None else None)]
        else:
            taken = [user for user in node.users if base_name(user) == "getitem" and _holds_tensor(user)]
            names = [values.write(user, label if i == 0 else f"{label}.{user.args[1]}") for i, user in enumerate(taken)]
        values.steps.append(Step(label, op, reads, tuple(names), layer))

    def uncounted(self, node: Node, name: str) -> None:
        values, viewed = self.values, self.values.viewed(node)
        if viewed is not None:
            if isinstance(node.meta["val"], torch.Tensor):  # chunk, split, unbind: the view is made where an item is taken
                self.emit(node, values.label(node), "view", (viewed, *node.all_input_nodes))
            return
        if may_hide_products(node) and name not in RULES:
            self.leave(name, why_uncounted(name))
        label = values.label(node)
        target = next((target for target in written(node) if target in values.root), None)
        if target is None or not isinstance(node.meta["val"], torch.Tensor):
            self.emit(node, label, category(name), node.all_input_nodes)
            return
        whole = prod(shape(target)) == prod(shape(values.root[target]))
        op: Op = "view" if not whole and not values.const(target) else category(name)
        self.emit(node, label, op, (target, *node.all_input_nodes))
        values.overwrite(node, target, label)

    def item(self, node: Node) -> None:
        values, source = self.values, node.args[0]
        assert isinstance(source, Node)
        if node in values.current or node in values.constants or not node.users:
            return  # its producer wrote it, or nobody wants it
        base = values.viewed(source)
        if values.const(source):
            values.adopt(node, source)
        elif base is not None and _holds_tensor(node):
            label = values.label(node)
            values.steps.append(Step(label, "view", values.read([base]), (values.write(node, label, values.root[base]),)))
        else:
            values.skip(node)

    def inline(self, node: Node, inner: GraphModule) -> None:
        """Reads the graph of a wrapped region in place of the node that wraps it."""
        values = self.values
        holders = inner.graph.find_nodes(op="placeholder")
        for holder, value in zip(holders, node.args[len(node.args) - len(holders) :], strict=True):
            if isinstance(value, Node) and (value in values.current or value in values.constants):
                values.adopt(holder, value)
            else:
                values.skip(holder)
        self.graph(inner)
        results = inner.graph.output_node().args[0]
        for user, result in _results(node, results):
            values.adopt(user, result)

    def leave(self, name: str, reason: str) -> None:
        self.left_out[name, reason] = self.left_out.get((name, reason), 0) + 1

    def finish(self, inputs: list[str], output: Node) -> LayerGraph:
        values = self.values
        for label, reason in values.unsized:
            self.leave(label, f"{reason}; it counts as empty")
        items = [LeftOut(name, reason + (f" ({n} times)" if n > 1 else "")) for (name, reason), n in self.left_out.items()]
        layers, parameters, unused = self.deployed.finish(self.layers, self.model)
        outputs = values.read(output.all_input_nodes)
        return LayerGraph(
            tuple(layers), values.tensors, tuple(values.steps), tuple(inputs), outputs, (*items, *unused), parameters=tuple(parameters)
        )


def _holds_tensor(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) or (isinstance(value, (tuple, list)) and any(isinstance(v, torch.Tensor) for v in value))


def _inlined(node: Node) -> GraphModule | None:
    """The graph of a region that is only wrapped (autocast, no_grad, checkpoint); None for all other nodes."""
    target = node.target
    if not isinstance(target, torch._ops.HigherOrderOperator) or not str(target).startswith(("wrap", "tag_", "invoke_sub")):
        return None
    graphs = [n for n in node.all_input_nodes if n.op == "get_attr"]
    owner = node.graph.owning_module
    found = getattr(owner, str(graphs[0].target), None) if len(graphs) == 1 and owner is not None else None
    return found if isinstance(found, GraphModule) else None


def _results(node: Node, results: object) -> list[tuple[Node, Node]]:
    if isinstance(results, Node):
        return [(node, results)]
    assert isinstance(results, (tuple, list))
    taken = [(user, results[user.args[1]]) for user in node.users if base_name(user) == "getitem" and isinstance(user.args[1], int)]
    return [(user, result) for user, result in taken if isinstance(result, Node)]
