"""What an audit looks at: every tensor narrowed by itself, and random allocations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..choices import Choices, IntArray
from ..costs import FloatArray
from ..formats import NumberFormat
from .noise import Part


class Cell(NamedTuple):
    """One tensor of one layer in one format; ``option`` and ``last`` are the columns that are compared."""

    layer: int
    part: Part
    format: NumberFormat
    option: int
    last: int


def cells_of(choices: Choices) -> list[Cell]:
    """Every tensor of every layer in every allowed format but the last listed, the layer's other tensor in its last listed."""
    found: list[Cell] = []
    codes: dict[Part, IntArray] = {"weight": choices.weight_code, "activation": choices.activation_code}
    parts: tuple[tuple[Part, Part], ...] = (("weight", "activation"), ("activation", "weight"))
    for i, allowed in enumerate(choices.allowed):
        for part, other in parts:
            there = np.flatnonzero(allowed & (codes[other] == codes[other][allowed].max()))
            there = there[np.argsort(codes[part][there])]
            found += [Cell(i, part, getattr(choices.options[j], part), int(j), int(there[-1])) for j in there[:-1]]
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
    """(C,) what each cell loses by its format, of (L, O) losses; the layer's other tensor is the same on both sides and drops out."""
    return np.array([losses[c.layer, c.option] - losses[c.layer, c.last] for c in cells])
