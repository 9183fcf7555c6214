"""The distinct shapes of a network's layers, and the layers that cannot be timed alone."""

from __future__ import annotations

from dataclasses import dataclass

from ...graph import Layer, LayerGraph
from ..signature import Signature, signature_of, work_of_signature

TIMED = ("conv", "depthwise", "conv_transpose", "linear", "embedding")


@dataclass(frozen=True)
class Shape:
    """A signature and the layers that have it, in execution order."""

    signature: Signature
    layers: tuple[str, ...]


@dataclass(frozen=True)
class NotTimed:
    """Layers without a number, at which widths (empty: at any), and why."""

    layers: tuple[str, ...]
    widths: str
    reason: str


def distinct_shapes(graph: LayerGraph) -> tuple[list[Shape], list[NotTimed]]:
    """Every shape once, in the order of its first layer; and what cannot be timed alone, a layer each."""
    found: dict[Signature, list[str]] = {}
    left = []
    for layer in graph.layers:
        signature = signature_of(layer)
        reason = _why_not(layer, signature)
        if signature is None or reason:
            left.append(NotTimed((layer.name,), "", reason))
        else:
            found.setdefault(signature, []).append(layer.name)
    return [Shape(signature, tuple(layers)) for signature, layers in found.items()], left


def _why_not(layer: Layer, signature: Signature | None) -> str:
    if signature is None:
        return f"no table describes a convolution with a {'x'.join(map(str, layer.kernel))} kernel"
    if signature.op not in TIMED:
        return f"{signature.op} is not timed alone: a table's columns do not say all of its shape"
    dims = len(layer.kernel)
    sizes = (signature.out_h, signature.out_w)[2 - dims :] if dims else ()
    # an output padding, uneven padding, or a weight for each group: the row would stand for another operation
    if (dims and sizes != layer.output_shape[-dims:]) or work_of_signature(signature).macs != layer.macs:
        return "a table's columns do not say all of its shape (output padding, uneven padding, or a weight for each group)"
    return ""
