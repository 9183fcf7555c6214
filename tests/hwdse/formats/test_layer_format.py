from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse.errors import FileFormatError, UsageError
from hwdse.formats import FLOAT_BITS, Allocation, LayerFormat, NumberFormat, grid, parse_options

plain = st.builds(LayerFormat.of, st.integers(1, 32), st.integers(1, 32))
names = st.sampled_from(["int4", "int4.t", "int4.g128", "uint8", "fp8e4m3", "mxfp4", "mxfp4.rceil", "mxfp8", "nvfp4", "cb4", "fp32"])
formats = plain | st.builds(LayerFormat, names.map(NumberFormat.parse), names.map(NumberFormat.parse))
allocations = st.dictionaries(st.text(min_size=1, max_size=8), formats, max_size=5).map(Allocation)


@given(formats)
def test_text_round_trip(pair: LayerFormat) -> None:
    assert LayerFormat.parse(str(pair)) == pair
    assert LayerFormat.parse(f"  {str(pair).upper()} ") == pair


@pytest.mark.parametrize("text", ["", "w4", "4a8", "w4a8x", "w-4a8", "wa8", "w4 a8", "mxfp4:", ":mxfp8", "mxfp4:mxfp8:int8", "mxfp4:mxpf8"])
def test_malformed_text(text: str) -> None:
    with pytest.raises(UsageError, match="is not the format of a layer, such as w4a8, mxfp8 or mxfp4:mxfp8"):
        LayerFormat.parse(text)


@pytest.mark.parametrize("bits", [0, -1, FLOAT_BITS + 1])
def test_widths_outside_the_range(bits: int) -> None:
    with pytest.raises(UsageError, match=f"weight width must lie in 1..32 bits, got {bits}"):
        LayerFormat.of(bits, 8)
    with pytest.raises(UsageError, match=f"activation width must lie in 1..32 bits, got {bits}"):
        LayerFormat.of(8, bits)


def test_grid_ascends_and_names_each_pair_once() -> None:
    assert [str(b) for b in grid([8, 4, 8], [8, 2])] == ["w4a2", "w4a8", "w8a2", "w8a8"]


@given(allocations)
def test_json_round_trip(allocation: Allocation) -> None:
    text = allocation.to_json(costs={"latency": 1.0})
    again = Allocation.from_json(text)
    assert again == allocation
    assert list(again) == list(allocation)
    assert hash(again) == hash(allocation)
    assert json.loads(text)["schema"] == "hwdse.allocation/2"


def test_files_of_the_first_schema_are_read() -> None:
    text = json.dumps({"schema": "hwdse.allocation/1", "layers": {"a": "w4a8", "b": "w32a32"}})
    assert Allocation.from_json(text) == Allocation({"a": LayerFormat.of(4, 8), "b": LayerFormat.of(32, 32)})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int2..int3", ["w2a2", "w2a3", "w3a2", "w3a3"]),
        ("int4, int8", ["w4a4", "w4a8", "w8a4", "w8a8"]),
        ("w4a16", ["w4a16"]),
        ("mxfp4", ["mxfp4:mxfp4"]),
        ("mxfp4:mxfp8, nvfp4", ["mxfp4:mxfp8", "nvfp4:nvfp4"]),
        ("int8, int4.g128:int8", ["int4.g128:int8", "w8a8"]),
        ("cb2..cb3:int8, int8", ["cb2:int8", "cb3:int8", "w8a8"]),
        ("int2.t..int3.t", ["int2.t:int2.t", "int3.t:int3.t"]),
        ("int3.g32..int4.g32 : int8", ["int3.g32:int8", "int4.g32:int8"]),
        ("int8.t", ["int8.t:int8.t"]),
    ],
)
def test_lists_of_options(text: str, expected: list[str]) -> None:
    assert [str(option) for option in parse_options(text)] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (" , ", "empty"),
        ("int4..int2", "no range"),
        ("int2..cb4", "no range"),
        ("int2..int4.t", "no range"),
        ("int2..int99", "bits"),
    ],
)
def test_lists_that_are_none(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_options(text)


def test_a_format_refines_another_where_both_operands_do() -> None:
    assert LayerFormat.of(8, 8).refines(LayerFormat.of(4, 8))
    assert not LayerFormat.of(8, 4).refines(LayerFormat.of(4, 8))
    assert LayerFormat.parse("mxfp8:mxfp8").refines(LayerFormat.parse("mxfp4:mxfp6"))
    assert not LayerFormat.parse("mxfp8:mxfp8").refines(LayerFormat.of(2, 2))


def test_allocations_are_equal_by_content_and_cannot_be_changed() -> None:
    one = Allocation({"a": LayerFormat.of(4, 8), "b": LayerFormat.of(8, 8)})
    two = Allocation({"b": LayerFormat.of(8, 8), "a": LayerFormat.of(4, 8)})
    assert one == two
    assert hash(one) == hash(two)
    assert repr(one) == "Allocation(a=w4a8, b=w8a8)"
    with pytest.raises(TypeError):
        one["a"] = LayerFormat.of(2, 2)  # type: ignore[index]


def test_an_allocation_does_not_follow_the_mapping_it_came_from() -> None:
    source = {"a": LayerFormat.of(4, 8)}
    made = Allocation(source)
    source["a"] = LayerFormat.of(8, 8)
    assert made["a"] == LayerFormat.of(4, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"mine.json, line 1: is truncated or not JSON"),
        ("[]", r"must hold a JSON object, got list"),
        ('{"schema": "other/2", "layers": {}}', r"must have schema 'hwdse.allocation/2', got 'other/2'"),
        ('{"schema": "hwdse.allocation/1"}', r"key 'layers': must map each layer to its formats"),
        ('{"schema": "hwdse.allocation/1", "layers": {"a": 4}}', r"key 'layers': must map each layer to its formats"),
        ('{"schema": "hwdse.allocation/1", "layers": {"a": "w99a8"}}', r"key 'layers': weight width must lie in 1..32"),
        ('{"schema": "hwdse.allocation/1", "layers": {"a": "4"}}', r"'4' is not the format of a layer"),
    ],
)
def test_documents_that_are_none(text: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        Allocation.from_json(text, "mine.json")
