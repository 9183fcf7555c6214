"""What a profiler's file says about the shape of a row, and whether that can be a given layer."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from ...graph import Layer

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Facts:
    """Counts and shapes, each None where the file does not give it.

    Attributes:
        macs: multiply-accumulates. weights: elements of the weight tensor.
        input, output: of the first operand and the result, the batch included, in any order of the axes.
        kernel, stride: of a convolution. groups: of a convolution.
        blocked: whether the channels (second axis) are rounded up to the blocks that a kernel works on.
    """

    macs: int | None = None
    weights: int | None = None
    input: Shape | None = None
    output: Shape | None = None
    kernel: Shape | None = None
    stride: Shape | None = None
    groups: int | None = None
    blocked: bool = False

    @property
    def identify(self) -> bool:
        """Whether they are enough to look for a layer: its MACs, or its input and output."""
        return self.macs is not None or (self.input is not None and self.output is not None)

    @property
    def what(self) -> str:
        """``MACs`` where only they are known, else ``shape``."""
        return "shape" if self.input is not None and self.output is not None else "MACs"


def contradictions(facts: Facts, layer: Layer) -> list[str]:
    """What of ``facts`` cannot be true of ``layer``, a clause each; empty where nothing speaks against it."""
    found = []
    if facts.macs is not None and facts.macs != layer.macs:
        found.append(f"{facts.macs:,} MACs in the file, {layer.macs:,} in the model")
    if facts.weights is not None and layer.params and facts.weights != layer.params:
        found.append(f"{facts.weights:,} weights in the file, {layer.params:,} in the model")
    for what, given, traced in (("input", facts.input, layer.input_shape), ("output", facts.output, layer.output_shape)):
        if given is not None and not _same(given, traced, layer.kind == "conv") and not (facts.blocked and _rounds(given, traced)):
            batch = " (is it another batch size?)" if _other_batch(given, traced) else ""
            found.append(f"{what} {_text(given)} in the file, {_text(traced)} in the model{batch}")
    if layer.kind == "conv":
        pairs = (("kernel", facts.kernel, layer.kernel), ("stride", facts.stride, layer.stride))
        found.extend(
            f"{what} {_text(given)} in the file, {_text(traced)} in the model"
            for what, given, traced in pairs
            if given is not None and _squeezed(given) != _squeezed(traced)
        )
        if facts.groups is not None and facts.groups != layer.groups:
            found.append(f"{facts.groups} groups in the file, {layer.groups} in the model")
    elif facts.kernel is not None and any(extent != 1 for extent in facts.kernel):
        found.append(f"a {_text(facts.kernel)} kernel in the file, a {layer.kind} layer in the model")
    return found


def _same(given: Shape, traced: Shape, axes: bool) -> bool:
    """The same tensor in whatever layout; ``axes``: with the same extents, not only as many elements (linear layers are reshaped)."""
    if math.prod(given) != math.prod(traced):
        return False
    return not axes or Counter(_squeezed(given)) == Counter(_squeezed(traced))


def _rounds(given: Shape, traced: Shape) -> bool:
    """The same but for channels rounded up to a whole number of blocks of 8 or 16."""
    if len(given) != len(traced) or len(given) < 3 or (given[0], *given[2:]) != (traced[0], *traced[2:]):
        return False
    return given[1] in (-(-traced[1] // 8) * 8, -(-traced[1] // 16) * 16)


def _squeezed(shape: Shape) -> Shape:
    return tuple(extent for extent in shape if extent != 1)


def _other_batch(given: Shape, traced: Shape) -> bool:
    return len(given) == len(traced) and given[1:] == traced[1:] and given[:1] != traced[:1]


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "a single number"
