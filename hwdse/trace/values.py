"""Which tensor holds the value of each node, which nodes are constant, and which share storage, while a graph is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod

import torch
from torch.fx import Node

from ..graph import Step, Tensor
from .constants import Constant, derived
from .ops import arguments, base_name, written
from .owners import Names, Owners
from .rules import NoRule, numbers_in, shape

_CASTS = {"to", "_to_copy", "type_as", "clone", "contiguous", "lift_fresh_copy", "detach", "reshape", "alias"}
DROPOUTS = {"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"}

_is_alias: Callable[[torch.Tensor, torch.Tensor], bool] = getattr(torch._C, "_is_alias_of")  # noqa: B009 (no type stub)

_INDEX_BYTES = 4  # integers of so many bytes, or more, count as indices


def _in_memory(value: torch.Tensor, extents: Iterable[int]) -> int:
    """Elements that a view has in memory: a stride of 0 repeats none, and windows that overlap share theirs."""
    steps = [(extent, int(stride)) for extent, stride in zip(extents, value.stride(), strict=True) if stride]
    distinct = prod(extent for extent, _ in steps)
    return min(distinct, 1 + sum((extent - 1) * stride for extent, stride in steps)) if distinct else 0


class Values:
    """The tensors and steps of a graph as far as it has been read. A node is constant, or a tensor holds its value."""

    def __init__(self, owners: Owners, layers: Names | None = None) -> None:
        self.owners = owners
        self._layers, self._labels = layers or Names(), Names()
        self.tensors: dict[str, Tensor] = {}
        self.steps: list[Step] = []
        self.current: dict[Node, str] = {}  # node -> the tensor that holds its value now
        self.constants: dict[Node, Constant] = {}
        self.unsized: list[tuple[str, str]] = []  # tensors whose size the data decides, and why
        self.done: set[Node] = set()
        self.root: dict[Node, Node] = {}  # node -> the node whose storage it shares
        self._aliases: dict[Node, list[Node]] = {}  # the inverse

    # names

    def unique(self, name: str) -> str:
        """The name of a step or tensor, or the first free one of ``name#2``, ``name#3`` ..."""
        return self._labels.unique(name)

    def layer(self, name: str) -> str:
        """The same of a layer: what inputs and operations are called changes no layer's name."""
        found = self._layers.unique(name)
        self._labels.unique(found)
        return found

    def label(self, node: Node) -> str:
        """A unique name for a node that is no layer: path of its module, then the name it has in the traced graph."""
        caller = self.owners.caller(node)
        return self.unique(f"{caller}/{node.name}" if caller else node.name)

    # constants

    def weight(self, node: Node, name: str) -> None:
        """Makes a placeholder the parameter, buffer or constant of that name."""
        name = self.owners.canonical(name)
        self.constants[node] = Constant({name: prod(shape(node)) * numbers_in(node)}, name)
        self.share(node, node)

    def skip(self, node: Node) -> None:
        """Marks a node that holds no tensor (or one that nothing is known about)."""
        self.constants[node] = Constant()

    def const(self, node: Node) -> bool:
        """Whether the value depends on nothing but parameters, buffers and literals."""
        return node in self.constants

    def derive(self, node: Node) -> None:
        """Makes a node the constant computed from its operands."""
        parts = [self.constants[source] for source in node.all_input_nodes]
        viewed = self.viewed(node)
        self.constants[node] = derived(parts, base_name(node) in _CASTS or viewed is not None)
        self.share(node, self.root.get(viewed, node) if viewed is not None else node)

    def materialise(self, node: Node) -> None:
        """Makes a constant that a layer reads as its input (positions, learned queries) a tensor that a step writes."""
        if self.const(node):
            label = self.label(node)
            self.constants.pop(node)
            tensor = self.write(node, label, self.root.get(node))
            self.steps.append(Step(label, "other", (), (tensor,)))

    # tensors

    def tensor(self, label: str, elements: int, integer: bool = False, bits: int | None = None) -> str:
        """Adds a tensor and returns its name."""
        name = label
        while name in self.tensors:
            name = self.unique(f"{label}:value")
        self.tensors[name] = Tensor(name, elements, integer, bits)
        return name

    def write(self, node: Node, label: str, root: Node | None = None) -> str:
        """Adds the tensor that holds the node's value; ``root`` is the node whose storage it shares."""
        value = node.meta["val"]
        value = value[0] if isinstance(value, (tuple, list)) else value
        try:
            elements = prod(shape(node)) if root in (None, node) else _in_memory(value, shape(node))
        except NoRule as error:
            elements = 0
            self.unsized.append((label, str(error)))
        integer = not (value.is_floating_point() or value.is_complex())
        narrow = integer and value.itemsize < _INDEX_BYTES
        self.current[node] = self.tensor(label, elements * numbers_in(node), integer, 8 * value.itemsize if narrow else None)
        self.share(node, root or node)
        return self.current[node]

    def read(self, nodes: Iterable[Node]) -> tuple[str, ...]:
        """The tensors that hold the values of the nodes, each once, constants not among them."""
        return tuple(dict.fromkeys(self.current[node] for node in nodes if node in self.current))

    # storage

    def share(self, node: Node, root: Node) -> None:
        """Records that the node's value lies in the storage of ``root``."""
        if node in self.root:
            self._aliases[self.root[node]].remove(node)
        self.root[node] = root
        self._aliases.setdefault(root, []).append(node)

    def adopt(self, new: Node, old: Node) -> None:
        """Gives a node the value of another: arguments and results of an inlined graph, items of a tuple."""
        if old in self.constants:
            self.constants[new] = self.constants[old]
        else:
            self.current[new] = self.current[old]
        self.share(new, self.root.get(old, old))

    def viewed(self, node: Node) -> Node | None:
        """The operand whose storage the node's value (or each of its items) shares; None for a value of its own."""
        value = node.meta.get("val")
        value = next((v for v in value if isinstance(v, torch.Tensor)), None) if isinstance(value, (tuple, list)) else value
        if not isinstance(value, torch.Tensor):
            return None
        if base_name(node) in DROPOUTS and not arguments(node)["train"]:
            return node.all_input_nodes[0]  # returns its input, though the trace shows a copy
        if written(node):
            return None
        for source in node.all_input_nodes:
            other = source.meta.get("val")
            if isinstance(other, torch.Tensor) and _is_alias(other, value):
                return source
        return None

    def overwrite(self, node: Node, target: Node, label: str) -> None:
        """After ``node`` wrote into ``target``: whoever reads an alias of target from now on reads what was written.

        The trace itself makes later readers of target read the node.
        An alias as large as what was written is a view of it; any other keeps its storage and depends on it.
        """
        root, new = self.root[target], self.current[node]
        for alias in self._aliases[root]:
            if alias is target or all(user in self.done for user in alias.users):
                continue
            written_to, elements = self.tensors[new], _in_memory(alias.meta["val"], shape(alias)) * numbers_in(alias)
            whole = elements == written_to.elements
            kept = self.read([alias])
            view = self.tensor(self.unique(f"{label}:alias"), elements, written_to.integer, written_to.bits)
            self.steps.append(Step(view, "view", (new, *kept) if whole or not kept else (*kept, new), (view,)))
            self.constants.pop(alias, None)
            self.current[alias] = view
        self.share(node, root)
