"""What the deployed network stores, parameter by parameter: weights and biases of layers, norms folded into them, and the rest.

A batch norm in evaluation mode is a factor and a shift a channel. Where it alone reads what a convolution or linear layer computes, the
factor goes into the weight and the shift into the bias, and a layer without a bias then has one. Everything else is stored as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from torch import Tensor, nn
from torch.fx import Node

from ..graph import Layer, LeftOut, Parameter, Storage
from .constants import Constant, parameter_of
from .ops import arguments, base_name
from .rules import CONVOLUTIONS, numbers_in, shape
from .values import DROPOUTS, Values

FOLDING = ("conv", "linear")
Range = tuple[int, int]  # first and last + 1


@dataclass(frozen=True)
class _Norm:
    """One use of a batch norm. ``key``: its statistics; ``own``: its parameters; ``layer``: which layer it may fold into."""

    key: tuple[Storage | None, ...]
    own: tuple[Storage, ...]
    channels: int
    layer: int | None


@dataclass
class Deployed:
    """Which parameters the layers use, noted while a graph is read."""

    values: Values
    used: dict[str, set[Range]] = field(default_factory=dict)  # name -> elements, first and last + 1
    biases: dict[int, list[tuple[object, Range]]] = field(default_factory=dict)  # layer -> (parameter, elements of it)
    made: dict[Node, int] = field(default_factory=dict)  # node -> the layer that it is
    norms: list[_Norm] = field(default_factory=list)
    mixed: set[str] = field(default_factory=set)  # from which the forward pass computes weights

    def take(self, constant: Constant, *parts: Storage) -> None:
        """Notes that a layer stores these parameters, or parts of them."""
        for name, part in parts:
            self.used.setdefault(name, set()).add(part or (0, constant.sources[name]))

    def bias(self, layer: int, node: Node) -> None:
        """Notes a bias of a layer; of one that is computed from parameters, those are stored."""
        constant = self.values.constants[node]
        found = parameter_of(constant, node)
        if found is not None:
            self.take(constant, found)
            self.biases.setdefault(layer, []).append((found[0], found[1] or (0, constant.sources[found[0]])))
        elif not constant.sources:
            self.biases.setdefault(layer, []).append((node, (0, prod(shape(node)) * numbers_in(node))))

    def norm(self, node: Node) -> None:
        """Notes a batch norm that uses its running statistics."""
        given = arguments(node)
        if given.get("training") or not isinstance(given.get("running_mean"), Node):
            return
        operands = [given[name] if isinstance(given[name], Node) else None for name in ("running_mean", "running_var", "weight", "bias")]
        stored = [None if n is None else parameter_of(self.values.constants.get(n, Constant()), n) for n in operands]
        source: Node = given["input"]
        while base_name(source) in DROPOUTS and len(source.users) == 1:
            source = source.all_input_nodes[0]
        layer = self.made.get(source) if len(source.users) == 1 else None
        channels = prod(shape(given["running_mean"]))
        if shape(source)[1:2] != (channels,) or not (base_name(source) in CONVOLUTIONS or len(shape(source)) == 2):
            layer = None  # the norm goes along another dimension than the layer's outputs
        own = [s for s in stored[2:] if s is not None] or [s for s in stored[:2] if s is not None]
        self.norms.append(_Norm(tuple(stored), tuple(own), channels, layer))

    def finish(self, layers: Sequence[Layer], model: nn.Module) -> tuple[list[Layer], list[Parameter], list[LeftOut]]:
        """The layers with the biases that they store, the parameters that no layer stores, and those whose work nobody counted."""
        folds = self._folds(layers)
        known = {name for name, _ in model.named_parameters()}
        statistics: dict[str, int] = {}
        for norm in self.norms:
            gone = all(other.layer in folds for other in self.norms if other.key == norm.key)
            if gone:
                for name, _ in norm.own:
                    self.used.setdefault(name, set()).add((0, norm.channels))
            else:  # a norm without parameters of its own stores its statistics
                statistics.update({name: norm.channels for name, _ in norm.own if name not in known})
        counted: dict[object, set[Range]] = {}
        result = [replace(layer, extra_params=self._extra(i, layer, folds.get(i), counted)) for i, layer in enumerate(layers)]
        rest, items = unused(model, {name: covered(parts) for name, parts in self.used.items()}, self.mixed)
        return result, [*rest, *(Parameter(name, size) for name, size in statistics.items())], items

    def _folds(self, layers: Sequence[Layer]) -> dict[int, _Norm]:
        """Layer -> the norm that folds into it. Layers that share a weight must share the norm."""
        found = {norm.layer: norm for norm in self.norms if norm.layer is not None and _takes_norms(layers[norm.layer])}
        users: dict[str | None, list[int]] = {}
        for i, layer in enumerate(layers):
            users.setdefault(layer.weight, []).append(i)
        return {
            i: norm for i, norm in found.items() if {found[j].key if j in found else None for j in users[layers[i].weight]} == {norm.key}
        }

    def _extra(self, index: int, layer: Layer, norm: _Norm | None, counted: dict[object, set[Range]]) -> int:
        """Bias elements that no earlier layer has."""
        mine: list[tuple[object, Range]] = self.biases.get(index, [])
        if norm is not None:
            mine = [((layer.storage, "folded"), (0, norm.channels))]
        found = 0
        for what, part in mine:
            known = counted.setdefault(what, set())
            found += covered({*known, part}) - covered(known)
            known.add(part)
        return found


def _takes_norms(layer: Layer) -> bool:
    return layer.kind in FOLDING and layer.weight is not None and layer.part is None and not layer.computed


def numbers_of(tensor: Tensor) -> int:
    """Real numbers in a tensor."""
    return tensor.numel() * (2 if tensor.is_complex() else 1)


def covered(parts: Iterable[Range]) -> int:
    """Elements in the union of ranges."""
    total = end = 0
    for first, last in sorted(parts):
        total += max(0, last - max(first, end))
        end = max(end, last)
    return total


def unused(model: nn.Module, used: Mapping[str, int], mixed: Collection[str] = ()) -> tuple[list[Parameter], list[LeftOut]]:
    """Parameters, or as much of them as no layer stores; those of more than one dimension may hide work.

    Args:
        model: has the parameters.
        used: name -> elements that a layer stores.
        mixed: parameters from which weights are computed in the forward pass.
    """
    parameters, items = [], []
    for name, p in model.named_parameters():
        size = numbers_of(p)
        rest = size - used.get(name, 0)
        if rest <= 0:
            continue
        parameters.append(Parameter(name, rest))
        stored = "stored in floating point, which 'weights' counts; its work is not counted"
        if rest == size and p.ndim > 1:
            why = "from which a layer's weight is computed in the forward pass" if name in mixed else "that reaches no counted layer"
            items.append(LeftOut(name, f"a parameter of {size} elements {why}; {stored}"))
        elif p.ndim > 1:
            items.append(LeftOut(name, f"{rest} of {size} elements reach no counted layer; {stored}"))
    return parameters, items
