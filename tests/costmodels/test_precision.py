from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse.costmodels.precision import Precision
from hwdse.errors import UsageError
from hwdse.formats import LayerFormat, NumberFormat, grid

ANY = Precision("native", (2, 4, 8), (2, 4, 8))
EQUAL = Precision("native", (4, 8), (4, 8), "equal")


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from(["any", "equal", "w_le_a"]))
def test_what_runs_is_the_narrowest_native_pair_at_least_as_wide(weight: int, activation: int, pairs: str) -> None:
    precision = Precision("fusion", (2, 4, 6, 8), (3, 4, 8), pairs)
    chosen, run = LayerFormat.of(weight, activation), precision.executed(LayerFormat.of(weight, activation))
    wide = [p for p in precision.native if p.weight.bits >= weight and p.activation.bits >= activation]
    assert (run is None) == (not wide)
    if run is not None:
        assert run in wide
        assert run.weight.bits + run.activation.bits == min(p.weight.bits + p.activation.bits for p in wide)
        assert chosen not in precision.native or run == chosen


def test_tensor_cores_run_mixed_pairs_at_the_wider() -> None:
    assert EQUAL.executed(LayerFormat.of(4, 8)) == LayerFormat.of(8, 8)
    assert EQUAL.executed(LayerFormat.of(2, 3)) == LayerFormat.of(4, 4)
    assert EQUAL.executed(LayerFormat.of(9, 4)) is None


def test_lists_and_weights_at_most_as_wide() -> None:
    listed = Precision("native", (4, 8), (8, 16), (LayerFormat.of(4, 8), LayerFormat.of(8, 16)))
    assert listed.executed(LayerFormat.of(8, 8)) == LayerFormat.of(8, 16)
    assert LayerFormat.of(8, 4) not in Precision("native", (4, 8), (4, 8), "w_le_a").native


def test_error_refuses_what_is_not_native() -> None:
    strict = Precision("native", (4, 8), (8,), unsupported="error")
    assert strict.executed(LayerFormat.of(3, 8)) is None
    assert strict.sentence(grid([3, 4], [8])) == "it cannot run w3a8"


def test_bit_serial_runs_widths_between() -> None:
    serial = Precision("bit_serial", (2, 8), (2, 8))
    assert serial.executed(LayerFormat.of(5, 3)) == LayerFormat.of(5, 3)
    assert serial.executed(LayerFormat.of(1, 3)) == LayerFormat.of(2, 8)
    assert serial.executed(LayerFormat.of(9, 3)) is None


def test_the_sentence_names_examples() -> None:
    assert ANY.sentence(grid([4], [4])) == ""
    assert ANY.sentence(grid([3, 4], [8])) == "1 of 2 pairs are not native and run as the next wider one: w3a8 as w4a8"


FORMATS = Precision(
    "native", (8,), (8,), formats=tuple(map(LayerFormat.parse, ("mxfp4:mxfp8", "mxfp8", "fp16"))),
    promote={NumberFormat.parse("int4.g128"): NumberFormat.parse("fp16")},
)  # fmt: skip


@pytest.mark.parametrize(
    ("chosen", "run"),
    [
        ("w4a8", "w8a8"),
        ("mxfp8", "mxfp8"),
        ("mxfp4", "mxfp4:mxfp8"),  # the first of two that refine it
        ("mxfp6:mxfp8", "mxfp8"),
        ("int4.g128", "fp16"),  # both operands are promoted
        ("int4.g128:fp16", "fp16"),
        ("nvfp4", None),  # fewer bits than all, and scales that no pair has
        ("mxfp8e5m2", None),  # as many bits as mxfp8, and other values
        ("mxfp4.rceil", None),
        ("int8.c:int8", None),
        ("cb4:int8", None),
    ],
)
def test_formats_run_in_a_pair_that_refines_them_or_as_promoted_never_by_their_bits(chosen: str, run: str | None) -> None:
    assert FORMATS.executed(LayerFormat.parse(chosen)) == (LayerFormat.parse(run) if run else None)


def test_promotions_hold_where_nothing_is_rounded_up_and_go_in_no_circle() -> None:
    strict = replace(FORMATS, unsupported="error")
    assert strict.executed(LayerFormat.parse("int4.g128:fp16")) == LayerFormat.parse("fp16")
    assert strict.executed(LayerFormat.parse("mxfp4")) is None
    with pytest.raises(UsageError, match="goes in a circle: mxfp4 -> mxfp8 -> mxfp4"):
        replace(FORMATS, promote={NumberFormat.parse(a): NumberFormat.parse(b) for a, b in (("mxfp4", "mxfp8"), ("mxfp8", "mxfp4"))})


def test_no_pair_is_an_error() -> None:
    with pytest.raises(UsageError, match="no pair of the listed weight and activation widths"):
        Precision("native", (4,), (8,), "equal")
