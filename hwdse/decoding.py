"""A decoder that generates: one token at a time, with the keys and values of the tokens before it in a cache.

The trace of a decoder is its *prefill*: all tokens of a prompt at once, bound by arithmetic. Generating reads every weight, and the whole
cache, for a single token, and is bound by memory. Both are one model and one allocation, so the decode step is another view of the
same layers.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

from .errors import UsageError
from .graph import Layer, LayerGraph, LeftOut


def decode_step(graph: LayerGraph, context: int) -> LayerGraph:
    """The graph of generating one token per sequence with ``context`` tokens in the cache, that one included.

    Linear layers and embeddings see one token in place of those traced, also where batch and tokens were flattened into rows; an
    attention, or the two products that it is spelled out in, has one query and ``context`` keys and values; one over other keys (encoder
    states) keeps those. A head on the last token stays. Everything else stays as traced and is named in ``left_out``. The data flow is
    left out: the peak of activation memory is that of the prefill, beside the cache.

    Args:
        graph: traced on inputs (batch, tokens).
        context: tokens kept, at least 1.

    Raises:
        UsageError: ``context`` below 1; a model without attention over tokens; as many tokens as numbers per head.
    """
    if context < 1:
        raise UsageError(f"the tokens in the cache must be at least 1, got {context}.")
    tokens = _tokens(graph)
    batch = _batch(graph, tokens)
    layers, kept = [], []
    for layer in graph.layers:
        one = _at_one(layer, tokens, batch, context)
        layers.append(one or layer)
        if one is None:
            why = f"counted as traced, not for one token: it does not go over the {tokens} tokens in a way that decoding knows"
            kept.append(LeftOut(layer.name, why))
    return LayerGraph(tuple(layers), {}, (), (), (), (*graph.left_out, *kept), data_flow=False, parameters=graph.parameters)


def cache_elements(graph: LayerGraph, context: int) -> int:
    """Numbers in the cache: keys and values of every attention, ``context`` tokens of each sequence, grouped heads once."""
    found = 0
    for layer in decode_step(graph, context).layers:
        if layer.kind == "attention" and layer.other_shape:
            found += math.prod(layer.other_shape[:-1]) * (layer.other_shape[-1] + layer.output_shape[-1])
        elif layer.kind == "matmul":
            found += math.prod(layer.other_shape)
    return found


def _tokens(graph: LayerGraph) -> int:
    """How many tokens the prefill was traced with: what attention goes over."""
    found = Counter(
        layer.input_shape[-2]
        for layer in graph.layers
        if len(layer.input_shape) > 2
        and (
            (layer.kind == "attention" and layer.other_shape[-2:-1] == layer.input_shape[-2:-1])
            or (layer.kind == "matmul" and layer.output_shape[-1] == layer.output_shape[-2])
        )
    )
    if not found:
        raise UsageError(
            "decoding needs a model with attention over tokens (scaled_dot_product_attention, or its two products spelled out); "
            "this one has none: cost it as it was traced."
        )
    return found.most_common(1)[0][0]


def _batch(graph: LayerGraph, tokens: int) -> int:
    """Sequences of the trace."""
    for layer in graph.layers:
        shape = layer.input_shape
        if layer.kind == "linear" and len(shape) > 2 and shape[-2] == tokens:
            return math.prod(shape[:-2])
        if layer.kind == "embedding" and len(shape) > 1 and shape[-1] == tokens:
            return math.prod(shape[:-1])
    return 1


def _at_one(layer: Layer, tokens: int, batch: int, context: int) -> Layer | None:
    """The layer at one token; None where it is not known how."""
    before, after = layer.input_shape, layer.output_shape
    if layer.kind == "attention" and before[-2] == tokens:
        keys = layer.other_shape or before
        if keys[-2] != tokens:  # over encoder states
            return replace(layer, macs=layer.macs // tokens, input_shape=_one(before), output_shape=_one(after))
        keys = (*keys[:-2], context, keys[-1])
        macs = layer.macs * context // (tokens * tokens)
        return replace(layer, macs=macs, input_shape=_one(before), output_shape=_one(after), other_shape=keys)
    if layer.kind == "matmul" and len(before) > 2 and before[-2] == tokens and tokens in (before[-1], after[-1]):
        if before[-1] == after[-1]:
            raise UsageError(
                f"'{layer.name}' multiplies {tokens} tokens by {tokens} numbers per head: trace with another number of tokens than that, "
                "or queries and keys cannot be told apart."
            )
        inner, outer = (context if extent == tokens else extent for extent in (before[-1], after[-1]))
        return replace(
            layer, macs=math.prod(after[:-2]) * inner * outer, input_shape=(*before[:-2], 1, inner), output_shape=(*after[:-2], 1, outer),
            other_shape=(*layer.other_shape[:-2], inner, outer),
        )  # fmt: skip
    if layer.kind in ("linear", "embedding"):
        rows = before[:-1] if layer.kind == "linear" else before
        width = before[len(rows) :]
        if len(rows) > 1 and rows[-1] == tokens:
            shrunk = (*rows[:-1], 1)
        elif len(rows) == 1 and rows[0] in (batch * tokens, tokens) and rows[0] != batch:
            shrunk = (rows[0] // tokens,)  # flattened, or positions
        elif math.prod(rows) == batch:
            return layer  # a head on the last token
        else:
            return None
        return replace(
            layer,
            macs=layer.macs * math.prod(shrunk) // max(1, math.prod(rows)),
            input_shape=(*shrunk, *width),
            output_shape=(*shrunk, *after[len(rows) :]),
        )
    return None


def _one(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:-2], 1, shape[-1])
