"""A hand-made graph for tests of cost models: no network, no torch."""

from __future__ import annotations

from ..graph import Layer, LayerGraph, Step, Tensor


def small_graph() -> LayerGraph:
    """Four layers at batch 1: conv, a residual pair (3x3 and 1x1 reading one tensor), and a classifier.

    ``image -stem-> a -body-> b``, ``a -skip-> c``, ``b + c = d``, ``d -pool-> e -head-> out``. MACs: 13,824 + 73,728 + 8,192 + 160.
    """
    a = (1, 16, 8, 4)
    layers = (
        Layer("stem", "conv", 13_824, (1, 3, 8, 8), a, "stem.weight", (16, 3, 3, 3), 16, "stem", (1, 2), (1, 1), (1, 1)),
        Layer("body", "conv", 73_728, a, a, "body.weight", (16, 16, 3, 3), 0, "body", (1, 1), (1, 1), (1, 1)),
        Layer("skip", "conv", 8_192, a, a, "skip.weight", (16, 16, 1, 1), 0, "skip", (1, 1), (0, 0), (1, 1)),
        Layer("head", "linear", 160, (1, 16), (1, 10), "head.weight", (10, 16), 10, "head"),
    )
    sizes = {"image": 192, "a": 512, "b": 512, "c": 512, "d": 512, "e": 16, "out": 10}
    steps = (
        Step("stem", "layer", ("image",), ("a",), "stem"),
        Step("body", "layer", ("a",), ("b",), "body"),
        Step("skip", "layer", ("a",), ("c",), "skip"),
        Step("add", "add", ("b", "c"), ("d",)),
        Step("pool", "pool", ("d",), ("e",)),
        Step("head", "layer", ("e",), ("out",), "head"),
    )
    return LayerGraph(layers, {name: Tensor(name, n) for name, n in sizes.items()}, steps, ("image",), ("out",))
