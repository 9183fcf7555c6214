from __future__ import annotations

import contextlib
import csv
import gc
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse.costmodels.signature import Signature
from hwdse.costmodels.table_columns import KNOWN
from hwdse.costmodels.table_file import read_table
from hwdse.errors import FileFormatError, HwdseError
from hwdse.formats import LayerFormat

HEAD = "op,batch,in_channels,out_channels,w_bits,a_bits,latency_s"
ROW = "linear,1,3,5,4,8,0.5"


def save(path: Path, text: str | bytes) -> Path:
    file = path / "t.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_a_row(tmp_path: Path) -> None:
    (row,) = read_table(save(tmp_path, f"{HEAD}\n{ROW}\n"))
    assert (row.signature, row.widths, row.seconds, row.joules, row.line) == (
        Signature("linear", 1, 3, 5),
        LayerFormat.of(4, 8),
        0.5,
        None,
        2,
    )


@pytest.mark.parametrize(
    "text",
    [f"\ufeff{HEAD}\n{ROW}\n", f"{HEAD}\r\n{ROW}\r\n", f"# hwdse.table/1\n# by me\n{HEAD}\n\n{ROW}", f'{HEAD}\n"linear",1,3,5,4.0,8, 0.5'],
)
def test_byte_order_marks_line_ends_comments_quotes(tmp_path: Path, text: str) -> None:
    assert read_table(save(tmp_path, text))[0].seconds == 0.5


@pytest.mark.parametrize(
    ("column", "value", "seconds"),
    [
        ("latency_ms", "500", 0.5),
        ("latency_us", "5e5", 0.5),
        ("latency_ns", "5", 5e-9),
        ("latency_cycles", "50", 0.5),
        ("cycles", "50", 0.5),
    ],
)
def test_units_of_time(tmp_path: Path, column: str, value: str, seconds: float) -> None:
    text = f"{HEAD.replace('latency_s', column)}\nlinear,1,3,5,4,8,{value}"
    assert read_table(save(tmp_path, text), clock=100.0)[0].seconds == pytest.approx(seconds)


def test_units_of_energy_and_spread(tmp_path: Path) -> None:
    (row,) = read_table(save(tmp_path, f"{HEAD},latency_std_ms,energy_uj\n{ROW},20,3"))
    assert (row.spread, row.joules) == (pytest.approx(0.02), pytest.approx(3e-6))


def test_a_convolution_with_one_channel_per_group_is_depthwise(tmp_path: Path) -> None:
    head = "op,batch,in_channels,out_channels,in_h,in_w,kernel_h,kernel_w,groups,w_bits,a_bits,latency_s"
    rows = read_table(save(tmp_path, f"{head}\nconv,1,8,8,9,9,3,3,8,4,4,1\nconv,1,8,8,9,9,3,3,2,4,4,1"))
    assert [r.signature.op for r in rows] == ["depthwise", "conv"]


def test_unsupported_rows_have_no_cost(tmp_path: Path) -> None:
    (row,) = read_table(save(tmp_path, f"{HEAD},source\nlinear,1,3,5,4,8,,unsupported"))
    assert row.unsupported
    assert row.seconds is None


BAD = {
    "": "is empty; it must have a header line and rows",
    "\n\n": "is empty",
    "# only a comment\n": "is empty",
    f"{HEAD}\n": "has a header but no rows",
    f"{HEAD},speed\n{ROW},1": r"line 1: column 'speed' is not known",
    f"{HEAD.replace('kernel', '')},kernal_h\n{ROW},1": r"column 'kernal_h' is not known; did you mean 'kernel_h'\? Known: op, batch",
    f"{HEAD},op\n{ROW},conv": "column 'op' appears twice",
    f"{HEAD},latency_ms\n{ROW},3": "gives latency twice: latency_s, latency_ms. Keep one",
    HEAD.replace(",latency_s", "") + "\nlinear,1,3,5,4,8": "has no cost; add a column latency_s or energy_j",
    HEAD.replace("w_bits,", "") + "\nlinear,1,3,5,8,1": "column 'w_bits' is missing",
    HEAD.replace("latency_s", "cycles") + f"\n{ROW}": r"column 'cycles' is in cycles, but the accelerator's file has no \[clock\] hz",
    f"{HEAD}\nlinear,1,3,5,4,8": "line 2: has 6 cells, but the header has 7",
    f"{HEAD}\nlinear,1,3,5,4,8,-1": "line 2, column 'latency_s': must be a finite number above 0, got '-1'",
    f"{HEAD}\nlinear,1,3,5,4,8,0": "above 0, got '0'. What was not measured stays blank",
    f"{HEAD}\nlinear,1,3,5,4,8,nan": "got 'nan'",
    f"{HEAD}\nlinear,1,3,5,4,8,inf": "got 'inf'",
    f"{HEAD}\nlinear,1,3,5,4,8,fast": "got 'fast'",
    f"{HEAD}\nlinear,1,3,5,4,8,": "gives no cost. Remove the row if it was not measured, or set its source to 'unsupported'",
    f"{HEAD}\nlinear,1,3,5,,8,1": "must give w_bits, or w_format",
    f"{HEAD}\nlinear,1,3,5,4,64,1": "column 'a_bits': must be a whole number, 1 to 32, got '64'",
    f"{HEAD}\nlinear,1,3.5,5,4,8,1": "column 'in_channels': must be a whole number, 1 or more, got '3.5'",
    f"{HEAD}\nlinear,0,3,5,4,8,1": "column 'batch': must be a whole number, 1 or more, got '0'",
    f"{HEAD}\ngemm,1,3,5,4,8,1": "op 'gemm' is not known. Known: conv, depthwise",
    f"{HEAD}\nlinaer,1,3,5,4,8,1": r"op 'linaer' is not known; did you mean 'linear'\?",
    f"{HEAD}\nlinear,,3,5,4,8,1": "lacks the shape of its linear: batch. Without it no other layer can use the row",
    f"{HEAD}\nconv,1,3,5,4,8,1": "lacks the shape of its conv: in_h, in_w, kernel_h, kernel_w",
    f"{HEAD}\n{ROW}\nlinear,1,4,5,4,8,1\n{ROW}": "line 4: has the same operation, widths and instance as line 2: linear 3->5",
    f"{HEAD},source\n{ROW},unsupported": "says 'unsupported' and gives a cost",
    f"# hwdse.table/2\n{HEAD}\n{ROW}": "must have schema 'hwdse.table/1', got 'hwdse.table/2'",
    f'{HEAD}\n"linear,1,3,5,4,8,1': "is not a CSV file",
    f"{HEAD},in_h,in_w,kernel_h,kernel_w\nconv,1,3,5,4,8,1,2,2,5,5": "has a kernel larger than its input",
    f"{HEAD},in_h,in_w,kernel_h,kernel_w,groups\nconv,1,3,5,4,8,1,9,9,3,3,2": "has channels that 2 groups do not divide",
}  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_bad_tables_are_explained(tmp_path: Path, text: str) -> None:
    with pytest.raises(FileFormatError, match=BAD[text]) as caught:
        read_table(save(tmp_path, text))
    assert "t.csv" in str(caught.value)


def test_what_the_clock_makes_of_a_cost_is_a_cost(tmp_path: Path) -> None:
    for cycles, clock, size in (("1e300", 1e-20, "large"), ("1e-300", 1e30, "small")):
        with pytest.raises(FileFormatError, match=f"line 2, column 'cycles': is too {size} to be a cost: '{cycles}'"):
            read_table(save(tmp_path, f"{HEAD.replace('latency_s', 'cycles')}\nlinear,1,3,5,4,8,{cycles}"), clock)


def test_shapes_written_differently_are_one_shape(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="line 3: has the same operation, widths and instance as line 2"):
        read_table(save(tmp_path, f"{HEAD},groups\nlinear,1,3,5,4,8,1,1\nlinear,1.0,3,5,4,8,1,\n"))


def test_reading_leaves_the_garbage_collector_as_it_was(tmp_path: Path) -> None:
    assert gc.isenabled()
    for text in (f"{HEAD}\n{ROW}", f"{HEAD}\n"):
        with contextlib.suppress(FileFormatError):
            read_table(save(tmp_path, text))
        assert gc.isenabled()


def test_missing_files_folders_and_other_encodings(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"none\.csv: cannot be read: No such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(FileFormatError, match="cannot be read: Is a directory"):
        read_table(tmp_path)
    with pytest.raises(FileFormatError, match="line 2: is not UTF-8 text; save it as UTF-8"):
        read_table(save(tmp_path, HEAD.encode() + b"\n\xff\xfe"))


def test_a_changed_table_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"has SHA-256 [0-9a-f]{64}, but the accelerator's file says 0{64}; use the right"):
        read_table(save(tmp_path, f"{HEAD}\n{ROW}"), sha256="0" * 64)


cell = st.sampled_from(
    ["", "1", "3", "4", "8", "0", "-1", "nan", "inf", "1e400", "1e-400", "conv", "linear", "unsupported", '"', "\x00", "1e18", "٣"]
)


@given(st.lists(st.sampled_from(KNOWN), unique=True), st.lists(st.lists(cell, max_size=30), max_size=5), st.text(max_size=5))
def test_any_cells_are_read_or_explained(tmp_path_factory, header, rows, tail) -> None:
    needed = ["op", "batch", "in_channels", "out_channels", "w_bits", "a_bits", "latency_s"]
    buffer = io.StringIO()
    names = list(dict.fromkeys([*needed, *header]))
    csv.writer(buffer).writerows([names, *[(row * 30)[: len(names)] for row in rows if row]])
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_text(buffer.getvalue() + tail, encoding="utf-8", errors="replace")
    try:
        found = read_table(path, clock=1e9)
    except HwdseError as error:
        found, named = (), str(error)
    else:
        named = "fuzz.csv"
    assert "fuzz.csv" in named
    assert all(row.seconds is None or row.seconds > 0 for row in found)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_explained(tmp_path_factory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.csv"
    path.write_bytes(content)
    with pytest.raises(HwdseError, match=r"bytes\.csv"):
        read_table(path)


def test_formats_have_columns_of_their_own(tmp_path: Path) -> None:
    head = "op,batch,in_channels,out_channels,w_bits,w_format,a_format,latency_s"
    rows = read_table(save(tmp_path, f"{head}\nlinear,1,3,5,,mxfp4,mxfp8,0.5\nlinear,1,3,5,4,,int8,0.5\nlinear,1,3,5,4,int4,uint8,0.5\n"))
    assert [str(row.widths) for row in rows] == ["mxfp4:mxfp8", "w4a8", "int4:uint8"]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("4,mxfp4,8,", r"line 2.*says w_bits = 4 and w_format = mxfp4, which differ; give one"),
        (",mxpf4,8,", r"line 2, column 'w_format'.*did you mean 'mxfp4'"),
        (",,8,", r"line 2.*must give w_bits, or w_format"),
    ],
)
def test_mistakes_about_formats(tmp_path: Path, cells: str, said: str) -> None:
    head = "op,batch,in_channels,out_channels,w_bits,w_format,a_bits,a_format,latency_s"
    with pytest.raises(FileFormatError, match=said):
        read_table(save(tmp_path, f"{head}\nlinear,1,3,5,{cells},0.5\n"))
