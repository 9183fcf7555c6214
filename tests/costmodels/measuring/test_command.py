"""``hwdse accelerators measure``, from the task to an accelerator that other commands take."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from commands import hwdse, task_file

QUICK = ("--repeats", 3, "--seconds-per-layer", "0.001")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_measured_checked_and_used(tmp_path: Path, backend: str) -> None:
    toy = task_file(tmp_path)
    done = hwdse("accelerators", "measure", toy, "--backend", backend, *QUICK, "-o", "cpu.csv")
    assert done.code == 0, done.err
    for said in ("linear 24->24, batch 1", "Sum over layers", "whole network", "was not subtracted", "cpu.csv (6 rows) and cpu.toml"):
        assert said in done.text
    assert hwdse("accelerators", "check", "cpu.toml").code == 0
    used = hwdse("allocate", toy, "-a", "cpu.toml", "-b", "latency <= 110% of w8a8", "--json")
    assert used.code == 0, used.err
    assert "latency@cpu" in used.out
    tight = hwdse("allocate", toy, "-a", "cpu.toml", "-b", "latency <= 1 ns")
    assert tight.code == 1


def test_json_holds_every_number(tmp_path: Path) -> None:
    toy = task_file(tmp_path)
    done = hwdse("accelerators", "measure", toy, *QUICK, "-o", "out/cpu.csv", "--accelerator", "out/laptop.toml", "--json")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert {(row["shape"].split(",")[0], row["widths"]) for row in facts["measured"]} == {
        (shape, widths) for shape in ("linear 8->24", "linear 24->24", "linear 24->4") for widths in ("w8a8", "w32a32")
    }
    assert all(row["latency_s"] > 0 and row["samples"] == 3 for row in facts["measured"])
    assert facts["sums"]["w8a8"]["layers"] == 4
    assert facts["network"]["latency_s"] > 0
    assert facts["not_measured"] == []
    assert 'name = "laptop"' in (tmp_path / "out" / "laptop.toml").read_text()


def test_only_the_table(tmp_path: Path) -> None:
    done = hwdse("accelerators", "measure", task_file(tmp_path), *QUICK, "-o", "t.csv", "--table-only")
    assert done.code == 0, done.err
    assert not (tmp_path / "t.toml").exists()
    assert "sha256 = " in done.text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--backend", "tensorrt", "-o", "a.csv"], "unknown backend 'tensorrt'. Known: onnxruntime, torch."),
        (["-o", "there.csv"], "there.csv is there already, and is not overwritten"),
        (["-o", "a.csv", "--accelerator", "there.toml"], "there.toml is there already, and is not overwritten"),
        (["-o", "npu.csv"], "'npu' is the name of an accelerator that comes with the package"),
        (["-o", "a.toml"], "the table is a .csv file"),
        (["-o", "a.csv", "--accelerator", "sub/a.toml"], "must lie in the same folder"),
        (["-o", "a.csv", "--accelerator", "b.toml", "--table-only"], "contradict each other"),
        (["-o", "a.csv", "--seconds-per-layer", "0"], "must be a finite number above 0"),
        (["-o", "a.csv", "--device", "tpu"], "torch knows no device 'tpu'"),
    ],
)
def test_mistakes_are_said_before_anything_is_measured(tmp_path: Path, more: list[str], said: str) -> None:
    for name in ("there.csv", "there.toml"):
        (tmp_path / name).write_text("mine")
    done = hwdse("accelerators", "measure", task_file(tmp_path), *more)
    assert done.code == 2
    assert said in done.said
    assert (tmp_path / "there.csv").read_text() == (tmp_path / "there.toml").read_text() == "mine"
    assert not list(tmp_path.glob("a.*"))


def test_a_missing_package_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = hwdse("accelerators", "measure", task_file(tmp_path), "--backend", "onnxruntime", "-o", "a.csv")
    assert done.code == 2
    assert "pip install onnx onnxruntime" in done.said
