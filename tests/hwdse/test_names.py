"""Names are text on every screen, in every file and in every file's name."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse.names import cell, cell_text, clipped, file_name, visible

ANY = st.text(alphabet=st.characters(), max_size=40)  # surrogates and controls among them
NASTY = {
    "\x1b[31mred\x1b[0m": "\\x1b[31mred\\x1b[0m", "a\u202eb": "a\\u202eb", "a\nb\tc\r": "a\\nb\\tc\\r",
    "\x00": "\\x00", "\ud800": "\\ud800",
    "\x9b1m": "\\x9b1m", "\u200b\u2066\ufeff": "\\u200b\\u2066\\ufeff", "\u2028": "\\u2028", "[red]": "[red]",
    "größe µ → 日本": "größe µ → 日本",
    "a\u00a0b": "a\u00a0b", "\U000e0041": "\\U000e0041",
}  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), NASTY.items(), ids=ascii)
def test_what_is_not_seen_is_written_as_its_code(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(ANY)
def test_nothing_that_steers_a_terminal_is_left(text: str) -> None:
    shown = visible(text)
    assert all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    assert visible(shown) == shown
    shown.encode()


@given(
    ANY
    | st.text(alphabet="./\\-~:a\0 ", max_size=300)
    | st.sampled_from(["con", "NUL.txt", "aux", "x" * 20_000, "..", "", "/etc/passwd", "lpt1"])
)
def test_a_name_in_a_file_s_name_is_no_path(text: str) -> None:
    name = file_name(text, "task")
    assert name
    assert PurePosixPath(name).name == PureWindowsPath(name).name == name
    assert not PureWindowsPath(name).is_reserved()
    assert name[0] not in ".-"
    assert ".." not in name
    assert len(name.encode()) <= 81
    assert "\0" not in name


@given(st.text(alphabet="=+-@'\t\r\n,1.e xａ＝", max_size=8) | ANY)
def test_a_cell_is_text_to_a_spreadsheet_and_is_read_back(text: str) -> None:
    written = cell(text)
    if not written.startswith("'"):
        assert not written or written[0] not in "=@\t\r\n"
        assert written[:1] not in ("+", "-") or float(written) is not None
    assert cell_text(written) == visible(text, keep="\n\t\r")


@pytest.mark.parametrize(
    ("text", "written"),
    [("=1+1", "'=1+1"), ("@SUM(A1)", "'@SUM(A1)"), ("+x", "'+x"), ("-x", "'-x"), ("-0.5", "-0.5"), ("1e-3", "1e-3"), ("\t=1", "'\t=1"),
     ("'=1", "''=1"), ("conv1", "conv1"), ("'quoted'", "'quoted'"), ("", "")],
)  # fmt: skip
def test_cells(text: str, written: str) -> None:
    assert cell(text) == written


def test_long_names_lose_their_middle() -> None:
    assert clipped("abcdefghijkl", 9) == "abcd...kl"
    assert all(len(clipped("x" * n, 20)) == min(n, 20) for n in range(60))
