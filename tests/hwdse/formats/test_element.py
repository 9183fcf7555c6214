"""Elements against the tables of OCP MX 1.0 and OCP FP8, and the order of containment against brute force."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from hwdse.errors import UsageError
from hwdse.formats import E2M1, E2M3, E3M2, E4M3, E5M2, MXINT8, Codebook, Float, Integer, Values, contains

POSITIVE = {
    E2M1: [0, 0.5, 1, 1.5, 2, 3, 4, 6],
    E2M3: [*np.arange(0, 2, 0.125), *np.arange(2, 4, 0.25), *np.arange(4, 8, 0.5)],
    E3M2: [0, 0.0625, 0.125, 0.1875, 0.25, 0.3125, 0.375, 0.4375, 0.5, 0.625, 0.75, 0.875, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6, 7,
           8, 10, 12, 14, 16, 20, 24, 28],
}  # fmt: skip


@pytest.mark.parametrize(("element", "positive"), POSITIVE.items())
def test_values_are_those_of_the_standard(element: Float, positive: list[float]) -> None:
    np.testing.assert_array_equal(element.values, [*(-x for x in positive[:0:-1]), *positive])


@pytest.mark.parametrize(
    ("element", "bits", "bias", "largest", "emax", "normal", "subnormal", "count"),
    [
        (E2M1, 4, 1, 6, 2, 1, 0.5, 15),
        (E2M3, 6, 1, 7.5, 2, 1, 0.125, 63),
        (E3M2, 6, 3, 28, 4, 0.25, 0.0625, 63),
        (E4M3, 8, 7, 448, 8, 2**-6, 2**-9, 253),
        (E5M2, 8, 15, 57344, 15, 2**-14, 2**-16, 247),
    ],
)
def test_facts_are_those_of_the_standard(
    element: Float, bits: int, bias: int, largest: float, emax: int, normal: float, subnormal: float, count: int
) -> None:
    assert (element.bits, element.bias, element.largest, element.largest_exponent) == (bits, bias, largest, emax)
    assert (2.0**element.smallest_exponent, element.quantum, len(element.values)) == (normal, subnormal, count)


def test_mxint8_has_no_lowest_code() -> None:
    assert len(MXINT8.values) == 255
    assert MXINT8.values[0] == -MXINT8.values[-1] == -127 / 64


@pytest.mark.parametrize(("bits", "symmetric", "values"), [(3, True, range(-4, 8)), (3, False, range(8)), (2, True, range(-2, 4))])
def test_integers_hold_the_signed_and_the_unsigned_codes(bits: int, symmetric: bool, values: range) -> None:
    np.testing.assert_array_equal(Integer(bits, symmetric).values, list(values))


SMALL = [
    E2M1, E2M3, E3M2, E4M3, E5M2, MXINT8, *(Integer(b) for b in range(1, 9)), *(Integer(b, symmetric=False) for b in (2, 4, 8)),
    Values((-1.0, 0.0, 1.0)), Values((-0.5, 0.0, 0.5, 1.0)), Float(3, 3), Float(5, 10, "ieee"), Float(8, 7, "ieee"),
]  # fmt: skip


def test_containment_is_that_of_the_sets_of_values() -> None:
    for wide, narrow in itertools.product(SMALL, SMALL):
        expected = set(narrow.values.tolist()) <= set(wide.values.tolist())
        if isinstance(wide, Integer) and isinstance(narrow, Integer) and wide.symmetric != narrow.symmetric:
            expected = False  # a zero point shifts every value
        assert contains(wide, narrow) == expected, (wide, narrow)


def test_wide_floats_are_compared_without_listing_their_values() -> None:
    single = Float(8, 23, "ieee")
    assert all(contains(single, one) for one in SMALL)
    assert contains(single, Integer(24))
    assert not contains(single, Integer(26))
    assert not contains(Float(8, 7, "ieee"), single)
    assert not contains(Float(5, 10, "ieee"), Float(8, 7, "ieee"))


def test_codebooks_are_compared_with_codebooks_alone() -> None:
    assert contains(Codebook(4), Codebook(3))
    assert not contains(Codebook(3), Codebook(4))
    assert not contains(Codebook(4), Integer(2))
    assert not contains(Integer(16), Codebook(2))
    assert Codebook(4).code == Integer(8)
    assert Codebook(9).code == Integer(9)


@pytest.mark.parametrize("table", [(), (1.0,), (1.0, 1.0), (2.0, 1.0), (0.0, float("nan")), (0.0, float("inf"))])
def test_tables_that_are_none_are_refused(table: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="ascending"):
        Values(table)


@pytest.mark.parametrize(
    "make",
    [lambda: Integer(0), lambda: Integer(33), lambda: Float(0, 3), lambda: Float(9, 3), lambda: Codebook(1), lambda: Float(4, 3, "inf")],
)
def test_elements_that_are_none_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(UsageError, match=r"bits|specials"):
        make()
