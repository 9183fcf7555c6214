"""Layers that ties connect, and the Pareto fronts of their joint options.

Ties make classes: layers of one weight class share the weight width, layers of one activation class the activation width.
A layer is then an edge between its weight class and its activation class, and a component of that graph is decided together.
Where the component is a tree, its joint options factor: given the width of a class, the branches behind it are independent,
so their Pareto fronts in (cost, loss) add up (Minkowski sums).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..choices import BoolArray, Choices, IntArray
from ..costs import FloatArray
from ..errors import SolverError, UsageError

_LARGEST = 4_000_000  # pairs of points in one Minkowski sum


@dataclass(frozen=True, eq=False)
class Component:
    """Layers ``members`` with their weight and activation class. ``tree`` says whether the classes form one."""

    members: tuple[int, ...]
    weight_class: tuple[int, ...]
    activation_class: tuple[int, ...]

    @property
    def tree(self) -> bool:
        """Whether the joint options factor."""
        edges = set(zip(self.weight_class, self.activation_class, strict=True))
        return len(edges) == len(set(self.weight_class)) + len(set(self.activation_class)) - 1


@dataclass(frozen=True, eq=False)
class Front:
    """K joint options of a component that no other beats: ``cost`` ascending, ``loss`` descending, ``options`` (K, members)."""

    cost: FloatArray
    loss: FloatArray
    options: IntArray

    @classmethod
    def of(cls, cost: FloatArray, loss: FloatArray, options: IntArray) -> Front:
        """The points that no other beats; of equals the first."""
        order = np.lexsort((loss, cost))
        falling = loss[order]
        best = np.minimum.accumulate(falling)
        keep = order[np.flatnonzero(np.append(True, falling[1:] < best[:-1]))] if len(order) else order
        return cls(cost[keep], loss[keep], options[keep])

    def __add__(self, other: Front) -> Front:
        """Both chosen independently."""
        if len(self.cost) * len(other.cost) > _LARGEST:
            raise SolverError("the joint options of tied layers are too many to list; use method 'milp'.")
        a, b = np.divmod(np.arange(len(self.cost) * len(other.cost)), max(1, len(other.cost)))
        options = np.concatenate([self.options[a], other.options[b]], axis=1)
        return Front.of(self.cost[a] + other.cost[b], self.loss[a] + other.loss[b], options)


def _roots(count: int, ties: Iterable[Iterable[int]]) -> list[int]:
    """Union-find: the representative of each of ``count`` items."""
    root = list(range(count))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for tie in ties:
        first, *rest = (find(i) for i in tie)
        for other in rest:
            root[find(other)] = find(first)
    return [find(i) for i in range(count)]


def components(choices: Choices) -> tuple[Component, ...]:
    """The components of a decision space, in order of their first layer. Ties that overlap are one class."""
    count = len(choices.layers)
    weight_ties = [[choices.position[n] for n in tie] for tie in choices.weight_ties if tie]
    activation_ties = [[choices.position[n] for n in tie] for tie in choices.activation_ties if tie]
    weight, activation = _roots(count, weight_ties), _roots(count, activation_ties)
    groups: dict[int, list[int]] = {}
    for i, root in enumerate(_roots(count, [*weight_ties, *activation_ties])):
        groups.setdefault(root, []).append(i)
    return tuple(
        Component(tuple(g), tuple(weight[i] for i in g), tuple(activation[i] for i in g))
        for g in sorted(groups.values(), key=lambda g: g[0])
    )


def front(component: Component, choices: Choices, active: BoolArray, cost: FloatArray, loss: FloatArray) -> Front:
    """The Pareto front of a component's joint options under the sums of ``cost`` and ``loss``, (L, O) each.

    Raises:
        SolverError: the ties form a cycle, or there are too many joint options to list.
    """
    if len(component.members) == 1:
        i = component.members[0]
        open_ = np.flatnonzero(active[i])
        return Front.of(cost[i, open_], loss[i, open_], open_[:, None])
    if not component.tree:
        names = ", ".join(choices.layers[i] for i in component.members[:5])
        raise SolverError(f"the ties between {names} form a cycle, which does not decompose; use method 'milp'.")
    found, order = _Tree(component, choices, active, cost, loss).root()
    back = np.argsort(order)
    return Front(found.cost, found.loss, found.options[:, back])


def contradiction(choices: Choices, component: Component) -> UsageError:
    """The error for ties that no widths hold all at once."""
    names = ", ".join(choices.layers[i] for i in component.members[:5])
    return UsageError(f"no widths hold all the ties between {names} with the options allowed there; untie them, or allow others.")


Node = tuple[str, int]


class _Tree:
    """Fronts from the leaves up. A node is a class; the layers between two classes are the edge's."""

    def __init__(self, component: Component, choices: Choices, active: BoolArray, cost: FloatArray, loss: FloatArray) -> None:
        self.choices, self.active, self.cost, self.loss = choices, active, cost, loss
        self.position = {i: k for k, i in enumerate(component.members)}
        self.edges: dict[Node, dict[Node, list[int]]] = {}
        for i, w, a in zip(component.members, component.weight_class, component.activation_class, strict=True):
            ends: tuple[Node, Node] = (("weight", w), ("activation", a))
            for here, there in (ends, ends[::-1]):
                self.edges.setdefault(here, {}).setdefault(there, []).append(i)

    def codes(self, node: Node) -> IntArray:
        return self.choices.weight_code if node[0] == "weight" else self.choices.activation_code

    def root(self) -> tuple[Front, list[int]]:
        start = max(self.edges, key=lambda node: len(self.edges[node]))
        fronts, order = self.below(start, None)
        return _union(list(fronts.values()), len(order)), [self.position[i] for i in order]

    def below(self, node: Node, parent: Node | None) -> tuple[dict[int, Front], list[int]]:
        """By the code of the node's format: the front of everything behind it, seen from ``parent``; and the layers in it, in order."""
        codes = sorted(set(self.codes(node).tolist()))
        total: dict[int, Front] = {c: Front(np.zeros(1), np.zeros(1), np.zeros((1, 0), np.intp)) for c in codes}
        order: list[int] = []
        for child, layers in self.edges[node].items():
            if child == parent:
                continue
            behind, inner = self.below(child, node)
            usable = self.active[layers].all(axis=0)
            for c in list(total):
                branches = []
                for j in np.flatnonzero(usable & (self.codes(node) == c)):
                    rest = behind.get(int(self.codes(child)[j]))
                    if rest is None:
                        continue
                    options = np.concatenate([np.full((len(rest.cost), len(layers)), j), rest.options], axis=1)
                    step = (self.cost[layers, j].sum(), self.loss[layers, j].sum())
                    branches.append(Front(rest.cost + step[0], rest.loss + step[1], options))
                if branches:
                    total[c] = total[c] + _union(branches, len(layers) + len(inner))
                else:
                    del total[c]
            order += [*layers, *inner]
        return total, order


def _union(fronts: list[Front], width: int) -> Front:
    """The front of either."""
    return Front.of(
        np.concatenate([np.zeros(0), *(f.cost for f in fronts)]),
        np.concatenate([np.zeros(0), *(f.loss for f in fronts)]),
        np.concatenate([np.zeros((0, width), np.intp), *(f.options for f in fronts)]),
    )
