"""What is constant in a traced graph (parameters, buffers, and values computed from nothing else), and where it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod

from torch.fx import Node

from .rules import numbers_in, stored


@dataclass(frozen=True)
class Constant:
    """``sources``: real numbers in each parameter or buffer behind it. ``whole``: the one that it is a view or a cast of."""

    sources: Mapping[str, int] = field(default_factory=dict)
    whole: str | None = None


def derived(parts: Iterable[Constant], same: bool) -> Constant:
    """The constant computed from others; ``same`` for views and casts, which keep the parameter's identity."""
    parts = tuple(parts)
    sources = {name: size for part in parts for name, size in part.sources.items()}
    return Constant(sources, parts[0].whole if same and parts else None)


def parameter_of(constant: Constant, node: Node) -> tuple[str, tuple[int, int] | None] | None:
    """The parameter that an operand is (a view or a cast of), and which part of it: first and last + 1 of its flattened elements.

    The part is None where it is the whole parameter. The result is None for what is computed, or made of literals.
    """
    if constant.whole is None:
        return None
    elements = prod(stored(node)) * numbers_in(node)
    if elements >= constant.sources[constant.whole]:
        return constant.whole, None
    first = int(node.meta["val"].storage_offset()) * numbers_in(node)
    return constant.whole, (first, first + elements)


def source_of(constant: Constant, node: Node) -> str | None:
    """The first parameter of as many elements as a computed weight (the base of low-rank additions); None where there is none."""
    elements = prod(stored(node)) * numbers_in(node)
    return next((name for name, size in constant.sources.items() if size == elements), None)
