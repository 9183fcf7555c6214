"""Every reader of a format explains every kind of damage, with the file and the line."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse.errors import FileFormatError
from hwdse.reading import csv_records, decode, json_object, json_value, read_bytes, read_text, toml_table

JSON = {
    "": "line 1: is empty", " \n": "is empty", "{": "truncated or not JSON", '{"a": 1, "a": 2}': "key 'a': is given twice",
    '{"x": {"b": 1, "c": 2, "b": 1}}': "key 'b': is given twice", "[NaN]": "holds NaN", "[Infinity]": "holds Infinity",
    "[-Infinity]": "holds -Infinity", "[1e400]": "too large", "[" * 100_000: "nested too deeply", '{"a":' * 100_000: "nested too deeply",
    "9" * 5000: "too many digits", "[-" + "9" * 5000 + "]": "too many digits", "[1,]": "line 1: is truncated or not JSON", "'a'": "not J",
    "{}\n{}": "line 2: is truncated or not JSON",
}  # fmt: skip
TOML = {
    "a = ": "not a TOML file", "a = 1\na = 2": "not a TOML file", "[t]\n[t]": "not a TOML file", "a = " + "[" * 5000: "nested too deeply",
    "a = " + "9" * 5000: "too many digits", "a = 2026-13-45": "not a TOML file", "a." * 5000 + "b = 1": "", "a = 'x\n": "not a TOML file",
}  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), JSON.items(), ids=lambda text: text[:20])
def test_json(text: str, problem: str) -> None:
    with pytest.raises(FileFormatError, match=rf"^mine\.json.*{problem}"):
        json_value("mine.json", text)


def test_a_json_object_and_no_other_value() -> None:
    assert json_object("f", '{"a": [1.5, "x"]}') == {"a": [1.5, "x"]}
    for text in ("[]", "3", "null", '"x"'):
        with pytest.raises(FileFormatError, match="f: must hold a JSON object"):
            json_object("f", text)


@pytest.mark.parametrize(("text", "problem"), TOML.items(), ids=lambda text: text[:20])
def test_toml(text: str, problem: str) -> None:
    if problem:
        with pytest.raises(FileFormatError, match=rf"^mine\.toml: .*{problem}"):
            toml_table("mine.toml", text)
    else:
        assert toml_table("mine.toml", text)


def test_text_and_what_is_none(tmp_path: Path) -> None:
    assert decode("f", b"\xef\xbb\xbfa\r\nb") == "a\r\nb"
    for content, sentence in (
        (b"a\nb\xff", "f, line 2: is not UTF-8"),
        (b"a\n\n\0", "f, line 3: is no text file"),
        (b"\xff\xfea\0", "line 1"),
    ):
        with pytest.raises(FileFormatError, match=sentence):
            decode("f", content)
    with pytest.raises(FileFormatError, match="cannot be read: No such file"):
        read_text(tmp_path / "nowhere")
    with pytest.raises(FileFormatError, match="cannot be read: "):
        read_text(tmp_path)
    with pytest.raises(FileFormatError, match="cannot be read: "):
        read_text(Path("a\0b"))
    (tmp_path / "large").write_bytes(b"x" * 11)
    assert len(read_bytes(tmp_path / "large", 11)) == 11
    with pytest.raises(FileFormatError, match="is larger than"):
        read_bytes(tmp_path / "large", 10)


def test_csv() -> None:
    assert list(csv_records("f", ["a, b\n", "\n", '"x\n', 'y",2\n'], 3)) == [(3, ["a", "b"]), (6, ["x\ny", "2"])]
    for lines in (['"a\n'], ['"a"b\n'], ["x" * 200_000 + "\n"]):
        with pytest.raises(FileFormatError, match=r"f, line \d+: is not a CSV file"):
            list(csv_records("f", lines))


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_explained(content: bytes) -> None:
    for read in (json_value, json_object, toml_table, lambda file, text: list(csv_records(file, text.splitlines(keepends=True)))):
        with contextlib.suppress(FileFormatError):
            read("f", decode("f", content))
