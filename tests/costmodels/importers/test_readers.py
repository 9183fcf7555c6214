from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from profiler_files import (
    CLOCKS,
    MACS,
    ROWS,
    SAMPLES,
    SCALESIM,
    TFLITE,
    TOPOLOGY,
    VELA,
    VELA_SUMMARY,
    ort_trace,
    sample,
    save,
    timeloop,
    trt_layers,
    trt_profile,
    zigzag,
)

from hwdse import registry
from hwdse.costmodels.importers import IMPORTERS, Profile, ProfileRow, importer, importer_names, in_seconds
from hwdse.costmodels.importers.reading import cost_of
from hwdse.errors import FileFormatError, HwdseError, UnknownName, UsageError
from hwdse.formats import LayerFormat

W8A8 = LayerFormat.of(8, 8)


def read(folder: Path, name: str, files: Mapping[str, str | bytes] | None = None) -> Profile:
    return importer(name)(sample(folder, name) if files is None else save(folder, files))


def by_label(profile: Profile) -> dict[str, ProfileRow]:
    return {row.label: row for row in profile.rows}


def test_the_table_knows_every_format_and_plug_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name = "mine"

        @staticmethod
        def load() -> object:
            return IMPORTERS["vela"]

    assert set(SAMPLES) == set(IMPORTERS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [Entry] if group == "hwdse.importers" else [])
    assert importer_names()[-1] == "mine"
    assert importer("mine") is IMPORTERS["vela"]
    with pytest.raises(UnknownName, match=r"unknown profile format 'velo'; did you mean 'vela'\? Known: .*trtexec"):
        importer("velo")


# What stands in each file


def test_trtexec_times_are_medians_and_copies_are_no_layers(tmp_path: Path) -> None:
    profile = read(tmp_path, "trtexec")
    copy, stem, body, *_ = profile.rows
    assert (copy.opaque, copy.names) == ("a copy between formats", ())
    assert (stem.seconds, stem.runs, stem.names, stem.widths) == (pytest.approx(1e-5), 200, ("/stem/Conv", "/relu/Relu"), W8A8)
    assert body.names == ("/body/Conv", "/Sigmoid", "/Mul", "/Add")
    assert (stem.facts.weights, stem.facts.kernel, stem.facts.input) == (432, (3, 3), (1, 3, 8, 8))


def test_trtexec_before_version_10_has_averages_and_no_layer_information_is_needed(tmp_path: Path) -> None:
    text = '[{"count": 5}, {"name": "Conv_0 + Relu_1 || Conv_2", "timeMs": 1, "averageMs": 0.25}]'
    (row,) = read(tmp_path, "trtexec", {"p.json": text}).rows
    assert (row.seconds, row.names, row.widths) == (2.5e-4, ("Conv_0", "Relu_1", "Conv_2"), None)


def test_trtexec_takes_onnx_names_from_the_metadata(tmp_path: Path) -> None:
    info = {"Layers": [{"Name": "__myl_Conv", "LayerType": "gemm", "Metadata": "[ONNX Layer: /stem/Conv]\x1f[ONNX Layer: /relu/Relu]"}]}
    files = {"p.json": trt_profile({"__myl_Conv": 0.5}), "l.json": json.dumps(info)}
    assert by_label(read(tmp_path, "trtexec", files))["__myl_Conv"].names == ("/stem/Conv", "/relu/Relu")


@pytest.mark.parametrize(("type_", "bits"), [("Half", 16), ("FP8", 8), ("Float", 32), ("BFloat16", 16), ("Int4", 4)])
def test_trtexec_precisions(tmp_path: Path, type_: str, bits: int) -> None:
    profile = read(tmp_path, "trtexec", {"p.json": trt_profile(), "l.json": trt_layers(type_)})
    assert by_label(profile)[ROWS["stem"]].widths == LayerFormat.of(bits, bits)


def test_several_runs_of_trtexec_give_median_and_spread(tmp_path: Path) -> None:
    files = {f"{i}.json": trt_profile({"/stem/Conv": ms}, {}) for i, ms in enumerate((1.0, 2.0, 4.0))}
    (row,) = read(tmp_path, "trtexec", files).rows
    assert (row.seconds, row.runs) == (pytest.approx(2e-3), 600)
    assert row.spread == pytest.approx(1.5275e-3, rel=1e-3)
    with pytest.raises(FileFormatError, match=r"b\.json, row 1: must list the rows of a\.json; has '/body/Conv' in place of '/stem/Conv'"):
        read(tmp_path, "trtexec", {"a.json": trt_profile({"/stem/Conv": 1}, {}), "b.json": trt_profile({"/body/Conv": 1}, {})})


def test_onnxruntime_leaves_the_first_run_out(tmp_path: Path) -> None:
    rows = by_label(read(tmp_path, "onnxruntime"))
    stem = rows["/stem/Conv_quant"]
    assert (stem.seconds, stem.spread, stem.runs, stem.op) == (pytest.approx(12e-6), pytest.approx(1e-6), 3, "QLinearConv")
    assert stem.widths == W8A8
    assert rows["quant_in"].widths is None


def test_onnxruntime_floats_nodes_that_do_not_run_each_time_and_times_below_the_clock(tmp_path: Path) -> None:
    assert by_label(read(tmp_path, "onnxruntime", {"t.json": ort_trace(quantised=False)}))["/stem/Conv_quant"].widths == LayerFormat.of(
        32, 32
    )
    events = json.loads(ort_trace())
    extra = next(e for e in events if e["cat"] == "Node")
    (row, *_) = read(tmp_path, "onnxruntime", {"t.json": json.dumps([*events, extra])}).rows
    assert (row.costed, row.lacks) == (False, "it does not run once in every run")
    for event in events:
        event["dur"] = 0 if event["name"] == "quant_in_kernel_time" else event["dur"]
    (row, *_) = read(tmp_path, "onnxruntime", {"t.json": json.dumps(events)}).rows
    assert (row.costed, row.lacks) == (False, "its median is 0 µs, below the resolution of the clock")


def test_onnxruntime_blocked_convolutions_show_their_kernel(tmp_path: Path) -> None:
    text = ort_trace(quantised=False, names=dict.fromkeys(MACS, "/Relu_output_0_nchwc")).replace('{"float": []}', '{"float": [9, 1, 3, 5]}')
    rows = [row for row in read(tmp_path, "onnxruntime", {"t.json": text}).rows if row.op == "Conv"]
    assert {(row.facts.kernel, row.facts.blocked) for row in rows} == {((3, 5), True)}


def test_tflite_reads_the_run_order_of_the_regular_runs_only(tmp_path: Path) -> None:
    rows = read(tmp_path, "tflite").rows
    assert [row.op for row in rows] == ["CONV_2D", "CONV_2D", "CONV_2D", "ADD", "FULLY_CONNECTED"]
    assert [row.seconds for row in rows] == pytest.approx([1e-5, 2e-5, 3e-5, 5e-6, 4e-5])
    assert rows[0].names == ("net/stem/Relu6", "net/stem/Conv2D")


def test_tflite_with_a_start_column_commas_in_names_as_printed_and_delegates(tmp_path: Path) -> None:
    head = "==== Run Order ====\n"
    older = head + "node type, start, first, avg_ms, %, cdf%, mem KB, times called, name\nADD, 0, 1, 0.5, 1%, 1%, 0, 1, [a, b]:0\n"
    (row,) = read(tmp_path, "tflite", {"p.csv": older}).rows
    assert (row.seconds, row.label) == (5e-4, "[a, b]:0")
    printed = "\t[node type]\t [first]\t [avg ms]\t [%]\t [cdf%]\t [mem KB]\t[times called]\t[Name]\n"
    printed += "\t CONV_2D\t 1\t 1.5\t 7%\t 7%\t 0\t 1\t[c]\n"
    (row,) = read(tmp_path, "tflite", {"p.txt": head + printed}).rows
    assert (row.op, row.seconds, row.names) == ("CONV_2D", 1.5e-3, ("c",))
    delegated = TFLITE.replace("CONV_2D, 0.11, 0.01", "TfLiteXNNPackDelegate, 0.11, 0.01").replace("20%, 30%, 0, 1,", "20%, 30%, 0, 2,")
    first, second, *_ = read(tmp_path, "tflite", {"p.csv": delegated}).rows
    assert first.opaque == "the whole network, or a part of it, in one row"
    assert (second.costed, second.lacks) == (False, "it was called 2 times in a run")


def test_vela_cycles_of_the_cpu_and_of_fused_operations_are_missing(tmp_path: Path) -> None:
    profile = read(tmp_path, "vela")
    assert profile.clock == 5e8
    assert sum(row.cycles or 0 for row in profile.rows) == 8000
    assert [row.lacks for row in profile.rows if not row.costed] == [
        "it runs on the CPU, which Vela does not estimate",
        "0 cycles: it is part of another row",
        "it runs on the CPU, which Vela does not estimate",
    ]
    assert [row.op for row in profile.rows][1:4] == ["Conv2D", "Relu6", "Conv2D"]
    assert in_seconds(profile, None).rows[1].seconds == 2e-6


def test_vela_3_has_other_columns_and_two_of_one_name(tmp_path: Path) -> None:
    older = (
        "TFLite_operator,NNG Operator,SRAM Usage,Peak%,Op Cycles,Network%,NPU,SRAM AC,DRAM AC,OnFlash AC,OffFlash AC,MAC Count,Network%,"
        "Util%,Name\n"
        "CONV_2D,Conv2DBias,11936,54.6,7312.0,17.6,7312.0,1,0,0,1,73728,22.0,10.0,conv\n"
    )
    (row,) = read(tmp_path, "vela", {"p.csv": older}).rows
    assert (row.op, row.cycles, row.facts.macs) == ("CONV_2D", 7312.0, 73728)


def test_scalesim_takes_the_prefetch_in_and_names_from_the_topology(tmp_path: Path) -> None:
    profile = read(tmp_path, "scalesim")
    assert [row.cycles for row in profile.rows] == [1100, 4400, 2200, 220]
    assert {row.label: row.facts.macs for row in profile.rows} == MACS
    older = read(tmp_path, "scalesim", {"r.csv": "LayerID, Total Cycles, Stall Cycles,\n0, 1000, 0,\n"})
    assert (older.about, older.rows[0].cycles) == ("Total Cycles", 1000)


def test_scalesim_layer_numbers_are_no_names(tmp_path: Path) -> None:
    profile = read(tmp_path, "scalesim", {"r.csv": SCALESIM})
    assert [(row.label, row.names) for row in profile.rows][:2] == [("layer 0", ()), ("layer 1", ())]


def test_timeloop_summary_with_the_energy_of_all_computations(tmp_path: Path) -> None:
    profile = read(tmp_path, "timeloop")
    assert {row.label: row.facts.macs for row in profile.rows} == MACS
    stem = by_label(profile)["stem"]
    assert (stem.cycles, stem.joules) == (864, pytest.approx(13_824 * 2e-12))


def test_timeloop_in_folders_and_in_older_units(tmp_path: Path) -> None:
    (tmp_path / "conv1").mkdir()
    older = timeloop("stem").replace("fJ/Compute", "pJ/Compute").replace("2000.00", "2.00").replace("\nComputes =", "\nActual Computes =")
    older = older.replace("Actual Computes", "Algorithmic Computes = 13824\npJ/Algorithmic-Compute\n    Total = 2.00\n\nActual Computes")
    (row,) = read(tmp_path / "conv1", "timeloop", {"timeloop-mapper.stats.txt": older}).rows
    assert (row.label, row.joules) == ("conv1", pytest.approx(13_824 * 2e-12))
    (row,) = read(tmp_path, "timeloop", {"x.stats.txt": timeloop("body").split("Computes =")[0] + "Computes = 5\n"}).rows
    assert row.joules == pytest.approx(0.15e-6)


def test_zigzag_sums_the_three_parts(tmp_path: Path) -> None:
    stem = by_label(read(tmp_path, "zigzag"))["stem"]
    assert (stem.cycles, stem.joules, stem.facts.macs, stem.facts.weights) == (13_926, pytest.approx(1.3824e-5), 13_824, 432)
    assert stem.widths == W8A8


# Bytes around the text


@pytest.mark.parametrize("name", IMPORTERS)
def test_byte_order_marks_and_windows_line_ends(tmp_path: Path, name: str) -> None:
    plain = read(tmp_path, name)
    other = {file: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() for file, text in SAMPLES[name]().items()}
    assert read(tmp_path, name, other).rows == plain.rows


@pytest.mark.parametrize("name", IMPORTERS)
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"PK\x03\x04\xff\xfe\x00", "is not UTF-8 text"),
        (b"ab\n\0\0", "line 2: is no text file"),
        ("{".encode("utf-16"), "is not UTF-8 text"),
    ],
)
def test_what_is_no_text(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    with pytest.raises(FileFormatError, match=sentence):
        read(tmp_path, name, {"f": content})


@pytest.mark.parametrize("name", IMPORTERS)
def test_missing_files_folders_none_and_one_twice(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileFormatError, match="cannot be read: No such file"):
        importer(name)([tmp_path / "none"])
    with pytest.raises(FileFormatError, match="cannot be read: Is a directory"):
        importer(name)([tmp_path])
    with pytest.raises(UsageError, match="give at least one file"):
        importer(name)([])
    with pytest.raises(UsageError, match="is given twice"):
        importer(name)([tmp_path / "a", tmp_path / "a"])


@pytest.mark.parametrize("name", IMPORTERS)
def test_files_of_another_tool_are_refused(tmp_path: Path, name: str) -> None:
    for other in set(IMPORTERS) - {name}:
        with pytest.raises(HwdseError):
            read(tmp_path, name, dict([next(iter(SAMPLES[other]().items()))]))


@pytest.mark.parametrize("name", IMPORTERS)
def test_a_file_cut_anywhere_is_refused_or_read_without_inventing(tmp_path: Path, name: str) -> None:
    """Every cut either raises, or leaves rows that the whole file has too (a text may end after any whole line)."""
    files = SAMPLES[name]()
    whole = {(row.label, row.seconds, row.cycles) for row in read(tmp_path, name).rows}
    first, text = next(iter(files.items()))
    for end in range(0, len(text), max(1, len(text) // 60)):
        try:
            cut = read(tmp_path, name, {**files, first: text[:end]})
        except HwdseError:
            continue
        assert {(row.label, row.seconds, row.cycles) for row in cut.rows} <= whole


# Sentences

BAD: list[tuple[str, Mapping[str, str], str]] = [
    ("trtexec", {"p.json": "[]"}, r"p\.json, entry 1: must begin with the number of inferences"),
    ("trtexec", {"p.json": '[{"count": 3}]'}, "has no layers after the count"),
    ("trtexec", {"p.json": '[{"count": 3}, {"name": "a"}]'}, "entry 2: has neither medianMs nor averageMs; it has: name"),
    ("trtexec", {"p.json": '[{"count": 3}, {"name": "a", "medianMs": -1}]'}, "key 'medianMs': must be a finite number, 0 or more, got -1"),
    ("trtexec", {"p.json": '[{"count": 3}, {"name": "a", "medianMs": NaN}]'}, "holds NaN, which is no number"),
    ("trtexec", {"p.json": '[{"count": 3}, {"name": "a", "medianMs": 1e999}]'}, "holds 1e999, which is too large"),
    ("trtexec", {"p.json": '[{"count": 3}, {"name": "a", "medianMs": "fast"}]'}, "got 'fast'"),
    ("trtexec", {"p.json": '[{"count": 3}, {"name": "a", "medianMs": ' + "9" * 5000 + "}]"}, "holds a number of too many digits"),
    ("trtexec", {"p.json": trt_profile()[:-30]}, "is truncated or not JSON"),
    ("trtexec", {"p.json": "[" * 100_000}, "is nested too deeply|is truncated"),
    ("trtexec", {"l.json": trt_layers()}, "layer information has no times"),
    ("trtexec", {"p.json": trt_profile({"x": 1}), "l.json": trt_layers()}, "has no layer of the layer information, such as '/stem/Conv"),
    ("trtexec", {"p.json": trt_profile(), "l.json": '{"Layers": ["a", "b"]}'}, "key 'Layers': lists names only; export it with"),
    ("onnxruntime", {"t.json": "{}"}, "must be a list of events, got dict"),
    ("onnxruntime", {"t.json": "[3]"}, "event 1: must be an object"),
    ("onnxruntime", {"t.json": ort_trace(runs=1)}, "has 1 runs .*the first is a warm-up and left out; run the session twice"),
    ("onnxruntime", {"t.json": ort_trace().replace("_kernel_time", "_time")}, "has no node with a _kernel_time"),
    ("onnxruntime", {"t.json": ort_trace()[:-100]}, "is truncated or not JSON"),
    ("tflite", {"p.csv": "a,b\n1,2\n"}, "has no section 'Run Order'"),
    ("tflite", {"p.csv": "== Run Order ==\nnode type, name\nADD, a\n"}, "line 2: column 'avg_ms' is missing; it has: node type, name"),
    ("tflite", {"p.csv": TFLITE.replace("0.02, 20%", "-0.02, 20%")}, "line 10, column 'avg_ms': must be a finite number.* got '-0.02'"),
    ("tflite", {"p.csv": TFLITE.replace(", 0, 1, [net/body/Conv2D]:1", "")}, "line 10: has 5 cells, but the header has 8; is it cut off"),
    ("vela", {"p.csv": VELA.replace("Op Cycles", "Cycles")}, "line 1: column 'Op Cycles' is missing; it has: Original Operator, NNG"),
    ("vela", {"p.csv": VELA.split("\n")[0] + "\n"}, "has a header but no rows"),
    ("vela", {"p.csv": VELA[:-25]}, "is cut off: its last line does not end"),
    ("vela", {"p.csv": VELA[:-25] + "\n"}, "cells, but the header has 16; is it cut off"),
    ("vela", {"s.csv": VELA_SUMMARY}, "give one per-layer CSV of Vela, and its summary CSV; got 0 and 1"),
    ("vela", {"p.csv": VELA, "s.csv": VELA_SUMMARY.replace("8000", "9000")}, "column 'cycles_total': says 9,000, but p.csv sums to 8,000"),
    ("vela", {"p.csv": VELA, "s.csv": VELA_SUMMARY.replace("500000000.0", "0")}, "column 'core_clock': must give the clock in Hz, got 0"),
    ("vela", {"p.csv": VELA.replace("4000,40.0", "inf,40.0")}, "line 5, column 'Op Cycles': must be a finite number, 0 or more, got 'inf'"),
    ("scalesim", {"b.csv": "LayerID, Avg IFMAP SRAM BW,\n0, 1.0,\n"}, "column 'Total Cycles .* is missing; it has: LayerID, Avg"),
    ("scalesim", {"r.csv": SCALESIM.replace("1, 4400", "2, 4400")}, "must be layer 1, got '2'; are lines missing"),
    ("scalesim", {"r.csv": SCALESIM, "t.csv": TOPOLOGY + "more, 1, 1, 1, 1, 1, 1, 1,\n"}, r"t\.csv: has 5 layers, but r\.csv has 4"),
    ("scalesim", {"r.csv": SCALESIM, "t.csv": TOPOLOGY.replace("body, 10", "body, 0")}, "line 3: must give 7 whole numbers above 0"),
    ("timeloop", {"a.stats.txt": timeloop("stem").split("Summary")[0]}, "has no 'Summary Stats' at its end; it is cut off"),
    ("timeloop", {"a.stats.txt": timeloop("stem").split("Cycles: ")[0]}, "has no 'Cycles' in its summary"),
    ("timeloop", {"a.stats.txt": timeloop("stem").replace("Cycles: 864", "Cycles: -4")}, "must be a finite number, 0 or more, got '-4'"),
    ("timeloop", {"a.stats.txt": timeloop("body").replace("0.15 uJ", "9.00 uJ")}, "is damaged: 9.00 uJ in all, but 2000.00 fJ for each"),
    ("timeloop", {"a.stats.txt": timeloop("body").replace("0.15 uJ", "0.15 kWh")}, "must give the energy in J, mJ, uJ"),
    ("zigzag", {"overall.json": '{"energy": 3.0, "latency": 4.0}'}, "has totals only, maybe of the whole network; give the LAYER_complete"),
    ("zigzag", {"a.json": "[1]"}, "must be an object with inputs and outputs, got list"),
    ("zigzag", {"a.json": zigzag("stem").replace("latency", "time")}, "key 'outputs.latency': is missing, or no object"),
    ("zigzag", {"a.json": zigzag("stem").replace("data_onloading", "loading")}, "'outputs.latency.data_onloading': is missing"),
    ("zigzag", {"a.json": zigzag("stem").replace('"K": 16', '"K": 0')}, "key 'inputs.layer.loop_dimensions': must have extents above 0"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "files", "sentence"), BAD)
def test_bad_files_are_explained(tmp_path: Path, name: str, files: Mapping[str, str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        read(tmp_path, name, files)


# Clocks


@pytest.mark.parametrize("name", CLOCKS)
def test_cycles_need_a_clock(tmp_path: Path, name: str) -> None:
    profile = read(tmp_path, name)
    with pytest.raises(UsageError, match=r"counts cycles here, and no file states the clock: give it in Hz, such as --clock 500e6"):
        in_seconds(profile, None)
    timed = in_seconds(profile, 2e9)
    assert [row.seconds for row in timed.rows] == [row.cycles / 2e9 for row in profile.rows if row.cycles]


def test_clocks_that_contradict_or_mean_nothing(tmp_path: Path) -> None:
    profile = read(tmp_path, "vela")
    with pytest.raises(UsageError, match=r"--clock says 1e\+09 Hz, the files say 5e\+08 Hz"):
        in_seconds(profile, 1e9)
    for clock in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="--clock must be a finite number of Hz above 0"):
            in_seconds(profile, clock)
    with pytest.raises(UsageError, match="--clock is for cycles, but trtexec gives seconds"):
        in_seconds(read(tmp_path, "trtexec"), 1e9)


def test_no_row_can_hold_a_zero() -> None:
    for cost in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="must be a finite number above 0"):
            ProfileRow("a", "f", seconds=cost)
        with pytest.raises(UsageError, match="must be a finite number above 0"):
            ProfileRow("a", "f", joules=cost)
    assert cost_of(Path("f"), "0.000", "") is None
