"""Names of formats, what they weigh against brute force, and the order that no sorting by bits can give."""

from __future__ import annotations

import itertools

import pytest

from hwdse.errors import UsageError
from hwdse.formats import NumberFormat, plain_integer

NAMED = [
    *(f"int{b}" for b in range(2, 17)), *(f"int{b}.{s}" for b in (2, 4, 8) for s in ("t", "c", "g32", "g64", "g128")),
    "uint4", "uint8", "uint8.t", "uint4.g32", "uint4.g128", "fp8e4m3", "fp8e5m2", "fp8e4m3.c", "fp6e2m3", "fp6e3m2", "fp4", "mxfp4",
    "mxfp4.even", "mxfp4.ceil", "mxfp4.rceil", "mxfp6", "mxfp6e3m2", "mxfp8", "mxfp8e5m2", "mxfp8.rceil", "mxint8", "nvfp4", "cb2",
    "cb4", "cb8", "fp32", "fp16", "bf16",
]  # fmt: skip
FORMATS = [NumberFormat.parse(name) for name in NAMED]


@pytest.mark.parametrize("name", NAMED)
def test_a_name_reads_back_as_itself(name: str) -> None:
    assert str(NumberFormat.parse(name)) == name
    assert NumberFormat.parse(f" {name.upper()} ") == NumberFormat.parse(name)


@pytest.mark.parametrize(("alias", "name"), [("mxfp8e4m3", "mxfp8"), ("mxfp6e2m3", "mxfp6"), ("mxfp4.floor", "mxfp4"), ("fp8", "fp8e4m3")])
def test_aliases_are_one_format(alias: str, name: str) -> None:
    assert NumberFormat.parse(alias) == NumberFormat.parse(name)


def test_all_named_formats_are_different() -> None:
    assert len(set(FORMATS)) == len(NAMED)
    assert len({(f.element, f.scaling) for f in FORMATS}) == len(NAMED)


@pytest.mark.parametrize(
    ("name", "near"),
    [("mxpf4", "mxfp4"), ("nvfp5", "nvfp4"), ("itn8", "int8"), ("mxfp4.flor", "mxfp4"), ("cb4.t", "cb4"), ("int4.g12", "int4")],
)
def test_a_misspelt_name_is_refused_with_the_nearest(name: str, near: str) -> None:
    if name == "int4.g12":
        assert NumberFormat.parse(name).scaling.block == 12  # any block can be asked for
        return
    with pytest.raises(UsageError, match="unknown number format") as caught:
        NumberFormat.parse(name)
    assert f"did you mean '{near}" in str(caught.value)


@pytest.mark.parametrize("name", ["int0", "int99", "cb1", "cb99", "", "int4.g0", "int4.g1", "int4.g99999", "4", "fp8e4m3.g32"])
def test_what_is_no_format_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        NumberFormat.parse(name)


def test_refining_is_a_partial_order() -> None:
    finer = {(a, b) for a, b in itertools.product(FORMATS, FORMATS) if a.refines(b)}
    assert all((a, a) in finer for a in FORMATS)
    assert not [(a, b) for a, b in finer if a != b and (b, a) in finer]
    for a, b in finer:
        assert all((a, c) in finer for other, c in finer if other == b), (a, b)


@pytest.mark.parametrize(
    ("fine", "coarse", "holds"),
    [
        ("int8", "int4", True), ("int4", "int8", False), ("int4", "int4.t", False), ("int4.g32", "int4.g128", True),
        ("int4.g128", "int4.g32", False), ("int8.g32", "int4.g64", True), ("mxfp8", "mxfp4", True), ("mxfp8e5m2", "mxfp6e3m2", True),
        ("mxfp8e5m2", "mxfp6", False), ("mxfp6e3m2", "mxfp6", False), ("mxfp4", "mxfp4.rceil", False), ("mxint8", "mxfp4", False),
        ("nvfp4", "mxfp4", False), ("cb4", "cb3", True), ("cb4", "int4", False), ("uint8", "int8", False), ("uint8", "uint4", True),
        ("fp32", "int8", True), ("fp8e4m3", "fp4", True),
    ],
)  # fmt: skip
def test_which_is_as_fine_as_which(fine: str, coarse: str, holds: bool) -> None:
    assert NumberFormat.parse(fine).refines(NumberFormat.parse(coarse)) is holds


def test_bits_do_not_order_formats() -> None:
    wide, narrow = NumberFormat.parse("mxfp8e5m2"), NumberFormat.parse("mxfp6")
    assert wide.bits > narrow.bits
    assert not wide.refines(narrow)


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("mxfp4", 4.25), ("mxfp6", 6.25), ("mxfp6e3m2", 6.25), ("mxfp8", 8.25), ("mxfp8e5m2", 8.25), ("mxint8", 8.25), ("nvfp4", 4.5),
        ("int4.g32", 4.5), ("int4.g64", 4.25), ("int4.g128", 4.125), ("uint4.g32", 4.625), ("int4", 4), ("fp8e4m3", 8), ("cb4", 4),
    ],
)  # fmt: skip
def test_bits_an_element_with_the_scales_of_its_block(name: str, stored: float) -> None:
    assert NumberFormat.parse(name).stored_bits == stored


@pytest.mark.parametrize(("name", "bits"), [("mxfp4", 15.1), ("nvfp4", 8.0)])
def test_a_depthwise_kernel_pays_for_its_padding(name: str, bits: float) -> None:
    """K = 9 of a 3x3 kernel, padded to the block."""
    number, channels = NumberFormat.parse(name), 4096
    assert number.storage_bits(channels, 9) / (9 * channels) == pytest.approx(bits, abs=0.02)


@pytest.mark.parametrize("number", FORMATS, ids=NAMED)
def test_storage_is_what_a_loop_over_elements_counts(number: NumberFormat) -> None:
    block, scale = number.scaling.block, {"fp32": 32, "fp16": 16, "e8m0": 8, "ue4m3": 8}[number.scaling.scale]
    each = scale + (number.bits if number.scaling.zero_point else 0)
    for rows, k in ((1, 1), (3, 9), (4, 32), (5, 33), (2, 127), (7, 128), (3, 300)):
        total = 0
        for _ in range(rows):
            for start in range(0, k, block or k):
                total += number.bits * (block or k - start) + (each if block else 0)
            total += each if number.scaling.per == "channel" else 0
        total += each if number.scaling.per == "tensor" else 0
        total += 32 if number.scaling.second else 0
        total += (2**number.bits - 1) * max(8, number.bits) if number.name.startswith("cb") else 0
        assert number.storage_bits(rows, k) == total, (rows, k)


def test_a_codebook_is_multiplied_by_its_codes() -> None:
    assert NumberFormat.parse("cb4").operand == plain_integer(8).element
    assert NumberFormat.parse("cb12").operand == plain_integer(12).element
    assert NumberFormat.parse("mxfp4").operand == NumberFormat.parse("mxfp4").element


def test_plain_widths_are_integers_and_32_is_floating_point() -> None:
    assert plain_integer(4) is NumberFormat.parse("int4")
    assert plain_integer(32).floating
    assert [f.label for f in map(NumberFormat.parse, ("int4", "mxfp4", "uint8"))] == ["4", "mxfp4", "uint8"]
