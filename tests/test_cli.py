"""What the commands print for people, and for scripts."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from commands import hwdse, task_file

COMMANDS = ("profile", "sensitivity", "allocate", "sweep", "report", "pick", "accelerators")
CHIP = 'schema = "hwdse.accelerator/1"\nname = "chip"\n'


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def toy(tmp_path: Path) -> str:
    return task_file(tmp_path)


# Every number of a table, whatever the width of the terminal


def numbers(text: str) -> list[str]:
    return sorted(re.findall(r"\d[\d.,]*(?:e[-+]\d+)?(?: (?:us|ms|uJ|nJ|KiB|B|k|MBitOPs|kBitOPs|%))?", text))


def test_allocate_at_given_widths(toy: str, tmp_path: Path) -> None:
    uniform = json.loads(hwdse("allocate", toy, "--widths", "w3a16", "--json", "-o", tmp_path / "3.json").out)
    inner = list(uniform["layers"])[1:-1]
    assert {uniform["layers"][name] for name in inner} == {"w3a16"}
    assert uniform["allocator"] is None
    ran = hwdse("allocate", toy, "--allocation", tmp_path / "3.json", "-o", tmp_path / "again.json", "--json")
    again = json.loads(ran.out)
    assert (again["layers"], again["score"]) == (uniform["layers"], uniform["score"])
    first = next(iter(uniform["layers"]))
    edited = {**json.loads((tmp_path / "3.json").read_text()), "layers": {**uniform["layers"], first: "w4a16"}, "graph": "f00d"}
    (tmp_path / "3.json").write_text(json.dumps(edited))
    ran = hwdse("allocate", toy, "--allocation", tmp_path / "3.json", "-o", tmp_path / "again.json")
    assert "The widths were given: nothing was chosen." in ran.text
    turned = {**edited, "layers": dict(reversed(edited["layers"].items()))}  # the order of the keys says nothing
    (tmp_path / "turned.json").write_text(json.dumps(turned))
    same = json.loads(hwdse("allocate", toy, "--allocation", tmp_path / "turned.json", "-o", tmp_path / "t.json", "--json").out)
    assert same["layers"] == edited["layers"]
    assert "Note: the widths were found for another network (graph f00d, here" in ran.text
    assert json.loads((tmp_path / "again.json").read_text())["layers"][first] == "w4a16"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--widths", "w4a4", "--allocator", "adq"], 2, "--allocator and --widths: give one"),
        (["--widths", "w4"], 2, "'w4' is not the format of a layer, such as w4a8"),
        (["--widths", "w4a4", "-b", "weights <= 20% of w8a8"], 1, "weights"),
        (["--allocation", "absent.json"], 2, "absent.json: cannot be read: No such file"),
        (
            ["--weight-bits", "2,,4"],
            2,
            "--weight-bits must be widths from 2 to 16 bits with commas between them",
        ),
        (["--activation-bits", "64"], 2, "such as 2,4,8; got '64'"),
    ],
)
def test_mistakes_about_given_widths(toy: str, words: list[str], code: int, sentence: str) -> None:
    Path("toys.toml").write_text("name = 'mine'\n")
    ran = hwdse("allocate", toy, *words)
    assert (ran.code, ran.out) == (code, "")
    assert sentence in ran.said
    assert Path("toys.toml").read_text() == "name = 'mine'\n"


def test_allocate_chooses_from_the_widths_it_is_told(toy: str) -> None:
    ran = hwdse("allocate", toy, "-b", "weights <= 60% of w8a8", "--weight-bits", "2,8", "--activation-bits", "8", "--no-measure", "--json")
    assert set(json.loads(ran.out)["layers"].values()) == {"w2a8", "w8a8"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["profile", "{toy}", "-a", "npu", "-a", "t4", "-a", "mpic"],
        ["sensitivity", "{toy}"],
        ["allocate", "{toy}", "-a", "mpic", "-b", "latency <= 98% of w8a8", "--no-measure"],
    ],
)
def test_a_narrow_terminal_loses_no_number(arguments: list[str], toy: str) -> None:
    arguments = [a.format(toy=toy) for a in arguments]
    wide, narrow = hwdse(*arguments, columns=300), hwdse(*arguments, columns=80)
    assert wide.code == narrow.code == 0
    assert "…" not in narrow.out
    assert max(map(len, narrow.out.splitlines())) <= 80
    found = numbers(re.sub(r"\d+ ms\n", "", narrow.out))  # the seconds of the solver differ
    assert set(numbers(re.sub(r"\d+ ms\n", "", wide.out))) <= set(found)


def test_a_terminal_too_narrow_for_one_column_gets_long_lines_rather_than_cut_ones(toy: str) -> None:
    ran = hwdse("allocate", toy, "-b", "weights <= 80% of w8a8", "--no-measure", columns=30)
    assert ran.code == 0
    assert "…" not in ran.out
    assert re.search(r"weights +[\d.]+ KiB", ran.out)


# Help


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_a_line_each(command: str) -> None:
    ran = hwdse(command, "--help", columns=110)
    assert ran.code == 0
    assert re.search(rf"^ hwdse {command}\b.*\S", ran.out, re.MULTILINE)
    for line in re.findall(r"^ (hwdse .*\S)", ran.out, re.MULTILINE):
        shlex.split(line)  # no quotation is torn apart


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("pick", "pip install 'hwdse[onnx]'"),
        ("export", "pip install 'hwdse[onnx]'"),
        ("explore-hardware", "--vary 'precision.weights=[4, 8];[2, 4, 8]'"),
        ("explore-hardware", "--vary 'memory[dram].bytes_per_s=6.4e9;12.8e9;25.6e9'"),
        ("sweep", "[FILE.toml]"),
    ],
)
def test_help_shows_brackets_as_they_are(command: str, sentence: str) -> None:
    ran = hwdse(command, "--help", columns=180)
    assert sentence in ran.text
    assert "\\[" not in ran.out


@pytest.mark.slow
def test_the_examples_of_allocate_and_profile_work(tmp_path: Path) -> None:
    for command in ("allocate", "profile"):
        help_ = hwdse(command, "--help", columns=110).out
        examples = [shlex.split(line)[1:] for line in re.findall(r"^ (hwdse .*\S)", help_, re.MULTILINE)]
        assert len(examples) >= 2
        for example in examples:
            if "--epochs" not in example and not any(word.startswith(("my_", "runs/")) for word in example):
                ran = hwdse(*example)
                assert ran.code == 0, (example, ran.err)


def test_version_and_no_arguments() -> None:
    assert re.fullmatch(r"hwdse \d+\.\d+\S*\n", hwdse("--version").out)
    assert "Examples:" in hwdse().out


# profile


def test_profile_lists_layers_costs_and_short_conventions(toy: str) -> None:
    ran = hwdse("profile", toy, "-a", "mpic", "--at", "w8a8", "--at", "w4a4")
    assert ran.code == 0
    assert "4 counted layers, 1.44 k MACs, 1,440 weights" in ran.out
    assert re.search(r"^2 +linear +1x24 +1x24 +576 +40.0% +576", ran.out, re.MULTILINE)
    assert "Every operation with multiply-accumulates and every parameter was counted." in ran.out
    assert "--json" in ran.out
    listed = ran.out.partition("What the numbers are")[2]
    assert all(len(line) < 200 for line in listed.splitlines())
    assert "latency@mpic" in listed


def test_profile_json_has_everything(toy: str) -> None:
    found = json.loads(hwdse("profile", toy, "-a", "mpic", "--json").out)
    assert found["macs"] == 8 * 24 + 2 * 24 * 24 + 24 * 4
    assert [row["macs"] for row in found["layers"]] == [192, 576, 576, 96]
    assert found["uniform"]["bitops w4a4"] == 16 * found["macs"]
    assert set(found["conventions"]) == set(found["notes"]) == {key.split()[0] for key in found["uniform"]}
    assert found["left_out"] == []
    assert found["data_flow"] is True


def test_profile_marks_a_model_traced_by_hooks_only(tmp_path: Path) -> None:
    changes = """
class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x):
        x = self.a(x)
        return self.b(x) if float(x.detach().sum()) > -1e9 else x

class Mine(Toy):
    def model(self):
        return Odd()
"""
    name = task_file(tmp_path, changes, of="Mine")
    ran = hwdse("profile", name)
    assert ran.code == 0
    assert "Traced by hooks, not by torch.export: no data flow is known." in ran.out
    assert "torch.export could not trace the model" in ran.text.partition("Not counted")[2]
    assert json.loads(hwdse("profile", name, "--json").out)["data_flow"] is False


# sensitivity, allocate


def test_sensitivity_draws_and_its_json_is_monotone(toy: str, tmp_path: Path) -> None:
    ran = hwdse("sensitivity", toy, "--figure", "s.svg")
    assert ran.code == 0
    assert (tmp_path / "s.svg").stat().st_size > 1000
    found = json.loads(hwdse("sensitivity", toy, "--json").out)
    for row in found["layers"]:
        losses = [row["weights"][str(w)] for w in range(2, 9)]
        assert losses == sorted(losses, reverse=True)
    assert not (tmp_path / "toy-sensitivity.png").exists()


def test_allocate_says_all_that_stands_behind_it(toy: str, tmp_path: Path) -> None:
    ran = hwdse("allocate", toy, "-a", "mpic", "-b", "weights <= 1.5 KiB", "-b", "latency <= 3 ms")
    assert ran.code == 0
    assert re.search(r"^2 +\d bit +\d bit +40.0%", ran.out, re.MULTILINE)
    assert re.search(r"^weights +[\d.]+ \S+ +1\.5 KiB +[\d.]+ KiB \([\d.]+%\)", ran.out, re.MULTILINE)
    assert re.search(r"^latency@mpic +[\d.]+ us +3 ms +[\d.]+ ms \([\d.]+%\)", ran.out, re.MULTILINE)
    assert "Binding: weights <= 1.5 KiB." in ran.text
    assert re.search(
        r"[\d.]+ \w+ more \(a limit of [\d.]+ KiB\) lowers the smallest expected loss by [\d.e-]+ nats, to [\d.e-]+; less changes", ran.text
    )
    assert "Measured accuracy on the validation split:" in ran.text
    assert "Wrote toy-allocation.json" in ran.text
    written = json.loads((tmp_path / "toy-allocation.json").read_text())
    assert written["layers"]["0"] == "w8a8"
    assert written["binding"] == "weights <= 1.5 KiB"
    assert written["next_steps"]["weights <= 1.5 KiB"]["limit"] > 1536
    assert all(one["slack"] >= 0 for one in written["budget"].values())


def test_allocate_relative_budget_and_json(toy: str, tmp_path: Path) -> None:
    ran = hwdse("allocate", toy, "-b", "weights <= 60% of w8a8", "-o", "new/mine.json", "--json")
    found = json.loads(ran.out)
    reference = json.loads(hwdse("profile", toy, "--json").out)["uniform"]["weights w8a8"]
    (budget,) = found["budget"].values()
    assert budget["limit"] == pytest.approx(0.6 * reference)
    assert found["costs"]["weights"] + budget["slack"] == pytest.approx(budget["limit"])
    assert json.loads((tmp_path / "new" / "mine.json").read_text())["layers"] == found["layers"]


def test_allocate_where_nothing_binds(toy: str) -> None:
    assert "No limit binds" in hwdse("allocate", toy, "-b", "weights <= 1 MiB", "--no-measure").out
    assert "No budget was given" in hwdse("allocate", toy, "--no-measure").out


@pytest.mark.parametrize("allocator", ["adaqat", "adq", "uniform"])
def test_allocate_trains_with_every_allocator(allocator: str, toy: str) -> None:
    # 24 x 24 weights do not pay for a codebook: its codes take as much room as they save
    limit = "weights <= 110% of w8a8" if allocator == "adq" else "weights <= 70% of w8a8"
    ran = hwdse("allocate", toy, "-b", limit, "--allocator", allocator, "--epochs", "1", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert all(one["slack"] >= 0 for one in found["budget"].values())
    assert found["score"]["value"] > 0.5
    same = hwdse("allocate", toy, "-b", limit, "--allocation", found["file"], "-o", "same.json", "--epochs", "1", "--json")
    assert found["expected_loss"] == json.loads(same.out)["expected_loss"]  # one loss table for all, whatever chose the widths
    assert found["bound"] <= found["expected_loss"] * (1 + 1e-9)


# accelerators


def test_accelerators_list_and_show() -> None:
    listed = json.loads(hwdse("accelerators", "list", "--json").out)
    assert {"npu", "t4", "mpic", "bitfusion"} <= {one["name"] for one in listed}
    narrow = hwdse("accelerators", "list", columns=80).out
    assert max(map(len, narrow.splitlines())) <= 80
    shown = hwdse("accelerators", "show", "npu")
    assert "gives latency@npu" in shown.out
    assert json.loads(hwdse("accelerators", "show", "npu", "--json").out)["name"] == "npu"


def test_accelerators_check_lists_every_fault(tmp_path: Path) -> None:
    file = tmp_path / "chip.toml"
    file.write_text(CHIP + 'colour = "red"\n[precision]\npairs = ["w99a8"]\n[clock]\nhz = -1\n')
    ran = hwdse("accelerators", "check", file)
    assert ran.code == 2
    for key in ("colour", "precision", "clock", "provenance"):
        assert key in ran.out, key
    assert ran.out.count("problem:") >= 4
    found = json.loads(hwdse("accelerators", "check", file, "--json").out)
    assert found["ok"] is False
    assert len(found["problems"]) == ran.out.count("problem:")


def test_accelerators_check_of_a_good_file() -> None:
    ran = hwdse("accelerators", "check", "npu")
    assert ran.code == 0
    assert "ok: npu gives latency@npu" in ran.out
    assert json.loads(hwdse("accelerators", "check", "npu", "--json").out)["ok"] is True
