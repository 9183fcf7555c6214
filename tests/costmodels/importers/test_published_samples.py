"""Outputs of the tools themselves, which may not be shipped: a folder named by HWDSE_PROFILER_SAMPLES, or ../shared beside a checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hwdse.costmodels.importers import Profile, importer, in_seconds

SAMPLES = Path(os.environ.get("HWDSE_PROFILER_SAMPLES") or Path(__file__).parents[4] / "shared" / "data" / "profiler_samples")
pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no sample outputs of profilers in {SAMPLES}")


def read(name: str, *files: str) -> Profile:
    return importer(name)([SAMPLES / file for file in files])


def test_vela_totals() -> None:
    profile = read("vela", "vela_5.2.0_vww_per-layer.csv", "vela_5.2.0_vww_summary.csv")
    assert sum(row.cycles or 0 for row in profile.rows) == 753_888
    assert sum(row.facts.macs or 0 for row in profile.rows) == 11_579_296
    assert sum(row.seconds or 0 for row in in_seconds(profile, None).rows) == pytest.approx(0.001507776)  # inference_time of the summary


def test_timeloop_tail() -> None:
    (row,) = read("timeloop", "timeloop_eyeriss_like.stats.txt").rows
    assert (row.cycles, row.facts.macs, row.joules) == (86_016, 10_838_016, pytest.approx(59.28e-6, rel=1e-4))


def test_scalesim_report() -> None:
    profile = read("scalesim", "scalesim_3.0.0_COMPUTE_REPORT.csv")
    assert [row.cycles for row in profile.rows] == [120_306, 170_972]


def test_zigzag_layer() -> None:
    (row,) = read("zigzag", "zigzag_3.9.1_layer_complete.json").rows
    assert (row.label, row.cycles, row.facts.macs) == ("Layer10", 82_442, 57_802_752)
    assert row.joules == pytest.approx(47_914_281.088e-12)


def test_onnxruntime_trace() -> None:
    rows = {row.label: row for row in read("onnxruntime", "onnxruntime_profile.json").rows}
    conv = rows["conv1_token_1"]
    assert (conv.seconds, conv.runs, str(conv.widths)) == (pytest.approx(110e-6), 4, "w8a8")


@pytest.mark.parametrize(
    ("file", "many", "seconds"), [("trtexec_exportProfile_v8.json", 5, 6.62771e-5), ("trtexec_exportProfile_v10.json", 1, 2.7872e-5)]
)
def test_trtexec_profiles(file: str, many: int, seconds: float) -> None:
    rows = read("trtexec", file).rows
    layers = [row for row in rows if not row.opaque]
    assert (len(rows), layers[0].seconds) == (many, pytest.approx(seconds))


@pytest.mark.parametrize(("file", "many", "seconds"), [("profile.csv", 4, 9.30388e-5), ("stdout.txt", 2, 1.504e-3)])
def test_tflite_tables(file: str, many: int, seconds: float) -> None:
    rows = read("tflite", f"tflite_benchmark_model_{file}").rows
    assert (len(rows), rows[0].op, rows[0].seconds) == (many, "CONV_2D", pytest.approx(seconds))
