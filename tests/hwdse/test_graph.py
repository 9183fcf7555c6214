"""What is derived from a layer graph, on graphs written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwdse.errors import TraceError
from hwdse.graph import Layer, LayerGraph, Step, Tensor


def conv(name: str, weight: str | None = None, module: str | None = "", **more: object) -> Layer:
    return Layer(name, "conv", 9, (1, 1, 3, 3), (1, 1, 3, 3), weight or name, (1, 1, 3, 3), module=name if module == "" else module, **more)  # type: ignore[arg-type]


def graph() -> LayerGraph:
    """x -> a; b and c read a's output, c through a view; b and d share a weight; d reads b + c; e is not quantisable."""
    layers = (conv("a"), conv("b"), conv("c"), conv("d", weight="b"), conv("e", module=None))
    tensors = {name: Tensor(name, 9) for name in ("x", "a", "av", "b", "c", "s", "d", "e")}
    steps = (
        Step("a", "layer", ("x",), ("a",), "a"),
        Step("b", "layer", ("a",), ("b",), "b"),
        Step("view", "view", ("a",), ("av",)),
        Step("c", "layer", ("av",), ("c",), "c"),
        Step("e", "layer", ("av",), ("e",), "e"),
        Step("add", "add", ("b", "c"), ("s",)),
        Step("d", "layer", ("s",), ("d",), "d"),
    )
    return LayerGraph(layers, tensors, steps, ("x",), ("d", "e"))


def test_ties_are_of_quantisable_layers_that_read_one_storage() -> None:
    assert graph().activation_ties == (("b", "c"),)
    assert graph().weight_ties == (("b", "d"),)
    assert graph().readers == {"x": ("a",), "a": ("b", "c"), "s": ("d",)}


def test_edges_pass_through_uncounted_operations() -> None:
    assert graph().edges == (("a", "b"), ("a", "c"), ("a", "e"), ("b", "d"), ("c", "d"))


def test_shared_weights_are_stored_once() -> None:
    assert graph().params == 4 * 9
    assert [layer.name for layer in graph().weight_owners] == ["a", "b", "c", "e"]
    assert graph().macs == 5 * 9


def test_depthwise_is_one_input_channel_per_group() -> None:
    deep = Layer("d", "conv", 1, (), (), "w", (8, 1, 3, 3), groups=8)
    back = Layer("t", "conv", 1, (), (), "w", (8, 2, 3, 3), groups=8, transposed=True)
    grouped = Layer("g", "conv", 1, (), (), "w", (16, 4, 3, 3), groups=4)
    assert deep.depthwise
    assert back.depthwise
    assert not grouped.depthwise
    assert not replace(back, groups=4).depthwise
    assert not replace(deep, groups=1).depthwise
    assert (deep.kernel, deep.params) == ((3, 3), 72)
    assert Layer("m", "matmul", 1, (), ()).params == 0


def test_fingerprints_differ_where_anything_differs() -> None:
    first = graph()
    changed = replace(first, layers=(replace(first.layers[0], macs=10), *first.layers[1:]))
    assert first.fingerprint == graph().fingerprint
    assert len({first.fingerprint, changed.fingerprint, replace(first, outputs=("d",)).fingerprint}) == 3


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"layers": (conv("a"), conv("a"))}, "must be unique; got a more than once"),
        ({"steps": (Step("s", "add", ("nowhere",), ()),)}, "tensors that the graph does not have: nowhere"),
        ({"steps": (Step("s", "layer", ("x",), (), "z"),)}, "layers that the graph does not have: z"),
    ],
)
def test_graphs_that_contradict_themselves_are_refused(change: dict[str, object], problem: str) -> None:
    with pytest.raises(TraceError, match=problem):
        replace(graph(), **change)  # type: ignore[arg-type]
