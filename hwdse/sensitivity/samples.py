"""What an audit looks at: every tensor narrowed by itself, and random allocations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..choices import Choices, IntArray
from ..costs import FloatArray
from .noise import Part


class Cell(NamedTuple):
    """One tensor of one layer at one width; ``option`` and ``widest`` are the columns that are compared."""

    layer: int
    part: Part
    bits: int
    option: int
    widest: int


def cells_of(choices: Choices) -> list[Cell]:
    """Every tensor of every layer at every allowed width but the widest, the layer's other tensor at its widest."""
    found: list[Cell] = []
    bits: dict[Part, IntArray] = {"weight": choices.weight_bits, "activation": choices.activation_bits}
    parts: tuple[tuple[Part, Part], ...] = (("weight", "activation"), ("activation", "weight"))
    for i, allowed in enumerate(choices.allowed):
        for part, other in parts:
            there = np.flatnonzero(allowed & (bits[other] == bits[other][allowed].max()))
            there = there[np.argsort(bits[part][there])]
            found += [Cell(i, part, int(bits[part][j]), int(j), int(there[-1])) for j in there[:-1]]
    return found


def random_allocations(choices: Choices, count: int, seed: int) -> IntArray:
    """(N, L) different allocations, each layer's option drawn evenly from those allowed, ties held.

    A small space gives fewer than ``count``.
    """
    rng = np.random.default_rng(seed)
    tied = list(dict.fromkeys(name for tie in (*choices.weight_ties, *choices.activation_ties) for name in tie))
    found = np.empty((count, len(choices.layers)), np.intp)
    for row in found:
        held = choices
        for name in rng.permutation(tied).tolist():  # holding one narrows what those tied to it may take
            held = held.pin({name: held.options[rng.choice(np.flatnonzero(held.allowed[held.position[name]]))]})
        row[:] = [rng.choice(np.flatnonzero(allowed)) for allowed in held.allowed]
    return np.unique(found, axis=0)


def narrowed(losses: FloatArray, cells: Sequence[Cell]) -> FloatArray:
    """(C,) what each cell loses by its width, of (L, O) losses; the layer's other tensor is the same on both sides and drops out."""
    return np.array([losses[c.layer, c.option] - losses[c.layer, c.widest] for c in cells])
