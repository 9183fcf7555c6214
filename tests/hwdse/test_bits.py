from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse.bits import FLOAT_BITS, Allocation, BitWidths, grid
from hwdse.errors import FileFormatError, UsageError

widths = st.builds(BitWidths, st.integers(1, 32), st.integers(1, 32))
allocations = st.dictionaries(st.text(min_size=1, max_size=8), widths, max_size=5).map(Allocation)


@given(widths)
def test_text_round_trip(pair: BitWidths) -> None:
    assert BitWidths.parse(str(pair)) == pair
    assert BitWidths.parse(f"  {str(pair).upper()} ") == pair


@pytest.mark.parametrize("text", ["", "w4", "4a8", "w4a8x", "w-4a8", "wa8", "w4 a8"])
def test_malformed_text(text: str) -> None:
    with pytest.raises(UsageError, match="is not a pair of bit-widths; write for example w4a8"):
        BitWidths.parse(text)


@pytest.mark.parametrize("bits", [0, -1, FLOAT_BITS + 1])
def test_widths_outside_the_range(bits: int) -> None:
    with pytest.raises(UsageError, match=f"weight width must lie in 1..32 bits, got {bits}"):
        BitWidths(bits, 8)
    with pytest.raises(UsageError, match=f"activation width must lie in 1..32 bits, got {bits}"):
        BitWidths(8, bits)


def test_grid_ascends_and_names_each_pair_once() -> None:
    assert [str(b) for b in grid([8, 4, 8], [8, 2])] == ["w4a2", "w4a8", "w8a2", "w8a8"]


@given(allocations)
def test_json_round_trip(allocation: Allocation) -> None:
    text = allocation.to_json(costs={"latency": 1.0})
    again = Allocation.from_json(text)
    assert again == allocation
    assert list(again) == list(allocation)
    assert hash(again) == hash(allocation)
    assert json.loads(text)["schema"] == "hwdse.allocation/1"


def test_allocations_are_equal_by_content_and_cannot_be_changed() -> None:
    one = Allocation({"a": BitWidths(4, 8), "b": BitWidths(8, 8)})
    two = Allocation({"b": BitWidths(8, 8), "a": BitWidths(4, 8)})
    assert one == two
    assert hash(one) == hash(two)
    assert repr(one) == "Allocation(a=w4a8, b=w8a8)"
    with pytest.raises(TypeError):
        one["a"] = BitWidths(2, 2)  # type: ignore[index]


def test_an_allocation_does_not_follow_the_mapping_it_came_from() -> None:
    source = {"a": BitWidths(4, 8)}
    made = Allocation(source)
    source["a"] = BitWidths(8, 8)
    assert made["a"] == BitWidths(4, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"mine.json, line 1: is truncated or not JSON"),
        ("[]", r"must hold a JSON object, got list"),
        ('{"schema": "other/2", "layers": {}}', r"must have schema 'hwdse.allocation/1', got 'other/2'"),
        ('{"schema": "hwdse.allocation/1"}', r"key 'layers': must map each layer to its widths"),
        ('{"schema": "hwdse.allocation/1", "layers": {"a": 4}}', r"key 'layers': must map each layer to its widths"),
        ('{"schema": "hwdse.allocation/1", "layers": {"a": "w99a8"}}', r"key 'layers': weight width must lie in 1..32"),
        ('{"schema": "hwdse.allocation/1", "layers": {"a": "4"}}', r"'4' is not a pair of bit-widths"),
    ],
)
def test_documents_that_are_none(text: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        Allocation.from_json(text, "mine.json")
