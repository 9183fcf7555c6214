"""Whatever damage a file has: it is read, or its reader says so in a sentence that names it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from damage import damaged_bytes, damaged_json
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwdse.allocation_files import read_allocation
from hwdse.choices import Choices
from hwdse.constraints import parse_budget
from hwdse.costmodels.variants import parse_vary
from hwdse.costs import CostTable
from hwdse.errors import HwdseError
from hwdse.formats import Allocation, LayerFormat, grid
from hwdse.metrics import LATENCY, WEIGHTS, Metric
from hwdse.records import SweepRecord, TrialResult
from hwdse.reports.confidence import parse_confidence
from hwdse.storage import read_checkpoint, tables_from_bytes, tables_to_bytes
from hwdse.sweeps import SweepConfig
from hwdse.sweeps import log as logs

fuzz = settings(max_examples=max(200, settings().max_examples))  # the thorough profile takes more
ALLOCATION = Allocation({"conv1": LayerFormat.of(4, 8), "fc": LayerFormat.of(8, 8)})
TABLE = CostTable.one_row(WEIGHTS, ("conv1", "fc"), grid([4, 8], [8]), np.array([[1.0, 2.0], [3.0, 4.0]]))
CHOICES = Choices(("conv1", "fc"), grid([4, 8], [8]), np.ones((2, 2), bool))
RECORD = SweepRecord(
    "digits", Metric("accuracy", "fraction", "higher"), (WEIGHTS,), (("weights <= 50% of w8a8",),),
    (
        TrialResult(0, {"allocator": "uniform"}, "complete", ALLOCATION, {"weights": 4.0, "accuracy": 0.9}, 0.8, 100,
                    {"weights <= 5 B": 1.0},
                    interval=(0.8, 0.95), errors={"weights": None}),
        TrialResult(1, {"allocator": "adq"}, "failed", error="it diverged"),
    ),
    {"validation": 0.97}, {"fingerprint": "f", "macs": 10, "layers": []}, {}, {"versions": {}}, {"task": "digits"},
    {"weights <= 50% of w8a8": 5.0}, {}, {}, CHOICES,
)  # fmt: skip
SWEEP = b"""schema = "hwdse.sweep/1"
task = "digits"
accelerators = ["mpic", "npu"]
budgets = [["latency@mpic <= 2 ms"], ["weights <= 50% of w8a8", "energy@npu <= 0.7 mJ"]]
trials = 30
epochs = [0, 5]
promote = 0.5
tightness = [0.5, 1.0]
weights = [2, 4, 8]
baselines = ["w8a8", "w4a4"]
seed = 0
"""
FAST = settings(max_examples=fuzz.max_examples, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damage")


def read_or_explained(read: Callable[[], object], *names: str) -> None:
    """Nothing but an error of ours, whose sentence says where; and no warning."""
    said = ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            read()
        except HwdseError as error:
            said = str(error)
    assert not said or not names or any(name in said for name in names), said


@FAST
@given(damaged_json(json.loads(ALLOCATION.to_json(number=3, knobs={"scheme": "lsq+lsq@mse"}))))
def test_allocations(folder: Path, content: bytes) -> None:
    (folder / "a.json").write_bytes(content)
    read_or_explained(lambda: read_allocation(folder / "a.json"), "a.json")


@FAST
@given(damaged_json(RECORD.to_dict()))
def test_records(folder: Path, content: bytes) -> None:
    (folder / "record.json").write_bytes(content)
    read_or_explained(lambda: SweepRecord.load(folder), "record.json")


@FAST
@given(damaged_bytes(SWEEP) | damaged_bytes(SWEEP.replace(b"30", b'"30"')) | damaged_bytes(SWEEP.replace(b"0.5", b"nan")))
def test_sweep_files(folder: Path, content: bytes) -> None:
    (folder / "sweep.toml").write_bytes(content)
    read_or_explained(lambda: SweepConfig.load(folder / "sweep.toml"), "sweep.toml")


def test_the_sweep_file_is_one(folder: Path) -> None:
    (folder / "whole.toml").write_bytes(SWEEP)
    assert SweepConfig.load(folder / "whole.toml").trials == 30
    for key, value in (
        ("trials", '"30"'),
        ("trials", "true"),
        ("trials", "9" * 30),
        ("seed", "1e3"),
        ("promote", "nan"),
        ("promote", "true"),
        ("weights", '["4"]'),
    ):
        (folder / "whole.toml").write_bytes(
            b"".join(line for line in SWEEP.splitlines(True) if not line.startswith(key.encode())) + f"{key} = {value}\n".encode()
        )
        with pytest.raises(HwdseError, match=f"key '{key}"):
            SweepConfig.load(folder / "whole.toml")


LOG = b"".join(
    json.dumps({"time": "2026-01-01T00:00:00.000+00:00", "event": event, "trial": i, "process": f"host:{i + 1}", "what": "w"}).encode()
    + b"\n"
    for i, event in enumerate(("started", "ended", "started"))
)


@FAST
@given(damaged_bytes(LOG))
def test_logs(folder: Path, content: bytes) -> None:
    (folder / logs.FILE).write_bytes(content)
    found = logs.read(folder)
    logs.running(found.events)
    assert len(found.events) + found.damaged <= content.count(b"\n") + 1


@FAST
@given(damaged_bytes(tables_to_bytes({"weights": TABLE})))
def test_tables_of_a_run(content: bytes) -> None:
    read_or_explained(lambda: tables_from_bytes(content, "tables.npz"), "tables.npz")


def _checkpoint() -> bytes:
    import io

    buffer = io.BytesIO()
    torch.save({"network": {"w": torch.zeros(3)}, "epoch": 2}, buffer)
    return buffer.getvalue()


@FAST
@given(damaged_bytes(_checkpoint()))
def test_checkpoints(content: bytes) -> None:
    read_or_explained(lambda: read_checkpoint(content, "3.pt"), "3.pt")


NUMBERS = st.sampled_from(
    ["50", "5_0", "-0", "+5", "1e-320", "1e400", "nan", "inf", "１２", "١٢", "0x10", "1,000", " 5 ", "", "9" * 5000, "1e", ".5", "1."]
)
UNITS = st.sampled_from(
    ["", " ms", "ms", "% of w8a8", " % of w4a8", "%", " KiB", "s", "% of w١a8", "% of w99a8", "% of w" + "8" * 5000 + "a8"]
) | st.text(max_size=4)


@fuzz
@given(st.sampled_from(["weights <= ", "weights<=", "weights ≤ ", "latency <= ", "weights < ", "", "x <= "]), NUMBERS, UNITS)
def test_limits(metric: str, number: str, unit: str) -> None:
    latency = CostTable.one_row(LATENCY, TABLE.layers, TABLE.options, np.array([[1.0, 2.0], [3.0, 4.0]]))

    def read() -> None:
        for constraint in parse_budget([metric + number + unit], [TABLE, latency], CHOICES):
            assert 0 <= constraint.limit < float("inf")
            assert number.replace(",", "").strip() not in ("5_0", "-0", "nan", "inf", "１２", "١٢", "0x10", "1e400", "1e-320")

    read_or_explained(read)
    read_or_explained(lambda: parse_confidence(number + unit))


@fuzz
@given(st.text(max_size=30) | st.tuples(st.just("clock.hz="), NUMBERS).map("".join) | st.just("a=" + "[" * 3000))
def test_varied_keys(text: str) -> None:
    read_or_explained(lambda: parse_vary(text))
