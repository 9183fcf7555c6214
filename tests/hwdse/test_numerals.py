"""One grammar of numbers."""

from __future__ import annotations

import math
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse.errors import UsageError
from hwdse.formats import LayerFormat
from hwdse.metrics import LATENCY
from hwdse.numerals import number, sound, whole

NONE = (
    "", " ", "5_0", "0x10", "0b1", "nan", "NaN", "inf", "-inf", "Infinity", "1e400", "-1e400", "1e-320", "1e-400", "-0", "-0.0", "-0e5",
    "１２", "١٢", "²",
    "1,5", "1 000", "5%", "1e", "e5", ".", "--1", "+-1", "1f", "1d3", "12\u2009", "5\n", "9" * 500, "½", "1e5.0", "−1", "five",
)  # fmt: skip
SOME = {
    "0": 0.0,
    "+5": 5.0,
    " 5 ": 5.0,
    "-3": -3.0,
    "1.": 1.0,
    ".5": 0.5,
    "1e-3": 1e-3,
    "2.5E+6": 2.5e6,
    "0.0": 0.0,
    "007": 7.0,
    "1e308": 1e308,
}


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_number(text: str) -> None:
    assert number(text) is None
    assert whole(text) is None
    if text.strip() not in ("", "5", "12", "1 000"):  # blanks of any kind may stand before a unit
        with pytest.raises(UsageError):
            LATENCY.parse(f"{text} ms")
    with pytest.raises(UsageError):
        LayerFormat.parse(f"w{text}a8")


@pytest.mark.parametrize(("text", "value"), SOME.items())
def test_what_is_one(text: str, value: float) -> None:
    assert number(text) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_that_python_writes_is_read_back(value: float) -> None:
    kept = abs(value) >= sys.float_info.min or (value == 0 and math.copysign(1, value) > 0)
    assert number(repr(value)) == (value if kept else None)
    assert sound(value) == (value if kept else None)


@given(st.text(alphabet="0123456789+-.eE_ ,xnaif٣", max_size=12))
def test_nothing_is_taken_that_float_does_not_take(text: str) -> None:
    found = number(text)
    if found is not None:
        assert found == float(text)
        assert re.fullmatch(r"\s*[+-]?[0-9.]+([eE][+-]?[0-9]+)?\s*", text)


@given(st.integers(-5, 2**60))
def test_whole_numbers(value: int) -> None:
    assert whole(str(value)) == (value if 0 <= value <= 2**53 else None)
    assert whole("7", most=6) is None
