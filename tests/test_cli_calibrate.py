"""``hwdse accelerators new``, ``schema`` and ``calibrate``: what they write, and every file that they refuse."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
from commands import hwdse, task_file

from hwdse.costmodels import check_accelerator, load_accelerator
from hwdse.costmodels.file_edits import with_top_key
from hwdse.formats import Allocation, LayerFormat

WIDER = """
class Wider(Toy):
    width = 48

    def model(self):
        return nn.Sequential(nn.Linear(8, self.width), nn.ReLU(), nn.Linear(self.width, self.width), nn.ReLU(), nn.Linear(self.width, 4))

class Widest(Wider):
    width = 96
"""
CHIP = """# a chip
schema = "hwdse.accelerator/1"
name = "chip"
[provenance]
kind = "analytic"
source = "a test"
[precision]
semantics = "native"
weights = [4, 8]
activations = [4, 8]
unsupported = "error"
other = "w8a8"
[compute]
model = "roofline"
memory = "dram"
macs_per_s = {w8a8 = 1e6, w4a4 = 4e6}  # measured once
[[memory]]
name = "dram"
bytes_per_s = 1e9
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def networks(tmp_path: Path) -> str:
    """A module with the tasks Toy (1.44 ms at w8a8 on the chip), Wider (2.88 ms) and Widest (10.368 ms)."""
    Path("chip.toml").write_text(CHIP)
    return task_file(tmp_path, WIDER).partition(":")[0]


def rows(module: str, *times: str) -> str:
    return "".join(f"{module}:{name},w8a8,{time}\n" for name, time in zip(("Toy", "Wider", "Widest"), times, strict=False))


HEAD = "task,widths,latency\n"
GOOD = ("2.94 ms", "5.82 ms", "20.796 ms")  # 60 us + 2 x the sums


# calibrate


def test_a_known_law_is_found_and_written(networks: str) -> None:
    Path("measured.csv").write_text(HEAD + rows(networks, *GOOD))
    ran = hwdse("accelerators", "calibrate", "chip.toml", "measured.csv", "-o", "new/mine.toml")
    assert ran.code == 0, ran.err
    assert re.search(rf"^{networks}:Wider +w8a8 +2\.88 ms +5\.82 ms +5\.82 ms +[+-]0\.0%", ran.out, re.MULTILINE)
    assert "t = 60 us + 2 x sum over layers; mean leave-one-out error 0.00%." in ran.text
    mine = load_accelerator("new/mine.toml")
    assert mine.name == "mine"
    assert (mine.keys.calibration.offset_s, mine.keys.calibration.scale) == (pytest.approx(6e-5), pytest.approx(2))
    assert "# measured once" in mine.file.read_text()
    assert 'note = "3 networks measured end to end (measured.csv)"' in mine.file.read_text()
    first, second = (json.loads(hwdse("profile", f"{networks}:Toy", "-a", a, "--json").out)["uniform"] for a in ("chip.toml", mine.file))
    assert second["latency@mine w8a8"] == pytest.approx(6e-5 + 2 * first["latency@chip w8a8"])


def test_calibrating_again_in_place_starts_from_the_sums(networks: str) -> None:
    Path("measured.csv").write_text("# by me\n\n" + HEAD.upper() + "\n" + rows(networks, *GOOD) + "# the end\n")
    first = json.loads(hwdse("accelerators", "calibrate", "chip.toml", "measured.csv", "-o", "chip.toml", "--json").out)
    again = json.loads(hwdse("accelerators", "calibrate", "chip.toml", "measured.csv", "-o", "./chip.toml", "--json").out)
    assert first == again | {"file": "chip.toml"}
    assert [n["sum_s"] for n in first["networks"]] == pytest.approx([1.44e-3, 2.88e-3, 10.368e-3])
    assert Path("chip.toml").read_text().count("[calibration]") == 1
    assert load_accelerator("chip.toml").name == "chip"


def test_allocations_count_as_networks_and_tables_are_copied(networks: str) -> None:
    Path("chip.csv").write_text("op,batch,in_channels,out_channels,w_bits,a_bits,latency_s\nlinear,1,24,24,8,8,0.001\n")
    Path("chip.toml").write_text(with_top_key(CHIP, "missing", "analytic") + "[[table]]\nfile = 'chip.csv'\n")
    Path("lab").mkdir()
    mixed = Allocation({"0": LayerFormat.of(8, 8), "2": LayerFormat.of(4, 4), "4": LayerFormat.of(4, 4), "6": LayerFormat.of(8, 8)})
    Path("lab/mixed.json").write_text(mixed.to_json())
    text = HEAD + rows(networks, *GOOD[:2]) + f"{networks}:Toy,mixed.json,1.2 ms\n"
    Path("lab/measured.csv").write_text(text)
    ran = hwdse("accelerators", "calibrate", "chip.toml", "lab/measured.csv", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["file"] == "chip-calibrated.toml"
    assert Path("chip-calibrated.csv").read_text() == Path("chip.csv").read_text()
    assert all(line.startswith("ok") for line in check_accelerator("chip-calibrated.toml"))
    assert len(load_accelerator("chip-calibrated.toml").rows) == 1


BAD = {
    "task,latency\n": "line 1: lacks the columns widths: the header must be task,widths,latency",
    "": "is empty; its header must be task,widths,latency",
    "# nothing\n\n": "is empty",
    "task,widths,latency,task\n": "has the column task twice",
    HEAD: "3 or more measured networks, got 0",
    HEAD + "{rows2}": "3 or more measured networks, got 2",
    HEAD + "{rows}{m}:Toy,w4a4\n": "line 5: has 2 cells, but the header has 3",
    HEAD + "{rows}{m}:Toy,w4a4,\n": "line 5: must give task, widths, latency",
    HEAD + "{rows}{m}:Toy,w4a4,0 ms\n": "line 5: a latency must be above 0, got '0 ms'",
    HEAD + "{rows}{m}:Toy,w4a4,1e-400 ms\n": "line 5: .*1e-400",
    HEAD + "{rows}{m}:Toy,w4a4,-1 ms\n": "line 5: .*-1 ms",
    HEAD + "{rows}{m}:Toy,w4a4,nan ms\n": "line 5: .*nan",
    HEAD + "{rows}{m}:Toy,w4a4,inf ms\n": "line 5: .*inf",
    HEAD + "{rows}{m}:Toy,w4a4,1e400 ms\n": "line 5: .*1e400",
    HEAD + "{rows}{m}:Toy,w4a4,3\n": "line 5: .*no unit",
    HEAD + "{rows}{m}:Toy,w4a4,3 KiB\n": "line 5: .*KiB",
    HEAD + "{rows}{m}:Toy,8 bit,3 ms\n": r"line 5: '8 bit' is not the format of a layer.*Or give an allocation's \.json file",
    HEAD + "{rows}{m}:Toy,w99a8,3 ms\n": "line 5: .*w99a8|line 5: .*99",
    HEAD + "{rows}{m}:Toy,w16a16,3 ms\n": "line 5: chip cannot run .*:Toy at w16a16",
    HEAD + "{rows}{m}:Toy,none.json,3 ms\n": r"line 5: 'none\.json' is no allocation: .*No such file",
    HEAD + "{rows}{m}:Toy,chip.json,3 ms\n": r"line 5: 'chip\.json' is no allocation",
    HEAD + "{rows}{m}:Wider,toy.json,3 ms\n": r"line 5: 'toy\.json' names other layers than .*:Wider has",
    HEAD + "{rows}{m}:Toy,w8a8,3 ms\n": "line 5: is .*:Toy at w8a8, as line 2; keep one, or their median",
    HEAD + "{rows}nothing:Toy,w8a8,3 ms\n": "there is no module nothing",
    HEAD + "{rows}digit,w8a8,3 ms\n": r"unknown task 'digit'; did you mean 'digits'\?",
    HEAD + '"{rows}': r"is not a CSV file|has \d+ cells|must give",
    HEAD + "{rows}x," + 200_000 * "y" + ",3 ms": "is not a CSV file: field larger than field limit",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_measurements_are_explained(text: str, networks: str) -> None:
    Path("chip.json").write_text("[1, 2]")
    Path("toy.json").write_text(Allocation(dict.fromkeys(("0", "2", "4", "6"), LayerFormat.of(8, 8))).to_json())
    filled = text.replace("{rows2}", rows(networks, *GOOD[:2])).replace("{rows}", rows(networks, *GOOD)).replace("{m}", networks)
    Path("measured.csv").write_text(filled)
    ran = hwdse("accelerators", "calibrate", "chip.toml", "measured.csv")
    assert ran.code == 2, ran.out + ran.err
    assert re.search(BAD[text], ran.said), ran.err
    assert not Path("chip-calibrated.toml").exists()


@pytest.mark.parametrize(
    ("times", "sentence"),
    [
        (("9 ms", "3 ms", "1 ms"), "do not rise with the modelled ones: another device was measured, or names were swapped"),
        (("3 ms", "3 ms", "3 ms"), "do not rise with the modelled ones"),
    ],
)
def test_measurements_that_fit_no_law(times: tuple[str, ...], sentence: str, networks: str) -> None:
    Path("measured.csv").write_text(HEAD + rows(networks, *times))
    ran = hwdse("accelerators", "calibrate", "chip.toml", "measured.csv")
    assert ran.code == 2, ran.out
    assert sentence in ran.said
    assert not Path("chip-calibrated.toml").exists()


@pytest.mark.parametrize(
    ("output", "code", "sentence"),
    [
        ("there.toml", 2, r"there\.toml is there already, and is not overwritten"),
        ("measured.csv", 2, r"an accelerator's file ends in \.toml"),
        ("npu.toml", 2, "name of an accelerator that comes with the package"),
        ("my chip.toml", 2, "an accelerator's name begins with a letter"),
        ("measured.csv/x.toml", 1, r"cannot write measured\.csv/x\.toml"),
    ],
)
def test_outputs_that_are_refused_before_the_work(output: str, code: int, sentence: str, networks: str) -> None:
    Path("measured.csv").write_text(HEAD + rows("no_such_module", *GOOD))
    Path("there.toml").write_text("mine")
    ran = hwdse("accelerators", "calibrate", "chip.toml", "measured.csv", "-o", output)
    assert (ran.code, Path("there.toml").read_text()) == (code, "mine"), ran.err
    assert re.search(sentence, ran.said), ran.err


def test_other_mistakes(networks: str) -> None:
    Path("latin.csv").write_bytes(b"task,widths,latency\n\xff,w8a8,1 ms\n")
    for arguments, sentence in (
        (["chop.toml", "measured.csv"], r"chop\.toml: cannot be read"),
        (["npv", "measured.csv"], "unknown accelerator 'npv'; did you mean 'npu'"),
        (["chip.toml", "absent.csv"], r"absent\.csv: cannot be read: No such file"),
        (["chip.toml", "latin.csv"], r"latin\.csv: line 2: is not UTF-8 text|latin\.csv.*line 2.*UTF-8"),
    ):
        ran = hwdse("accelerators", "calibrate", *arguments)
        assert ran.code == 2, ran.err
        assert re.search(sentence, ran.said), ran.err


def test_a_file_that_cannot_be_changed_by_the_line_stays_as_it_is(networks: str) -> None:
    inline = CHIP.replace("[provenance]", "calibration = {scale = 3.0}\n[provenance]")
    Path("chip.toml").write_text(inline)
    Path("measured.csv").write_text(HEAD + rows(networks, *GOOD))
    ran = hwdse("accelerators", "calibrate", "chip.toml", "measured.csv", "-o", "chip.toml")
    assert ran.code == 2
    assert "cannot be changed by the line: write name, [[table]] file, [calibration] as lines and tables of their own" in ran.said
    assert Path("chip.toml").read_text() == inline


# new, schema


def test_new_writes_a_file_that_checks(networks: str) -> None:
    ran = hwdse("accelerators", "new", "mine", "--like", "t4", "-o", "hw")
    assert ran.code == 0, ran.err
    assert "Wrote hw/mine.toml Wrote hw/mine.csv Its numbers are those of t4: change them and [provenance]" in ran.text
    assert hwdse("accelerators", "check", "hw/mine.toml").code == 0
    found = json.loads(hwdse("accelerators", "new", "other", "--like", "hw/mine.toml", "--json").out)
    assert found["files"] == ["other.toml", "other.csv"]


def test_new_from_a_file_in_another_hand(networks: str) -> None:
    text = CHIP.replace('name = "chip"', "name='chip'").replace("[provenance]", "[provenance] # mine")
    Path("chip.toml").write_text(text)
    assert hwdse("accelerators", "new", "mine", "--like", "chip.toml").code == 0
    mine = load_accelerator("mine.toml")
    assert (mine.name, [level.name for level in mine.keys.memory]) == ("mine", ["dram"])
    assert "started as a copy of chip" in mine.keys.provenance.notes[0]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["new", "2fast"], 2, "begins with a letter"),
        (["new", "npu"], 2, "'npu' is the name of an accelerator that comes with the package; choose another"),
        (["new", "mine", "--like", "npv"], 2, r"unknown accelerator 'npv'; did you mean 'npu'\?"),
        (["new", "chip"], 2, r"chip\.toml is there already, and is not overwritten"),
        (["new", "mine", "-o", "chip.toml"], 1, r"cannot write chip\.toml/mine\.toml"),
    ],
)
def test_new_refuses(arguments: list[str], code: int, sentence: str, networks: str) -> None:
    ran = hwdse("accelerators", *arguments)
    assert ran.code == code, ran.out + ran.err
    assert re.search(sentence, ran.said), ran.err
    assert Path("chip.toml").read_text() == CHIP


def test_schemas_hold_what_the_reader_takes() -> None:
    import tomllib

    accelerator, row = (json.loads(hwdse("accelerators", "schema", *more).out) for more in ([], ["--table"]))
    jsonschema.Draft202012Validator.check_schema(accelerator)
    jsonschema.validate(tomllib.loads(CHIP), accelerator)
    good = {"op": "linear", "batch": 1, "in_channels": 3, "out_channels": 5, "w_bits": 8, "a_bits": 8, "latency_s": 0.5}
    jsonschema.validate(good, row)
    for change in ({"latency_s": 0}, {"op": "gemm"}, {"w_bits": 64}, {"speed": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(good | change, row)
