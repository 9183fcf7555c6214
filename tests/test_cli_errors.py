"""A user's mistake: a sentence that says what to do, the right exit status, never a traceback (the helper refuses one)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commands import cache, hwdse, task_file

from hwdse.costmodels.starting_file import new_accelerator


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def toy(tmp_path: Path) -> str:
    return task_file(tmp_path)


LIMIT = ["-b", "weights <= 70% of w8a8"]


# Names and budgets


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["profile", "digit"], r"unknown task 'digit'; did you mean 'digits'\? Known: .*digits.*my_package.my_module:MyTask"),
        (["profile", "{toy}", "-a", "npv"], r"unknown accelerator 'npv'; did you mean 'npu'\? Known: .*mpic.*t4.*\.toml"),
        (["profile", "{toy}", "-a", "absent.toml"], r"absent\.toml"),
        (["profile", "{toy}", "--at", "8x8"], r"8x8"),
        (["allocate", "{toy}", "-b", "latencies <= 3 ms", "-a", "npu"], r"unknown metric 'latencies'; did you mean 'latency@npu'"),
        (
            ["allocate", "{toy}", *LIMIT, "--allocator", "qbitop"],
            r"unknown allocator 'qbitop'; did you mean 'qbitopt'\? Known: adaqat, adq",
        ),
        (
            ["allocate", "{toy}", *LIMIT, "--method", "fitt"],
            r"unknown sensitivity method 'fitt'; did you mean 'fit'\? Known: fit, fit_exact, fit_noise, hessian",
        ),
        (["sensitivity", "{toy}", "--figure", "layers.jpg"], r"jpg.*png"),
        (["sensitivity", "{toy}", "--method", "hesian"], r"unknown sensitivity method 'hesian'; did you mean 'hessian'"),
        (["accelerators", "show", "np"], r"unknown accelerator 'np'; did you mean 'npu'"),
        (["allocate", "{toy}", "-b", "weights"], r"'weights' is not a budget; write for example"),
        (["allocate", "{toy}", "-b", "weights >= 3 KiB"], r"an upper limit written with <=, got '>='"),
        (["allocate", "{toy}", "-b", "weights <= 3 ms"], r"weights is measured in .*got the unit 'ms'"),
        (["allocate", "{toy}", "-b", "weights <= 3"], r"weights is measured in .*got no unit"),
        (
            ["allocate", "{toy}", "-b", "weights <= 50%"],
            r"a relative limit names its reference; write for example 'weights <= 50% of w8a8'",
        ),
        (["allocate", "{toy}", "-b", "weights <= x% of w8a8"], r"'x' is not a percentage"),
        (["allocate", "{toy}", "-b", "weights <= -5% of w8a8"], r"the percentage must be positive, got -5"),
        (["allocate", "{toy}", "-b", "weights <= 50% of w99a8"], r"weight width must lie in 1\.\.32 bits, got 99"),
        (["allocate", "{toy}", "-b", "weights <= -3 KiB"], r"'-3 KiB' is not a quantity|must be finite and not negative"),
        (["allocate", "{toy}", "-b", "latency <= 3 ms"], r"unknown metric 'latency'"),
        (["allocate", "{toy}", "--epochs", "-1"], r"epochs"),
        (["sweep", "--task", "{toy}", "-a", "npu", "-b", "latency@npu >= 3 ms", "-o", "run"], r"an upper limit written with <=, got '>='"),
        (["sweep", "--task", "{toy}", "-a", "npu", "-b", "latency@npu = 3 ms", "-o", "run"], r"an upper limit written with <=, got '='"),
        (
            ["sweep", "--task", "{toy}", "-a", "npu", "-b", "latency@npv >= 3 ms", "-o", "run"],
            r"unknown accelerator in a budget 'npv'; did",
        ),
        (["sweep"], r"give a sweep file, or at least --task and --budget"),
    ],
)
def test_a_mistake_in_the_command_is_named(arguments: list[str], sentence: str, toy: str) -> None:
    ran = hwdse(*[a.format(toy=toy) for a in arguments])
    assert ran.code == 2, ran.err
    assert re.search(sentence, ran.said), ran.err
    assert ran.out == ""


def test_a_budget_out_of_reach_says_what_can_be_reached(toy: str) -> None:
    ran = hwdse("allocate", toy, "-b", "weights <= 100 B")
    assert ran.code == 1
    assert re.search(r"weights <= 100 B cannot be met: the smallest reachable weights is [\d.]+ KiB\. Raise the limit", ran.said)


def test_a_budget_out_of_reach_is_said_before_any_training(tmp_path: Path) -> None:
    changes = "class Slow(Toy):\n    def loss(self, output, target):\n        raise RuntimeError('it was trained')\n"
    ran = hwdse("allocate", task_file(tmp_path, changes, of="Slow"), "-b", "weights <= 100 B")
    assert "cannot be met" in ran.said
    assert ran.code == 1


def test_two_limits_in_conflict_are_both_named(toy: str, tmp_path: Path) -> None:
    ran = hwdse(
        "allocate", toy, "-a", _backwards(tmp_path), "-b", "weights <= 1.5 KiB", "-b", "bitops <= 90% of w8a8", "-b", "latency <= 2 us"
    )  # fmt: skip
    assert ran.code == 1, ran.out
    assert "weights" in ran.said
    assert "latency@backwards" in ran.said
    assert "bitops" not in ran.said


def _backwards(folder: Path) -> Path:
    """A device on which narrow weights are slow: few bytes and short times exclude one another."""
    text = (Path(__file__).parents[1] / "costmodels" / "accelerators" / "mpic.toml").read_text()
    text = re.sub(r"(?m)^(w[24]a\d) = .*$", r"\1 = 0.1", text)
    text = re.sub(r"(?m)^(w8a\d) = .*$", r"\1 = 10.0", text)
    path = folder / "backwards.toml"
    path.write_text(text.replace('name = "mpic"', 'name = "backwards"'))
    return path


# Tasks


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ("class Mine:\n    name = 'mine'\n", r"task Mine lacks metric \(.*\); model \(.*\).*scores \("),
        ("class Mine(Toy):\n    scores = 3\n", r"task Mine: 'scores' must be a method: scores\(output, target\)"),
        ("class Mine(Toy):\n    metric = 'accuracy'\n", r"task Mine: 'metric' must be the score, such as Metric\("),
        ("class Mine(Toy):\n    name = 7\n", r"task Mine: 'name' must be a short text"),
        (
            "class Mine(Toy):\n    def __init__(self, folder, size):\n        pass\n",
            r"Mine\(\) needs the arguments folder, size; give each a default",
        ),
        ("class Mine(Toy):\n    def batches(self, split, seed):\n        return []\n", r"task toy: batches\('train'\) yielded nothing"),
        ("class Mine(Toy):\n    def batches(self, split, seed):\n        return None\n", r"batches\('train'\) must give .* got NoneType"),
        (
            "class Mine(Toy):\n    def batches(self, split, seed):\n        yield torch.zeros(2, 8)\n",
            r"must yield \(inputs, target\) pairs",
        ),
        (
            "class Mine(Toy):\n    def batches(self, split, seed):\n        yield {'x': 1}, 2\n",
            r"must be a tensor, a tuple of tensors, or a dict of tensors by keyword, got int",
        ),
        ("class Mine(Toy):\n    def model(self):\n        return 'net'\n", r"model\(\) must return a torch.nn.Module, got str"),
        ("class Mine(Toy):\n    recipes = 5\n", r"'recipes' must be a hwdse.task.Recipes, got int"),
    ],
)
def test_a_task_that_lacks_something(changes: str, sentence: str, tmp_path: Path) -> None:
    ran = hwdse("allocate", task_file(tmp_path, changes, of="Mine"), *LIMIT)
    assert ran.code == 2, ran.err
    assert re.search(sentence, ran.said), ran.err


def test_a_task_that_cannot_be_found(tmp_path: Path) -> None:
    name = task_file(tmp_path, name="found_here")
    for wrong, sentence in {
        "no_such_module:Toy": "there is no module no_such_module in",
        "tasks/mine.py:Toy": "is not of the form my_package.my_module:MyTask",
        "found_here:": "is not of the form",
        name.replace(":Toy", ":Tay"): "unknown class in found_here 'Tay'; did you mean 'Toy'?",
    }.items():
        ran = hwdse("profile", wrong)
        assert ran.code == 2
        assert sentence in ran.said


def test_a_module_that_fails_at_import_says_where(tmp_path: Path) -> None:
    (tmp_path / "broken_import.py").write_text("import math\n\nwrong = math.nothing\n")
    ran = hwdse("profile", "broken_import:Task")
    assert ran.code == 2
    assert re.search(r"broken_import fails while it is imported: AttributeError: .*'nothing'.* at .*broken_import\.py, line 3", ran.said)
    (tmp_path / "lacks_package.py").write_text("import no_such_package\n")
    assert "lacks_package imports no_such_package, which is not installed" in hwdse("profile", "lacks_package:Task").said


@pytest.mark.parametrize("member", ["__init__(self)", "model(self)", "loss(self, output, target)", "batches(self, split, seed)"])
def test_an_error_in_the_users_code_is_placed(member: str, tmp_path: Path) -> None:
    changes = f"class Mine(Toy):\n    def {member}:\n        return {{}}['weights of mine']\n"
    ran = hwdse("allocate", task_file(tmp_path, changes, of="Mine"), *LIMIT)
    assert ran.code == 1, ran.err
    line = next(i for i, text in enumerate(next(tmp_path.glob("*.py")).read_text().splitlines(), 1) if "weights of mine" in text)
    called = member.partition("(")[0]
    assert re.search(rf"the task's own code failed: KeyError: 'weights of mine' at .*\.py, line {line}, in {called}", ran.said), ran.err


def test_data_that_does_not_fit_the_model(tmp_path: Path) -> None:
    changes = "class Mine(Toy):\n    def batches(self, split, seed):\n        yield torch.zeros(4, 9), torch.zeros(4, dtype=torch.long)\n"
    ran = hwdse("allocate", task_file(tmp_path, changes, of="Mine"), *LIMIT)
    assert ran.code == 1
    assert re.search(r"the task's model failed on the task's data: RuntimeError: .*shapes.* batches\(\) yields", ran.said), ran.err


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ("torch.zeros(1, 8)", r"example_inputs must be a tuple .*got Tensor\. Write \(x,\)"),
        ("(torch.zeros(1, 9),)", r"the model must run on its example inputs, \(float32\[1, 9\]\); got RuntimeError"),
        ("(torch.zeros(1, 8), torch.zeros(1))", r"the model must run on its example inputs, .*; got TypeError"),
    ],
)
def test_wrong_example_inputs(inputs: str, sentence: str, tmp_path: Path) -> None:
    changes = f"class Mine(Toy):\n    def example_inputs(self):\n        return {inputs}\n"
    ran = hwdse("profile", task_file(tmp_path, changes, of="Mine"))
    assert ran.code == 1
    assert re.search(sentence, ran.said), ran.err


def test_a_model_that_cannot_run_at_all_says_where(tmp_path: Path) -> None:
    changes = """
class Never(nn.Linear):
    def forward(self, x):
        raise ValueError("not today")

class Mine(Toy):
    def model(self):
        return Never(8, 4)
"""
    ran = hwdse("profile", task_file(tmp_path, changes, of="Mine"))
    assert ran.code == 1
    assert re.search(r"got ValueError: not today\. .* at .*\.py, line \d+, in forward", ran.said), ran.err


def test_a_model_without_layers(tmp_path: Path) -> None:
    changes = "class Mine(Toy):\n    def model(self):\n        return nn.ReLU()\n"
    name = task_file(tmp_path, changes, of="Mine")
    assert hwdse("allocate", name, *LIMIT).code in (1, 2)


# While it works


def test_a_loss_that_is_not_a_number(tmp_path: Path) -> None:
    changes = """
class Mine(Toy):
    trained = True
    calls = 0

    def loss(self, output, target):
        loss = super().loss(output, target)
        Mine.calls += 1
        return loss * float("nan") if Mine.calls > 6 else loss
"""
    ran = hwdse("allocate", task_file(tmp_path, changes, of="Mine"), *LIMIT, "--epochs", "1")
    assert ran.code == 1
    assert re.search(r"the loss is nan at step \d+; lower the learning rate, or look at the data", ran.said), ran.err
    assert not (tmp_path / "toy-allocation.json").exists()


def test_codebooks_on_an_accelerator_without_them(toy: str) -> None:
    ran = hwdse("allocate", toy, "-a", "mpic", *LIMIT, "--allocator", "adq")
    assert ran.code == 2
    assert re.search(
        r"mpic has no codebook look-up .*use --allocator qbitopt, --quantizers lsq\+lsq, or an accelerator with codebooks \(shipped: .*npu",
        ran.said,
    )


def test_a_shape_missing_from_a_table_is_an_error_never_zero(toy: str, tmp_path: Path) -> None:
    ran = hwdse("profile", toy, "-a", str(_table_only(tmp_path)))
    assert ran.code == 1, ran.out + ran.err
    assert re.search(r"nobody measured|no row|missing|not measured|has no", ran.said), ran.err
    assert ran.out == ""


def _table_only(folder: Path) -> Path:
    path = new_accelerator("strict", "t4", folder)[0]
    path.write_text(re.sub(r"(?m)^missing\s*=.*$", 'missing = "error"', path.read_text()))
    return path


# Disks


@pytest.mark.parametrize("command", ["allocate", "sensitivity"])
def test_an_impossible_output_is_said_before_the_work(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    changes = "class Slow(Toy):\n    def loss(self, output, target):\n        raise RuntimeError('it was trained')\n"
    option = {"allocate": "-o", "sensitivity": "--figure"}[command]
    ran = hwdse(command, task_file(tmp_path, changes, of="Slow"), option, "file/below/x.png")
    assert ran.code == 1
    assert re.search(r"cannot write file/below/x\.png: .*director.* Give a file in a folder that can be written", ran.said), ran.err
    assert "it is a folder" in hwdse(command, task_file(tmp_path), option, str(tmp_path)).said


def test_a_cache_that_cannot_be_written_is_noted_and_done_without(toy: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = hwdse("allocate", toy, *LIMIT, "--json", kept=tmp_path / "file" / "below")
    assert ran.code == 0
    assert re.search(r"note: nothing can be kept in .*file/below \(.*\); training and sensitivities are repeated", ran.said)
    assert json.loads(ran.out)["layers"] == json.loads(hwdse("allocate", toy, *LIMIT, "--json").out)["layers"]


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_cache_file_is_made_again(damage: bytes | None, toy: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    first = json.loads(hwdse("allocate", toy, *LIMIT, "--json", kept=kept).out)
    files = sorted(p for p in kept.iterdir() if p.is_file())
    assert [f.name.partition("-")[0] for f in files] == ["toy.fit.npz", "toy.fp32.pt"]
    before = {f: f.read_bytes() for f in files}
    for file, content in before.items():
        file.write_bytes(content[: len(content) // 2] if damage is None else damage)
    ran = hwdse("allocate", toy, *LIMIT, "--json", kept=kept)
    assert json.loads(ran.out) == {**first, "file": "toy-allocation.json"}
    assert all(len(f.read_bytes()) == len(before[f]) for f in files)
    assert cache() != kept
