from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse.costmodels import AverageBits, WeightMemory
from hwdse.costmodels.packing import Metadata, Packing
from hwdse.errors import UsageError
from hwdse.formats import LayerFormat, grid
from hwdse.graph import Layer, LayerGraph

OPTIONS = grid([3, 8], [8])


@given(st.integers(1, 10**9), st.integers(1, 32), st.sampled_from(["dense", "byte", "pow2", "align=4", "align=64"]))
def test_packing_closed_forms(elements: int, bits: int, rule: str) -> None:
    got = Packing(rule).bytes(elements, bits)
    assert got == Packing(rule).table([elements], [bits])[0, 0]
    dense = ceil(elements * bits / 8) if elements * bits < 2**50 else -(-elements * bits // 8)
    assert got >= dense
    if rule == "dense":
        assert got == dense
    if rule == "byte":
        assert got == elements * ceil(bits / 8)
    if rule == "pow2":
        assert got == -(-elements * next(w for w in (1, 2, 4, 8, 16, 32) if w >= bits) // 8)
    if rule.startswith("align"):
        assert got % int(rule[6:]) == 0
        assert got - dense < int(rule[6:])


def test_metadata_per_tensor_channel_and_group() -> None:
    assert Metadata(32, 8, "tensor").bytes(1000, 10) == 5
    assert Metadata(16, 0, "channel").bytes(1000, 10) == 20
    # 100 weights a channel in groups of 32: 4 groups x 10 channels x 20 bits
    assert Metadata(16, 4, "group=32").bytes(1000, 10) == 100
    # group-wise formats cost b + (scale + zero point)/group bits a weight
    assert Metadata(16, 4, "group=25").bytes(1000, 10) * 8 / 1000 == pytest.approx(20 / 25)


@pytest.mark.parametrize("rule", ["tight", "align=0", "align=-1", "align=x", ""])
def test_other_packings_are_refused(rule: str) -> None:
    with pytest.raises(UsageError, match=r"packing must be 'dense', 'byte', 'pow2' or 'align=N'"):
        Packing(rule)


def test_other_metadata_is_refused() -> None:
    with pytest.raises(UsageError, match="per must be 'tensor', 'channel' or 'group=N'"):
        WeightMemory(per="row")
    with pytest.raises(UsageError, match=r"scale_bits must lie in 0\.\.32, got 64"):
        WeightMemory(scale_bits=64)


def test_weights_scales_and_biases_add_up(build) -> None:
    graph = build.loose(build.linear("a", 10, 7, bias=7), build.linear("b", 7, 3))
    table = WeightMemory(scale_bits=16).tabulate(graph, OPTIONS)
    assert table.cells[0].tolist() == [ceil(70 * 3 / 8) + 14, 70 + 14]
    assert table.fixed[0] == 7 * 4
    assert WeightMemory(scale_bits=0, bias_bits=0).tabulate(graph, OPTIONS).fixed[0] == 0


def test_a_shared_weight_is_stored_once(build) -> None:
    graph = build.loose(build.linear("a", 10, 7), build.linear("b", 10, 7, weight="a.weight"))
    table = WeightMemory(scale_bits=0).tabulate(graph, OPTIONS)
    assert table.cells[1].tolist() == [0, 0]
    assert AverageBits().tabulate(graph, OPTIONS).cells[:, 1].tolist() == [8, 0]


def test_weights_without_a_choice_stay_floating_point(build) -> None:
    rnn = Layer("rnn", "recurrent", 100, (1, 4), (1, 4), "rnn.w", (16, 4))
    table = WeightMemory(scale_bits=0).tabulate(build.loose(build.linear("a", 4, 4), rnn), OPTIONS)
    assert table.fixed[0] == 64 * 4
    assert "stored at 32 bits: rnn." in table.notes[0]


def test_a_weight_shared_with_a_layer_without_a_choice_takes_the_chosen_width(build) -> None:
    first = Layer("first", "embedding", 0, (1, 4), (1, 4, 8), "w", (5, 8))
    table = WeightMemory(scale_bits=0).tabulate(build.loose(first, build.linear("head", 8, 5, weight="w")), OPTIONS)
    assert (table.fixed[0], table.cells[0].tolist()) == (0, [15, 40])


def test_average_bits(build) -> None:
    graph = build.loose(build.linear("a", 10, 30), build.linear("b", 30, 5, batch=2))
    mixed = {"a": LayerFormat.of(2, 4), "b": LayerFormat.of(8, 8)}
    options = list(mixed.values())
    assert AverageBits().tabulate(graph, options).total(mixed) == pytest.approx((300 * 2 + 150 * 8) / 450)
    assert AverageBits(weighting="layer").tabulate(graph, options).total(mixed) == 5
    inputs = AverageBits("activations").tabulate(graph, options).total(mixed)
    assert inputs == pytest.approx((10 * 4 + 60 * 8) / 70)
    both = AverageBits("both").tabulate(graph, options)
    assert both.total(mixed) == pytest.approx((inputs + 4) / 2)
    assert both.convention == "average weight and input width over the layers that widths are chosen for, weighted by elements."
    with pytest.raises(UsageError, match="of must be"):
        AverageBits("scales")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="weighting must be"):
        AverageBits(weighting="mac")  # type: ignore[arg-type]


def test_an_empty_graph_has_an_empty_table() -> None:
    graph = LayerGraph((), {}, (), (), ())
    assert WeightMemory().tabulate(graph, OPTIONS).cells.shape == (0, 2)
