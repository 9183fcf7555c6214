"""Tensors that share one learnt width: all weights and all activations of a network, or each tensor by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ..choices import BoolArray, IntArray
from ..constraints import Budget
from ..costs import CostTable
from ..errors import UsageError
from ..formats import NumberFormat
from ..metrics import LOSS
from ..problem import Problem
from ..solvers import solve


@dataclass(frozen=True, eq=False)
class WidthGroups:
    """G groups over L layers.

    Attributes:
        problem: what is decided.
        weight, activation: (L,) group of each layer's weights, and of its input activation.
        levels: (G, K) the widths that each group may take, ascending, the widest repeated at the end.
        chains: of each group, the formats behind its widths: each refines the one before.
    """

    problem: Problem
    weight: IntArray
    activation: IntArray
    levels: IntArray
    chains: tuple[tuple[NumberFormat, ...], ...]
    _repaired: dict[tuple[int, ...], IntArray] = field(default_factory=dict)

    @classmethod
    def network(cls, problem: Problem) -> WidthGroups:
        """Group 0: every weight; group 1: every activation. Pinned layers stay at their pins."""
        choices = problem.choices
        free = choices.allowed.sum(axis=1) > 1
        used = choices.allowed[free].any(axis=0) if free.any() else choices.allowed.any(axis=0)
        count = len(choices.layers)
        sets = [{getattr(choices.options[j], part) for j in np.flatnonzero(used)} for part in ("weight", "activation")]
        return cls._over(problem, np.zeros(count, np.intp), np.ones(count, np.intp), sets)

    @classmethod
    def layer(cls, problem: Problem) -> WidthGroups:
        """One group for each tensor: weights first, then activations; tied layers share one."""
        choices = problem.choices

        def rows(ties: Iterable[tuple[str, ...]]) -> list[list[int]]:
            return [[choices.position[name] for name in tie] for tie in ties]

        weight = _united(len(choices.layers), rows(choices.weight_ties))
        activation = _united(len(choices.layers), rows(choices.activation_ties)) + weight.max() + 1
        sets: list[set[NumberFormat]] = [set() for _ in range(int(activation.max()) + 1)]
        for group_of, part in ((weight, "weight"), (activation, "activation")):
            for i, group in enumerate(group_of):
                sets[group].update(getattr(choices.options[j], part) for j in np.flatnonzero(choices.allowed[i]))
        return cls._over(problem, weight, activation, sets)

    @classmethod
    def _over(cls, problem: Problem, weight: IntArray, activation: IntArray, sets: Sequence[set[NumberFormat]]) -> WidthGroups:
        chains = tuple(_chain(formats) for formats in sets)
        return cls(problem, weight, activation, _padded([[one.bits for one in chain] for chain in chains]), chains)

    def format_of(self, group: int, bits: int) -> NumberFormat:
        """The format of a group at one of its widths."""
        return next(one for one in self.chains[group] if one.bits == bits)

    @property
    def count(self) -> int:
        """G."""
        return len(self.levels)

    @property
    def of_weights(self) -> BoolArray:
        """(G,) whether a group holds weights; the others hold activations."""
        found: BoolArray = np.arange(self.count) <= self.weight.max()
        return found

    def linked(self) -> IntArray:
        """(G,) the same number for groups that layers connect: a layer's weights with its activation."""
        return _united(self.count, zip(self.weight.tolist(), self.activation.tolist(), strict=True))

    def indices(self, widths: IntArray) -> IntArray:
        """(L,) the narrowest permitted options that are not narrower than the groups' widths, (G,).

        Where ties and the device's limits leave no such pairs, the permitted allocation with the least shortfall.
        """
        choices = self.problem.choices
        weight, activation = widths[self.weight], widths[self.activation]
        plain = choices.at_least(weight, activation)
        if choices.permits(plain)[0]:
            return plain
        key = tuple(widths.tolist())
        if key not in self._repaired:
            short = np.maximum(weight[:, None] - choices.weight_bits, 0) + np.maximum(activation[:, None] - choices.activation_bits, 0)
            cells = short * 1000.0 + choices.weight_bits + choices.activation_bits  # the order of Choices.at_least
            table = CostTable.one_row(LOSS, choices.layers, choices.options, cells)
            self._repaired[key] = choices.indices(solve(self.problem.with_budget(Budget()).with_loss(table)).allocation)
        return self._repaired[key]


def _chain(formats: Iterable[NumberFormat]) -> tuple[NumberFormat, ...]:
    """The formats by their widths, where each refines the one before.

    Raises:
        UsageError: two families, or two formats of one width: a width that is learnt would not say which is meant.
    """
    chain = sorted(formats, key=lambda one: one.order)
    for narrow, wide in pairwise(chain):
        if narrow.bits == wide.bits or not wide.refines(narrow):
            raise UsageError(
                f"adaqat walks from one format to the next finer one of a family, and {wide} is not finer than {narrow}. Give it one "
                "chain, such as int2..int8, or mxfp4, mxfp6, mxfp8; qbitopt chooses among any."
            )
    return tuple(chain)


def _padded(lists: list[list[int]]) -> IntArray:
    longest = max(map(len, lists))
    return np.array([widths + [widths[-1]] * (longest - len(widths)) for widths in lists], np.intp)


def _united(count: int, sets: Iterable[Iterable[int]]) -> IntArray:
    """(count,) the number, from 0 on, of the connected part that each element belongs to."""
    part = np.arange(count)
    for members in sets:
        joined = np.unique(part[list(members)])
        part[np.isin(part, joined)] = joined[0]
    numbers: IntArray = np.unique(part, return_inverse=True)[1]
    return numbers
