"""``hwdse sweep``, ``report`` and ``pick``: from the command line to the run folder and back, with what can go wrong between."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import Ran, cache, hwdse, task_file

ROOT = Path(__file__).parent


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task and a finished run of it."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        task_file(folder, name="swept")
        ran = sweep("runs/done")
    assert ran.code == 0, ran.err
    assert re.search(r"weights <= 70% of w8a8 +[\d.]+ % +[\d.]+ % +[\d.]+ KiB", ran.out)
    assert "hwdse pick runs/done --max" in ran.out
    assert "trial 4/4" in ran.err
    assert "trial 5/4" not in ran.err
    return folder


def sweep(folder: object, *more: object, task: str = "swept:Toy", trials: int = 4) -> Ran:
    return hwdse(
        "sweep", "--task", task, "-b", "weights <= 70% of w8a8", "--trials", trials, "--epochs", 0, "-o", folder, "--no-report", *more
    )  # fmt: skip


@pytest.fixture
def run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, which a test may damage; the current folder is the one with the task."""
    monkeypatch.chdir(home)
    return Path(shutil.copytree(home / "runs" / "done", tmp_path / "done"))


def test_the_same_command_goes_on_and_trains_nothing_twice(run: Path) -> None:
    before = json.loads((run / "record.json").read_text())["trials"]
    ran = sweep(run, "--json", trials=5)
    assert json.loads(ran.out)["trials"] == 5
    after = json.loads((run / "record.json").read_text())["trials"]
    assert [t["measures"] for t in after[:4]] == [t["measures"] for t in before]
    assert sweep(run, trials=2).code == 0
    assert json.loads((run / "record.json").read_text())["config"]["trials"] == 5  # as many as there are


def test_another_seed_is_refused_before_anything_is_trained_for_it(run: Path) -> None:
    ran = sweep(run, "--seed", 3)
    assert ran.code == 2
    assert "was made with another configuration (seed: was 0, now 3)" in ran.said
    assert "training" not in ran.said


def test_status_of_a_run_folder(run: Path) -> None:
    found = json.loads(hwdse("status", run, "--json").out)
    record = json.loads((run / "record.json").read_text())
    assert (found["done"], found["failed"], found["running"]) == (len(record["trials"]), 0, [])
    assert f"{found['done']} of {found['trials']} trials, 0 failed" in hwdse("status", run).text
    ran = hwdse("status", run / "nothing")
    assert ran.code == 1
    assert "record.json" in ran.said


def test_report_and_pick(run: Path, tmp_path: Path) -> None:
    assert f"Wrote {run / 'report.html'}" in hwdse("report", run, "--figures", "svg").text
    assert Path(json.loads(hwdse("report", run, "--figures", "svg", "--json").out)["report"]).stat().st_size > 10_000
    ran = hwdse("pick", run, "--max", "weights = 3 KiB", "-o", tmp_path / "mine.json", columns=80)
    assert ran.code == 0
    assert "meet weights <= 3 KiB" in ran.text
    assert "…" not in ran.out
    assert max(len(line) for line in ran.out.splitlines() if str(tmp_path) not in line) <= 80
    found = json.loads(hwdse("pick", run, "--max", "weights = 3 KiB", "--json").out)
    assert json.loads((tmp_path / "mine.json").read_text())["layers"] == found["trial"]["allocation"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["pick", "nowhere"], 1, "cannot read nowhere/record.json: No such file"),
        (["report", "nowhere"], 1, "cannot read nowhere/record.json: No such file"),
        (["report", "{run}", "--figures", "gif"], 2, "unknown figure format 'gif'"),
        (["pick", "{run}", "--max", "weight = 3 KiB"], 2, "unknown .*'weight'; did you mean 'weights'"),
        (["pick", "{run}", "--max", "weights = 3 ms"], 2, "weights is measured in"),
        (["pick", "{run}", "--max", "weights"], 2, "'weights'"),
        (["pick", "{run}", "--max", "weights = 1 B"], 1, "weights"),
    ],
)
def test_mistakes_with_a_run(arguments: list[str], code: int, sentence: str, run: Path) -> None:
    ran = hwdse(*[a.format(run=run) for a in arguments])
    assert re.search(sentence, ran.said), ran.err
    assert ran.code == code
    assert ran.out == ""


def test_damaged_tables_and_scores(run: Path) -> None:
    (run / "tables.npz").write_bytes(b"junk")
    for command in (("report", run), ("explain", run, 0)):
        ran = hwdse(*command)
        assert (ran.code, ran.out) == (2, "")
        assert "was changed since it was written" in ran.said
        assert "Give the command of the sweep again: it writes it anew" in ran.said
    assert hwdse("status", run).code == hwdse("pick", run).code == 0  # they ask the trials alone
    ran = sweep(run)
    assert ran.code == 0
    assert "tables.npz was not as it was written, and is written anew" in ran.said
    assert hwdse("explain", run, 0).code == 0
    number = json.loads(hwdse("pick", run, "--json").out)["trial"]["number"]
    (run / "scores" / f"{number}.npy").write_bytes(b"junk")
    ran = hwdse("pick", run, "--sure", "accuracy >= 1 %")
    assert ran.code == 0
    assert f"{number}.npy: was changed since it was written" in ran.said
    assert "It is left out: how sure differences of this point are goes by its interval" in ran.said
    (run / "scores" / f"{number}.npy").unlink()
    assert f"lacks {number}.npy" in hwdse("pick", run, "--sure", "accuracy >= 1 %").said


def test_a_truncated_record(run: Path) -> None:
    text = (run / "record.json").read_text()
    (run / "record.json").write_text(text[: len(text) // 2])
    for command in ("report", "pick"):
        ran = hwdse(command, run)
        assert ran.code == 2
        assert re.search(r"record\.json, line \d+: is truncated or not JSON", ran.said)
    assert sweep(run).code == 0  # the study still knows every trial
    apart = {"provenance": 0, "checksums": 0}  # it was created later
    assert json.loads((run / "record.json").read_text()) | apart == json.loads(text) | apart


@pytest.mark.parametrize("damage", ["half", "nonsense"])
def test_a_truncated_study(damage: str, run: Path) -> None:
    content = (run / "study.db").read_bytes()
    (run / "study.db").write_bytes(content[: len(content) // 2] if damage == "half" else b"nonsense" * 1000)
    assert hwdse("pick", run, "--max", "weights = 3 KiB").code == 0  # records alone are enough
    ran = sweep(run, trials=6)
    assert ran.code == 2, ran.err
    assert re.search(r"study\.db: is truncated or not a study database .*Delete the run folder to start the sweep anew", ran.said), ran.err


def test_a_folder_of_another_task_or_configuration(run: Path, home: Path) -> None:
    other = task_file(home, "class Other(Toy):\n    name = 'other'\n", of="Other")
    ran = sweep(run, task=other)
    assert ran.code == 2
    assert f"was made with another configuration (task: was swept:Toy, now {other})" in ran.said
    ran = sweep(run, "--allocator", "qbitopt")
    assert ran.code == 2
    assert "was made with another configuration (allocators: was" in ran.said


def test_an_impossible_run_folder(run: Path) -> None:
    ran = sweep(run / "record.json" / "below")
    assert ran.code == 1
    assert re.search(r"cannot write .*below: .*director", ran.said)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("task = ", "is not a TOML file"),
        ('task = "swept:Toy"', "key 'schema': must be 'hwdse.sweep/1', got None"),
        ('schema = "hwdse.sweep/1"\ntask = "swept:Toy"', "key 'budgets': is missing"),
        (
            'schema = "hwdse.sweep/1"\ntask = "swept:Toy"\nbudgets = ["weights <= 2 KiB"]\ntrial = 3',
            "key 'trial': is not a key of a sweep; did you mean 'trials'",
        ),
        ('schema = "hwdse.sweep/1"\ntask = "swept:Toy"\nbudgets = ["weights <= 3 ms"]', "weights is measured in"),
        (
            'schema = "hwdse.sweep/1"\ntask = "swept:Toy"\nbudgets = ["weights <= 2 KiB"]\ntrials = 0',
            "key 'trials': .*greater than or equal",
        ),
        ('schema = "hwdse.sweep/1"\ntask = "swept:Tay"\nbudgets = ["weights <= 2 KiB"]', "unknown class in swept 'Tay'"),
        ('schema = "hwdse.sweep/1"\ntask = "swept:Toy"\nbudgets = ["weights <= 2 KiB"]\nsampler = "tpee"', "did you mean 'tpe'"),
        ('schema = "hwdse.sweep/1"\ntask = "swept:Toy"\nbudgets = ["weights <= 2 KiB"]\nallocators = ["adqq"]', "did you mean 'adq'"),
        ('schema = "hwdse.sweep/1"\ntask = "swept:Toy"\nbudgets = ["weights <= 2 KiB"]\nsensitivity = "fitt"', "did you mean 'fit'"),
    ],
)
def test_mistakes_in_a_sweep_file(text: str, sentence: str, run: Path, tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(text)
    ran = hwdse("sweep", file, "-o", tmp_path / "new")
    assert ran.code == 2, ran.out + ran.err
    assert re.search(sentence, ran.said), ran.err


def test_a_sweep_file_that_is_not_there(run: Path) -> None:
    ran = hwdse("sweep", "no.toml")
    assert ran.code == 2
    assert "there is no file no.toml" in ran.said


@pytest.mark.slow
def test_interrupted_during_training_and_gone_on_with(run: Path, tmp_path: Path, home: Path) -> None:
    changes = """
import pathlib, time
class Mine(Toy):
    name = "stopped"

    def loss(self, output, target):
        if pathlib.Path("slow").exists() and pathlib.Path("new/record.json").exists():
            pathlib.Path("training").touch()
            time.sleep(0.05)
        return super().loss(output, target)
"""
    task_file(tmp_path, changes, name="stopped")
    (tmp_path / "slow").touch()
    command = [
        sys.executable, "-c", "from hwdse.cli import main; main()", "sweep", "--task", "stopped:Mine", "-b", "weights <= 70% of w8a8",
        "--trials", "3", "--epochs", "20", "-o", "new", "--no-report", "--json",
    ]  # fmt: skip
    environment = {**os.environ, "HWDSE_CACHE": str(cache())}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    patience = time.monotonic() + 180
    while not (tmp_path / "training").exists() and process.poll() is None and time.monotonic() < patience:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted; what has been written is whole" in err
    assert out == ""
    assert json.loads((tmp_path / "new" / "record.json").read_text())["schema"] == "hwdse.record/2"
    (tmp_path / "slow").unlink()
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["trials"] == 3
