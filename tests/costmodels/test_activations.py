from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwdse.costmodels import ActivationMemory, kv_cache_bytes
from hwdse.errors import TraceError, UsageError
from hwdse.formats import LayerFormat, grid
from hwdse.graph import Layer, LayerGraph, Step, Tensor

FLAGS = ("norm", "activation", "add", "depthwise")


def simulate(graph: LayerGraph, widths: dict[str, int], flags: dict[str, bool]) -> int:
    """Peak bytes by walking the schedule with explicit storage: a list of slots, each with its tensors and its end of life."""
    slot = {name: {name} for name in graph.inputs}
    unwritten = set(graph.tensors) - {t for s in graph.steps for t in s.writes}
    slot.update({name: {name} for name in unwritten})
    later: list[set[str]] = [set(graph.outputs)]
    for step in reversed(graph.steps):
        later.append(later[-1] | set(step.reads))
    later.reverse()  # later[i]: read at step i or after, or an output
    views: dict[str, str] = {}
    for step in graph.steps:
        if step.op == "view":
            views.update(dict.fromkeys(step.writes, step.reads[0]))

    def root(name: str) -> str:
        while name in views:
            name = views[name]
        return name

    def needed(name: str, step: int) -> bool:
        """Whether a tensor of this storage is read at ``step`` or after."""
        return any(root(other) == root(name) for other in later[step])

    def readers(name: str) -> list[str]:
        return [s.layer for s in graph.steps if s.layer and graph[s.layer].quantisable and root(s.reads[0]) == root(name)]

    # what each storage is fused into: its width is that of the last one in the chain
    into: dict[str, str] = {}
    over: dict[int, str] = {}
    for i, step in enumerate(graph.steps):
        depthwise = step.op == "layer" and step.layer is not None and graph[step.layer].depthwise
        if not (flags.get(step.op, False) or (depthwise and flags["depthwise"])):
            continue
        out = step.writes[0]
        operands = step.reads if step.op == "add" else step.reads[:1]

        def size(name: str) -> int:
            return max(t.elements for t in graph.tensors.values() if root(t.name) == root(name))

        def chain(name: str) -> str:
            name = root(name)
            while name in into:
                name = into[name]
            return name

        free = [
            o for o in operands
            if not needed(o, i + 1) and not any(root(x) == root(o) for x in graph.inputs) and (depthwise or size(o) == size(out))
        ]  # fmt: skip
        unread = [o for o in free if not readers(o)]
        if step.op in ("norm", "activation") and unread:
            into[root(unread[0])] = root(out)
        elif free:
            over[i] = root(free[0])

    def final(name: str) -> str:
        name = root(name)
        while name in into:
            name = into[name]
        return name

    def width(storage: str) -> int:
        found = [widths[r] for r in readers(storage)]
        return max(found) if found else 8

    def elements(storage: str) -> int:
        return max(t.elements for t in graph.tensors.values() if final(t.name) == storage)

    peak = 0
    born: dict[str, int] = dict.fromkeys((*graph.inputs, *unwritten), -1)
    for i, step in enumerate(graph.steps):
        for name in step.writes:
            born[name] = i
        alive = {final(n) for n, b in born.items() if b == i or needed(n, i) or (b < 0 and i == 0 and n in graph.inputs)}
        cases = [alive]
        if i in over:
            cases = [alive - {final(over[i])}, alive - {final(step.writes[0])}]
        for case in cases:
            peak = max(peak, sum(-(-elements(s) * width(s) // 8) for s in case))
    return peak


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**9), st.tuples(*[st.booleans()] * 4))
def test_peak_equals_a_simulation_of_the_schedule(build, seed: int, chosen: tuple[bool, ...]) -> None:
    graph, flags = build.random(seed), dict(zip(FLAGS, chosen, strict=True))
    options = grid([8], [2, 3, 8])
    table = ActivationMemory(**flags).tabulate(graph, options)
    rng = np.random.default_rng(seed)
    for _ in range(4):
        widths = {name: int(rng.choice([2, 3, 8])) for name in table.layers}
        got = table.total({name: LayerFormat.of(8, bits) for name, bits in widths.items()})
        assert got == simulate(graph, widths, flags)


def chain(length: int) -> LayerGraph:
    layers, tensors, steps, before = [], {"x": Tensor("x", 100)}, [], "x"
    for i in range(length):
        layers.append(Layer(f"l{i}", "linear", 10, (1, 100), (1, 100), f"w{i}", (100, 100), 0, f"l{i}"))
        for op in ("layer", "norm", "activation"):
            name = f"{op}{i}"
            tensors[name] = Tensor(name, 100)
            steps.append(Step(name, op, (before,), (name,), f"l{i}" if op == "layer" else None))  # type: ignore[arg-type]
            before = name
    return LayerGraph(tuple(layers), tensors, tuple(steps), ("x",), (before,))


def test_a_chain_holds_input_and_output_of_one_layer() -> None:
    table = ActivationMemory().tabulate(chain(3), grid([8], [4, 8]))
    assert (
        table.total({"l0": LayerFormat.of(8, 8), "l1": LayerFormat.of(8, 4), "l2": LayerFormat.of(8, 4)}) == 150
    )  # x at 8, l0's output at 4
    assert table.total(dict.fromkeys(table.layers, LayerFormat.of(8, 4))) == 150  # l2's input at 4, the result at the fixed 8


def test_unfused_norms_hold_two_tensors() -> None:
    every = dict.fromkeys(["l0", "l1"], LayerFormat.of(8, 8))
    table = ActivationMemory(norm=False, activation=False, other_bits=16).tabulate(chain(2), [LayerFormat.of(8, 8)])
    assert table.total(every) == 400
    assert "16 bits where no quantised layer does" in table.convention


def test_rows_are_named_after_their_step_and_none_contains_its_neighbour() -> None:
    table = ActivationMemory().tabulate(chain(4), grid([8], [8]))
    assert len(table.row_names) == table.rows
    assert table.rows == 4


def test_several_readers_count_at_the_widest() -> None:
    layers = tuple(Layer(n, "linear", 1, (1, 8), (1, 8), n, (8, 8), 0, n) for n in "ab")
    tensors = {n: Tensor(n, 8) for n in ("x", "ya", "yb", "z")}
    steps = (Step("a", "layer", ("x",), ("ya",), "a"), Step("b", "layer", ("x",), ("yb",), "b"), Step("c", "concat", ("ya", "yb"), ("z",)))
    graph = LayerGraph(layers, tensors, steps, ("x",), ("z",))
    table = ActivationMemory().tabulate(graph, grid([8], [2, 4, 8]))
    for wide, narrow in itertools.product((2, 4, 8), repeat=2):
        expected = max(max(wide, narrow) + 16, 24)
        assert table.total({"a": LayerFormat.of(8, wide), "b": LayerFormat.of(8, narrow)}) == expected


def test_indices_have_their_own_width() -> None:
    embedding = Layer("e", "embedding", 0, (1, 6), (1, 6, 4), "e.w", (10, 4), 0, "e")
    tensors = {"ids": Tensor("ids", 6, integer=True), "y": Tensor("y", 24)}
    graph = LayerGraph((embedding,), tensors, (Step("e", "layer", ("ids",), ("y",), "e"),), ("ids",), ("y",))
    assert ActivationMemory().tabulate(graph, grid([8], [2])).total({"e": LayerFormat.of(8, 2)}) == 6 * 4 + 24
    assert ActivationMemory(index_bits=64).tabulate(graph, grid([8], [2])).total({"e": LayerFormat.of(8, 2)}) == 6 * 8 + 24


def test_layers_alone_are_not_enough(build) -> None:
    with pytest.raises(TraceError, match="activation memory needs the tensors between the layers"):
        ActivationMemory().tabulate(build.loose(build.linear("a", 2, 2)), grid([8], [8]))


@pytest.mark.parametrize(("options", "sentence"), [
    ({"level": "peak"}, "level must be 'liveness' or 'layer', got 'peak'"),
    ({"other_bits": 0}, r"other_bits must lie in 1\.\.32, got 0"),
    ({"index_bits": 65}, r"index_bits must lie in 1\.\.64, got 65"),
])  # fmt: skip
def test_other_options_are_refused(options, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        ActivationMemory(**options)


def test_kv_cache_refuses_nothing_to_keep() -> None:
    with pytest.raises(UsageError, match="must be at least 1"):
        kv_cache_bytes(0, 8, 128, 1, 1, 8)


def test_a_thousand_layers_need_no_dense_array() -> None:
    graph = chain(1000)
    begin = time.perf_counter()
    table = ActivationMemory().tabulate(graph, grid(range(2, 9), range(2, 9)))
    assert time.perf_counter() - begin < 2
    assert table.cells.shape[0] < 5_000
