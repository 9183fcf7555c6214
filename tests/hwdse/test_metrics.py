from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hwdse.errors import UsageError
from hwdse.metrics import ACTIVATIONS, AVERAGE_BITS, BITOPS, ENERGY, LATENCY, LOSS, UNITS, WEIGHTS, Metric

ACCURACY = Metric("accuracy", "fraction", "higher")
ALL = (BITOPS, WEIGHTS, ACTIVATIONS, LATENCY, ENERGY, AVERAGE_BITS, LOSS, ACCURACY)


def test_keys() -> None:
    assert Metric("latency", "s", on="t4").key == "latency@t4"
    assert LATENCY.key == "latency"


def test_the_sign_is_flipped_here_and_only_for_scores() -> None:
    assert LATENCY.minimised(2.0) == 2.0
    assert ACCURACY.minimised(0.9) == -0.9


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        (LATENCY, 3e-3, "3 ms"),
        (LATENCY, 1.23456, "1.235 s"),
        (LATENCY, 4.2e-7, "420 ns"),
        (ENERGY, 2.5e-12, "2.5 pJ"),
        (ENERGY, 3e-13, "0.3 pJ"),
        (WEIGHTS, 1536.0, "1.5 KiB"),
        (WEIGHTS, 100.0, "100 B"),
        (WEIGHTS, 3 * 1024.0**3, "3 GiB"),
        (BITOPS, 35.21e9, "35.21 GBitOPs"),
        (BITOPS, 12.0, "12 BitOPs"),
        (BITOPS, 0.0, "0 BitOPs"),
        (AVERAGE_BITS, 4.0, "4 bit"),
        (LOSS, 0.012345678, "0.01235"),
        (ACCURACY, 0.9123, "91.23 %"),
        (LATENCY, 0.0, "0 ms"),
        (LATENCY, math.inf, "unsupported"),
        (LATENCY, math.nan, "-"),
        (LATENCY, -math.inf, "-"),
    ],
)
def test_shown(metric: Metric, value: float, text: str) -> None:
    assert metric.format(value) == text


def test_shown_in_the_prefix_of_another_value() -> None:
    assert LATENCY.format(5e-6, like=3e-3) == "0.005 ms"


@pytest.mark.parametrize(
    ("metric", "text", "value"),
    [
        (LATENCY, "3 ms", 3e-3),
        (LATENCY, " 3ms ", 3e-3),
        (LATENCY, "2.5e-3 s", 2.5e-3),
        (LATENCY, ".5 us", 5e-7),
        (WEIGHTS, "1 kB", 1000.0),
        (WEIGHTS, "1 KiB", 1024.0),
        (WEIGHTS, "2 MB", 2e6),
        (BITOPS, "35 G", 35e9),
        (BITOPS, "35 GBitOPs", 35e9),
        (BITOPS, "35 gbitops", None),
        (BITOPS, "12 BitOPs", 12.0),
        (BITOPS, "12", 12.0),
        (AVERAGE_BITS, "4 bit", 4.0),
        (ACCURACY, "91 %", 0.91),
        (LOSS, "0.5", 0.5),
        (BITOPS, "1,000 TBitOPs", 1e15),
        (WEIGHTS, "1,234,567.5 B", 1234567.5),
    ],
)
def test_read(metric: Metric, text: str, value: float | None) -> None:
    if value is None:
        with pytest.raises(UsageError, match="is measured in"):
            metric.parse(text)
    else:
        assert metric.parse(text) == pytest.approx(value, rel=1e-15)


@given(st.sampled_from(ALL), st.floats(1e-12, 1e15))
def test_what_is_shown_can_be_read_and_is_near(metric: Metric, value: float) -> None:
    assume(metric is not ACCURACY or 1e-2 < value < 1e6)
    assert metric.parse(metric.format(value)) == pytest.approx(value, rel=6e-3 if metric is ACCURACY else 6e-4)


@pytest.mark.parametrize(
    ("metric", "text", "message"),
    [
        (LATENCY, "3", "'3': latency is measured in s, ms, us, ns; got no unit"),
        (LATENCY, "3 KiB", "got the unit 'KiB'"),
        (LATENCY, "fast", "'fast' is not a quantity of latency; write a number and a unit: s, ms, us, ns"),
        (LATENCY, "3 m s", "is not a quantity"),
        (LATENCY, "1e999 s", "is not a finite quantity"),
        (LATENCY, "nan s", "is not a quantity"),
        (LATENCY, "1,5 ms", "is not a quantity"),
        (LATENCY, "", "is not a quantity"),
        (WEIGHTS, "3 kb", "got the unit 'kb'"),
        (LOSS, "3 ms", "loss is measured in no unit, nat"),
    ],
)
def test_what_cannot_be_read(metric: Metric, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        metric.parse(text)
    assert message in str(caught.value)


def test_every_prefix_is_a_power_of_its_unit() -> None:
    for units in UNITS.values():
        assert all(f > 0 and math.isfinite(f) for f in units.values())
        assert 1.0 in units.values()


@pytest.mark.parametrize("metric", [LATENCY, WEIGHTS, BITOPS, ACCURACY])
@given(value=st.floats(1e-6, 1.0))
def test_a_bound_is_met_by_its_value_and_near_it(metric: Metric, value: float) -> None:
    value = value if metric.unit in ("s", "fraction") else math.ceil(value * 1e9)
    found = metric.parse(metric.bound(value))
    assert metric.minimised(value) <= metric.minimised(found) + 1e-12 * abs(found)
    assert found == pytest.approx(value, rel=1.01e-3, abs=1.01e-4 if metric.unit == "fraction" else 0)  # two decimals of a percentage


def test_a_bound_is_a_round_number_where_the_value_is() -> None:
    assert [LATENCY.bound(v) for v in (1.2e-3, 3e-6, 89.2601e-6)] == ["1.2 ms", "3 us", "89.27 us"]
    assert ACCURACY.bound(0.97336) == "97.33 %"


def test_a_limit_and_what_is_beyond_it_are_told_apart() -> None:
    assert LATENCY.apart(89.2601e-6, 89.2649e-6) == ("89.26 us", "89.27 us")
    assert LATENCY.apart(3.21261e-3, 3.21265e-3) == ("3.2126 ms", "3.2127 ms")
    assert WEIGHTS.apart(1000.0, 1024.0 * 1000) == ("1000 B", "1000 KiB")
    assert ACCURACY.apart(0.97336, 0.97333) == ("97.34 %", "97.33 %")
