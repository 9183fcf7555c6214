"""Formats from a file: no code, an identity by content, and a definition in whatever is written with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hwdse.errors import FileFormatError, UsageError
from hwdse.formats import Allocation, LayerFormat, NumberFormat, load_format, parse_options
from hwdse.quantizers.number_rounding import in_format

TERNARY = 'schema = "hwdse.format/1"\nname = "ternary"\nvalues = [-1, 0, 1]\nper = "channel"\n'


@pytest.fixture
def ternary(tmp_path: Path) -> Path:
    path = tmp_path / "Ternary.toml"
    path.write_text(TERNARY)
    return path


def test_a_table_of_values_is_a_format(ternary: Path) -> None:
    number = load_format(ternary)
    assert number.name.startswith("ternary@")
    assert number.bits == 2
    assert NumberFormat.parse(str(number)) == number
    x = torch.tensor([[0.2, -0.9, 0.6, 1.0], [4.0, -1.0, 2.1, 0.0]])
    assert in_format(x, number, axis=0).tolist() == [[0, -1, 1, 1], [4, 0, 4, 0]]
    assert number.storage_bits(4, 10) == 4 * (10 * 2 + 32)


def test_two_files_of_one_name_stay_two_formats(ternary: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(TERNARY.replace("[-1, 0, 1]", "[-1, 0, 0.5]"))
    assert load_format(other) != load_format(ternary)
    assert load_format(ternary) == load_format(ternary)


def test_options_name_its_file(ternary: Path) -> None:
    number = load_format(ternary)
    assert parse_options(f"{ternary}:int8, int8") == (LayerFormat(number, NumberFormat.parse("int8")), LayerFormat.of(8, 8))


def test_an_allocation_carries_its_definition(ternary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allocation = Allocation({"a": LayerFormat(load_format(ternary), NumberFormat.parse("int8")), "b": LayerFormat.of(8, 8)})
    text = allocation.to_json()
    monkeypatch.setattr("hwdse.formats.number_format._DEFINED", {})
    with pytest.raises(UsageError, match="defined in a file"):
        LayerFormat.parse(json.loads(text)["layers"]["a"])
    assert Allocation.from_json(text).to_dict() == allocation.to_dict()
    tampered = text.replace("-1.0", "-2.0")
    with pytest.raises(FileFormatError, match="not what its definition describes"):
        Allocation.from_json(tampered)
    assert "formats" not in json.loads(Allocation({"b": LayerFormat.of(8, 8)}).to_json())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("hwdse.format/1", "hwdse.format/9", "key 'schema'"),
        ('"ternary"', '"Ter nary"', "key 'name'"),
        ('"ternary"', "3", "key 'name'"),
        ("[-1, 0, 1]", "[1, 0]", "ascending"),
        ("[-1, 0, 1]", '["a"]', "key 'values'"),
        ("[-1, 0, 1]", "[-1, true]", "key 'values'"),
        ("[-1, 0, 1]", "[0, nan]", "finite"),
        ('"channel"', "1", "a block has"),
        ('"channel"', '"row"', "key 'per'"),
        ("per =", "pre =", "key 'pre'"),
        ('per = "channel"', 'scale = "e8m0"', "key 'scale'"),
        ('per = "channel"', "per = ", "TOML"),
    ],
)
def test_files_that_describe_no_format(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(TERNARY.replace(old, new))
    with pytest.raises(FileFormatError, match=message):
        load_format(path)
