"""``hwdse accelerators import``: the table, what is said of it, and the mistakes that can be made."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from commands import hwdse, task_file
from profiler_files import VELA, save, trt_profile

from hwdse.costmodels.table_file import read_table
from hwdse.formats import Allocation, LayerFormat

NAMES = {"0": "/0/Gemm + /1/Relu", "2": "/2/Gemm + /3/Relu || /4/Gemm", "6": "/6/Gemm"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def toy(tmp_path: Path) -> str:
    return task_file(tmp_path)


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    return save(tmp_path, {"p.json": trt_profile({name: 0.25 * i for i, name in enumerate(NAMES.values(), start=1)})})[0]


def test_a_profile_becomes_a_table_and_everything_else_is_said(toy: str, profile: Path) -> None:
    ran = hwdse("accelerators", "import", "trtexec", profile, "--task", toy, "--widths", "w8a8", "-o", "out/t.csv")
    assert ran.code == 0, ran.err
    assert [(row.instance, row.seconds) for row in read_table(Path("out/t.csv"))] == [("0", 2.5e-4), ("6", 7.5e-4)]
    assert "2 of 4 layers have a row of their own: 20.0% of the MACs and 66.4% of the device time" in ran.text
    assert "Fused: one time for several layers, not in the table (1) /2/Gemm + /3/Relu || /4/Gemm: 2, 4: one time for 2 layers" in ran.text
    assert "Reformatting CopyNode for Input Tensor 0 to /stem/Conv: a copy between formats" in ran.text
    assert "Layers without a row (2) 2: fused into '/2/Gemm" in ran.text
    assert re.search(r"Wrote out/t\.csv: 2 rows", ran.text)


def test_the_printed_lines_name_the_table_in_an_accelerator_file(toy: str, profile: Path) -> None:
    ran = hwdse("accelerators", "import", "trtexec", profile, "--task", toy, "--widths", "w8a8", "-o", "t.csv", "--json")
    said = json.loads(ran.out)
    assert [entry["layer"] for entry in said["matched"]] == ["0", "6"]
    assert {entry["why"] for entry in said["rows_left"]} == {"fused", "unmatched"}
    text = 'schema = "hwdse.accelerator/1"\nname = "mine"\n[precision]\nsemantics = "native"\nweights = [8]\nactivations = [8]\n'
    text += f'[provenance]\nkind = "{said["kind"]}"\nsource = "a test"\n' + "\n".join(said["toml"])
    Path("mine.toml").write_text(text + "\n")
    assert tomllib.loads(text)["table"] == [{"file": "t.csv", "sha256": said["sha256"]}]
    checked = hwdse("accelerators", "check", "mine.toml")
    assert checked.code == 0, checked.out
    assert "look-up tables with 2 rows of 2 shapes" in checked.text


def test_the_widths_of_each_layer_from_the_allocation_that_was_deployed(toy: str, profile: Path) -> None:
    Path("a.json").write_text(Allocation({"0": LayerFormat.of(8, 8), "2": LayerFormat.of(4, 8), "6": LayerFormat.of(2, 4)}).to_json())
    ran = hwdse("accelerators", "import", "trtexec", profile, "--task", toy, "--allocation", "a.json", "-o", "t.csv")
    assert ran.code == 0, ran.err
    assert [str(row.widths) for row in read_table(Path("t.csv"))] == ["w8a8", "w2a4"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["trtexecs", "p.json", "--widths", "w8a8"],
            r"unknown profile format 'trtexecs'; did you mean 'trtexec'\? Known: onnxruntime, scalesim",
        ),
        (["trtexec", "none.json", "--widths", "w8a8"], r"none\.json: cannot be read: No such file"),
        (["trtexec", "p.json"], r"the file does not say at which widths '0' ran; give --widths"),
        (["trtexec", "p.json", "--widths", "8x8"], r"'8x8' is not the format of a layer"),
        (["trtexec", "p.json", "--widths", "w8a8", "--allocation", "a.json"], "--widths and --allocation both say the widths"),
        (["trtexec", "p.json", "--allocation", "a.json"], r"a\.json: cannot be read: No such file"),
        (["trtexec", "p.json", "--widths", "w8a8", "--clock", "1e9"], "--clock is for cycles, but trtexec gives seconds"),
        (["trtexec", "p.json", "--widths", "w8a8", "--by-order"], "--by-order needs as many rows as layers: the file has 3 .*the model 4"),
        (["vela", "v.csv", "--widths", "w8a8"], "Vela counts cycles here, and no file states the clock"),
        (["vela", "v.csv", "--widths", "w8a8", "--clock", "1e9"], r"no row of v\.csv is the cost of a layer of this model\. Rows: t1, t2"),
    ],
)
def test_mistakes(toy: str, profile: Path, arguments: list[str], sentence: str) -> None:
    save(Path(), {"v.csv": VELA})
    ran = hwdse("accelerators", "import", *arguments, "--task", toy, "-o", "t.csv")
    assert ran.code == 2, ran.err
    assert re.search(sentence, ran.said), ran.err
    assert not Path("t.csv").exists()


def test_an_output_that_cannot_be_written_or_is_an_input(toy: str, profile: Path) -> None:
    ran = hwdse("accelerators", "import", "trtexec", profile, "--task", toy, "--widths", "w8a8", "-o", profile)
    assert (ran.code, profile.read_text()[0]) == (2, "[")
    assert "is one of the files to read; write the table elsewhere" in ran.said
    Path("folder").mkdir()
    ran = hwdse("accelerators", "import", "trtexec", profile, "--task", toy, "--widths", "w8a8", "-o", "folder")
    assert ran.code == 1
    assert "cannot write folder: it is a folder" in ran.said


def test_help_has_examples() -> None:
    ran = hwdse("accelerators", "import", "--help", columns=200)
    assert "hwdse accelerators import vela net_per-layer.csv net_summary.csv" in ran.text
