"""Samples in turn, calls that fill their share, median and spread; and what of a network is timed at all."""

from __future__ import annotations

import math

import pytest
from measuring_fakes import Scripted

from hwdse.costmodels.measuring import FP32, INT8, Kernel, distinct_shapes, measure
from hwdse.costmodels.measuring.measure import EMPTY
from hwdse.costmodels.measuring.timing import in_turn, summary
from hwdse.costmodels.signature import signature_of, work_of_signature
from hwdse.errors import UsageError
from hwdse.formats import LayerFormat
from hwdse.graph import Layer, LayerGraph


def test_median_and_spread_ignore_a_sample_that_was_interrupted() -> None:
    found = summary([1.0, 1.1, 0.9, 1.0, 50.0], 7)
    assert found.seconds == 1.0
    assert found.spread == pytest.approx(1.4826 * 0.1)
    assert (found.samples, found.calls, found.noisy) == (5, 7, True)
    assert not summary([1.0, 1.05, 0.95], 1).noisy


def test_kernels_are_sampled_in_turn_and_fill_their_share_of_time() -> None:
    backend = Scripted()
    quick, slow = Kernel(lambda: 1e-5, "quick"), Kernel(lambda: 3.0, "slow")
    seen: list[tuple[int, int]] = []
    with backend.running():
        found = in_turn(backend, [quick, slow], 4, 0.04, lambda done, total: seen.append((done, total)))
    timed = [entry for entry in backend.log if entry[1] > 1 or entry[0] == "slow"][-8:]
    assert timed == [("quick", 1000), ("slow", 1)] * 4
    assert [f.seconds for f in found] == [pytest.approx(1e-5), 3.0]
    assert [f.calls for f in found] == [1000, 1]
    assert seen == [(i, 10) for i in range(10)]


@pytest.mark.parametrize(("repeats", "seconds", "said"), [(2, 1.0, "3 or more"), (3, 0.0, "above 0"), (3, math.nan, "above 0")])
def test_too_little_effort_is_refused_before_anything_is_built(kinds: LayerGraph, repeats: int, seconds: float, said: str) -> None:
    backend = Scripted()
    with pytest.raises(UsageError, match=said):
        measure(kinds, backend, None, (), repeats=repeats, seconds=seconds)
    assert not backend.log


def test_each_shape_once_with_all_its_layers(kinds: LayerGraph) -> None:
    shapes, left = distinct_shapes(kinds)
    assert not left
    assert [s.layers for s in shapes] == [
        ("stem",), ("grouped",), ("depthwise",), ("dilated", "again"), ("up",), ("line",), ("tokens",), ("head",),
    ]  # fmt: skip
    assert [s.signature for s in shapes] == [signature_of(kinds[s.layers[0]]) for s in shapes]


def test_what_a_table_cannot_say_is_left_out_with_its_reason() -> None:
    layers = (
        Layer("volume", "conv", 27, (1, 1, 3, 3, 3), (1, 1, 1, 1, 1), "a", (1, 1, 3, 3, 3), 0, "volume", (1,) * 3, (0,) * 3, (1,) * 3),
        # output padding: 8 -> 17 where the columns say 16
        Layer("up", "conv", 64 * 4, (1, 1, 8, 8), (1, 1, 17, 17), "b", (1, 1, 2, 2), 0, "up", (2, 2), (0, 0), (1, 1), 1, True),
        Layer("product", "matmul", 64, (1, 4, 4), (1, 4, 4), other_shape=(1, 4, 4)),
    )
    shapes, left = distinct_shapes(LayerGraph(layers, {}, (), (), ()))
    assert not shapes
    assert [one.layers for one in left] == [("volume",), ("up",), ("product",)]
    assert [said in one.reason for said, one in zip(("3x3x3 kernel", "output padding", "matmul is not timed"), left, strict=True)] == [
        True
    ] * 3
    with pytest.raises(UsageError, match=r"no layer of this model can be timed alone: .*3x3x3"):
        measure(LayerGraph(layers, {}, (), (), ()), Scripted(), None, (), repeats=3, seconds=1e-4)


def test_a_measurement_is_what_its_backend_says(kinds: LayerGraph) -> None:
    backend = Scripted()
    found = measure(kinds, backend, None, (), repeats=3, seconds=1e-3)
    shapes, _ = distinct_shapes(kinds)
    for shape in shapes:
        macs = work_of_signature(shape.signature).macs
        fp32, int8 = found.time(shape.signature, FP32), found.time(shape.signature, INT8)
        assert fp32 is not None
        assert fp32.seconds == pytest.approx(1e-6 + 1e-9 * macs)
        if shape.layers == ("up",):
            assert int8 is None
        else:
            assert int8 is not None
            assert int8.seconds == pytest.approx(1e-6 + 0.25e-9 * macs)
    assert [(one.layers, one.widths, one.reason) for one in found.left] == [(("up",), "w8a8", "there is none")]
    # every layer counts in the sum, those of one shape each
    assert found.total(FP32) == (pytest.approx(9e-6 + 1e-9 * kinds.macs), 9)
    assert found.total(INT8) == (pytest.approx(8e-6 + 0.25e-9 * (kinds.macs - kinds["up"].macs)), 8)
    assert found.empty[FP32].seconds == pytest.approx(1e-6 + 1e-9 * work_of_signature(EMPTY).macs)
    assert {shapes_of.layers for shapes_of in found.shapes} == {s.layers for s in shapes}
    assert {row.widths for row in found.mostly_call} <= {FP32, INT8}
    assert all(row.timing.seconds < 2 * found.empty[row.widths].seconds for row in found.mostly_call)
    assert found.copy_rate == pytest.approx(2 * 2**26 / 1e-2)
    assert (found.network, found.no_network) == (None, "one operation at a time")
    assert found.widths == (LayerFormat.of(8, 8), LayerFormat.of(32, 32))
