"""Damaged and contradictory files are read or explained; what loads never makes work free, and never costs NaN."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwdse.cli.calibrate import read_measured
from hwdse.costmodels import accelerator_names, check_accelerator, load_accelerator
from hwdse.costmodels.table_columns import KNOWN
from hwdse.errors import HwdseError, MissingCost
from hwdse.formats import LayerFormat, grid

fuzz = settings(max_examples=max(200, settings().max_examples))  # the thorough profile takes more
OPTIONS = (*grid([2, 3, 4, 8], [4, 8]), LayerFormat.of(8, 16))
HEAD = "op,batch,in_channels,out_channels,in_h,in_w,kernel_h,kernel_w,pad_h,pad_w,groups,w_bits,a_bits,instance,latency_ms,energy_uj,source"
TABLE = f"""# hwdse.table/1
{HEAD}
conv,1,8,8,8,8,3,3,1,1,1,8,8,,0.5,3,mine
conv,1,8,8,8,8,3,3,1,1,1,4,4,,0.3,2,mine
conv,1,8,16,8,8,3,3,1,1,1,8,8,,0.9,6,mine
conv,1,8,8,8,8,3,3,1,1,1,8,8,c,0.45,3,mine
depthwise,1,8,8,8,8,3,3,1,1,8,8,8,,0.2,1,mine
depthwise,1,8,8,8,8,3,3,1,1,8,4,4,,,,unsupported
linear,1,8,10,,,,,,,,8,8,,0.1,1,mine
linear,1,8,10,,,,,,,,4,8,,0.07,1,mine
"""
MEASURED = "task,widths,latency\ndigits,w8a8,1.3 ms\nmy.module:Net,w4a8,900 us\ndigits,a.json,0.0011 s\n"
VALUES = [
    *(
        "0",
        "-1",
        "-0.0",
        "1e-320",
        "1e-30",
        "1e30",
        "1.7e308",
        "1e400",
        "nan",
        "inf",
        "-inf",
        "true",
        "1979-05-27",
        "9" * 400,
        "0x10",
        "3.7",
    ),
    *('""', '"x"', '"w8a8"', '"1 GHz"', '"any"', '"analytic"', "[]", "[4]", "[0, 99]", "[8, 8]", "[2, 4, 8, 16]"),
    *("{}", "{w8a8 = 1}", "{w2a2 = 0.0}", "{w8a8 = 1e-320}", "{w8a8 = 1.7e308}", "{default = 1e-300}", "{x = 1}"),
]
CELLS = [
    "",
    "0",
    "-1",
    "1",
    "3",
    "4",
    "8",
    "1e-400",
    "1e-320",
    "1e300",
    "1e400",
    "nan",
    "inf",
    "x",
    "conv",
    "linear",
    "c",
    "unsupported",
    "1e18",
    '"',
    "٣",
]
UNITS = ("_s", "_ms", "_us", "_ns", "_cycles", "_hz", "_j", "_uj", "_bits", "")


def shortened(name: str) -> str:
    """A shipped file with the small table in place of its own."""
    text = load_accelerator(name).file.read_text()
    text = re.sub(r"(?m)^name = .*$", 'name = "mine"', text, count=1)
    return re.sub(r"(?m)^\[\[table\]\]\n(?:(?!\[).*\n?)*", "", text) + '\n[[table]]\nfile = "t.csv"\n'


FILES = {name: shortened(name) for name in accelerator_names()}


def finished(draw: st.DrawFn, lines: list[str]) -> bytes:
    """With the marks and line ends that other programs leave."""
    text = draw(st.sampled_from([*5 * ["\n"], "\r\n", "\r"])).join(lines)
    return draw(st.sampled_from([*5 * [b""], b"\xef\xbb\xbf", b"\xff\xfe"])) + text.encode()


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """An accelerator file with up to four lines deleted, doubled, renamed, moved or given another value."""
    lines = FILES[draw(st.sampled_from(sorted(FILES)))].split("\n")
    for _ in range(draw(st.sampled_from([1, 1, 2, 4]))):
        at = draw(st.integers(0, len(lines) - 1))
        how = draw(st.sampled_from(["value", "value", "value", "delete", "double", "unit", "move", "section"]))
        key, sign, _ = lines[at].partition("=")
        if how == "value" and sign:
            lines[at] = f"{key}= {draw(st.sampled_from(VALUES))}"
        elif how == "unit" and sign:
            lines[at] = re.sub(r"(_[a-z]+)?\s*=", f"{draw(st.sampled_from(UNITS))} =", lines[at], count=1)
        elif how == "double":
            lines.insert(draw(st.integers(0, len(lines))), lines[at])
        elif how == "move":
            lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(at))
        elif how == "section" and lines[at].startswith("["):
            end = next((i for i in range(at + 1, len(lines)) if lines[i].startswith("[")), len(lines))
            del lines[at:end]
        else:
            del lines[at]
        if not lines:
            break
    return finished(draw, lines)


@st.composite
def damaged_rows(draw: st.DrawFn, text: str = TABLE, cells: tuple[str, ...] = tuple(CELLS)) -> bytes:
    """A table with cells, rows and columns changed, doubled, left out, or in contradiction."""
    rows = [line.split(",") for line in text.strip().split("\n")]
    for _ in range(draw(st.sampled_from([1, 1, 2, 4]))):
        at = draw(st.integers(0, len(rows) - 1))
        column = draw(st.integers(0, len(rows[at]) - 1))
        how = draw(st.sampled_from(["cell", "cell", "cell", "delete", "double", "contradict", "blank", "column", "short"]))
        if how == "cell":
            rows[at][column] = draw(st.sampled_from(cells))
        elif how == "column":
            rows[min(1, len(rows) - 1)][column % len(rows[min(1, len(rows) - 1)])] = draw(st.sampled_from([*KNOWN, "", "speed"]))
        elif how in ("double", "contradict"):
            rows.append(list(rows[at]))
            if how == "contradict":
                rows[-1][column] = "7"
        elif how == "blank":
            rows[at] = [cell if i in (0, len(rows[at]) - 4) else "" for i, cell in enumerate(rows[at])]
        elif how == "short":
            del rows[at][column]
        else:
            del rows[at]
        if not rows or not all(rows):
            break
    return finished(draw, [",".join(row) for row in rows])


def _named(error: HwdseError, *files: str) -> None:
    """The sentence says in which file the fault is."""
    assert any(file in str(error) for file in files), error


def costs_are_sound(path: Path, build) -> None:
    """Every cost of a layer with work is above 0 or infinite; a refusal names what is missing."""
    graph = build.loose(
        build.conv("c", 8, 8),
        build.conv("d", 8, 8, groups=8),
        build.conv("wide", 8, 12),
        build.linear("l", 8, 10),
        build.attention("a", 16, 8),
    )
    for model in load_accelerator(path).cost_models():
        try:
            table = model.tabulate(graph, OPTIONS)
        except MissingCost as error:
            _named(error, path.name)
            continue
        assert not np.isnan(table.cells).any(), model.metric
        assert (table.cells > 0).all(), model.metric
        assert (np.isfinite(table.fixed) & (table.fixed >= 0)).all(), model.metric
        assert table.errors is None or not (table.errors < 0).any()


def assert_read_or_explained(path: Path, build) -> None:
    lines = check_accelerator(path)
    assert lines
    try:
        load_accelerator(path)
    except HwdseError as error:
        _named(error, "mine.toml", "t.csv", "cannot be read: No such file")
        assert any(line.startswith("problem: ") for line in lines)
    else:
        assert all(line.startswith("ok: ") for line in lines)
        costs_are_sound(path, build)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_files_to_damage_are_whole(name: str, folder: Path, build) -> None:
    (folder / "mine.toml").write_text(FILES[name])
    (folder / "t.csv").write_text(TABLE)
    assert all(line.startswith("ok: ") for line in check_accelerator(folder / "mine.toml"))
    costs_are_sound(folder / "mine.toml", build)


@fuzz
@given(damaged_files())
def test_damaged_accelerators(folder: Path, build, content: bytes) -> None:
    (folder / "mine.toml").write_bytes(content)
    (folder / "t.csv").write_text(TABLE)
    assert_read_or_explained(folder / "mine.toml", build)


@fuzz
@given(st.sampled_from(sorted(FILES)), damaged_rows())
def test_damaged_tables(folder: Path, build, name: str, content: bytes) -> None:
    (folder / "mine.toml").write_text(FILES[name])
    (folder / "t.csv").write_bytes(content)
    assert_read_or_explained(folder / "mine.toml", build)


@fuzz
@given(st.binary(max_size=200))
def test_any_bytes_are_explained(folder: Path, build, content: bytes) -> None:
    for name in ("any.toml", "any.csv"):
        (folder / name).write_bytes(content)
    with pytest.raises(HwdseError, match=r"any\.toml"):
        load_accelerator(folder / "any.toml")
    assert check_accelerator(folder / "any.toml")[0].startswith("problem: ")
    try:
        read_measured(folder / "any.csv")
    except HwdseError as error:
        _named(error, "any.csv")


TIMES = ("", "0 ms", "-1 ms", "1e400 s", "nan s", "inf ms", "1e-400 s", "3", "3 KiB", "1,5 ms", "digits", "w8a8", "8", '"', "\x00", "٣ ms")


@fuzz
@given(damaged_rows(MEASURED, TIMES))
def test_damaged_measurements_of_networks(folder: Path, content: bytes) -> None:
    (folder / "measured.csv").write_bytes(content)
    try:
        found = read_measured(folder / "measured.csv")
    except HwdseError as error:
        _named(error, "measured.csv")
    else:
        assert all(0 < one.seconds < float("inf") and one.task and one.widths for one in found)
        assert len({(one.task, one.widths) for one in found}) == len(found)
