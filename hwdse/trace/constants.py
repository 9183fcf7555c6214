"""What is constant in a traced graph (parameters, buffers, and values computed from nothing else), and where it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod

from torch.fx import Node

from .rules import stored


@dataclass(frozen=True)
class Constant:
    """``sources``: elements of each parameter or buffer behind it. ``whole``: the one that it is a view or a cast of."""

    sources: Mapping[str, int] = field(default_factory=dict)
    whole: str | None = None


def derived(parts: Iterable[Constant], same: bool) -> Constant:
    """The constant computed from others; ``same`` for views and casts, which keep the parameter's identity."""
    parts = tuple(parts)
    sources = {name: size for part in parts for name, size in part.sources.items()}
    return Constant(sources, parts[0].whole if same and parts else None)


def weight_name(constant: Constant, node: Node) -> str | None:
    """The parameter behind a weight operand; None for values that come from no parameter (``torch.ones``).

    A part of a parameter (one third of an attention's input projection, one expert) is its own weight:
    ``"name[first:last]"`` in elements of the flattened parameter. A weight computed from several parameters (weight norm,
    low-rank additions) goes by the largest of those with as many elements, or else by the largest.
    """
    sources = constant.sources
    if not sources:
        return None
    elements = prod(stored(node))
    if constant.whole is not None:
        if elements >= sources[constant.whole]:
            return constant.whole
        first = int(node.meta["val"].storage_offset())
        return f"{constant.whole}[{first}:{first + elements}]"
    return max(sources, key=lambda name: (sources[name] == elements, sources[name]))
