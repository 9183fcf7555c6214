"""A run is damaged, one file at a time; whoever reads it gives what was there before, or a sentence that names the file."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import hwdse, task_file

from hwdse.errors import UsageError
from hwdse.record_text import record_text
from hwdse.run_files import read_own

NUMBER = 3  # of the trial that is looked at
UNREAD = ("report.html", "front.csv", "trials.csv", "budgets.csv", "budgets.tex", "fronts.tex")  # made from the record; nobody reads them


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task and two finished runs of it, without training."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        task_file(folder, name="damaged")
        for name, trials in (("run", 6), ("other", 3)):
            ran = hwdse(*sweep(name, trials))
            assert ran.code == 0, ran.err
    return folder


def sweep(folder: object, trials: int = 6) -> list[object]:
    return [
        "sweep", "--task", "damaged:Toy", "-b", "weights <= 60% of w8a8", "--trials", trials, "--epochs", 0, "--allocator", "adq",
        "-o", folder, "--no-report", "--json",
    ]  # fmt: skip


def reading(run: Path, other: Path, out: Path) -> dict[str, Callable[[], Any]]:
    """Every command that reads a run, by name; each gives its status, what it printed, and what it wrote of numbers."""

    def said(*arguments: object) -> Any:
        ran = hwdse(*arguments)
        text = re.sub(r'"(seconds|seconds_left)": .*', "", ran.out.replace(str(run), "RUN"))
        return ran.code, text, ran.err

    def report() -> Any:
        code, _, err = said("report", run, "--figures", "none", "--json")
        return code, [(run / name).read_text() if (run / name).exists() else "" for name in UNREAD], err

    def export() -> Any:
        code, _, err = said("export", run, NUMBER, "-o", out, "--no-onnx", "--trust", "--json")
        files = {f.name: f.read_bytes() for f in out.iterdir()} if code == 0 else {}
        shutil.rmtree(out, ignore_errors=True)
        return code, files, err

    return {
        "status": lambda: said("status", run, "--json"),
        "pick": lambda: said("pick", run, "--max", "weights = 60 KiB", "--sure", "accuracy >= 1 %", "--json"),
        "explain": lambda: said("explain", run, NUMBER, "--json"),
        "diff": lambda: said("diff", run, other, "--json"),
        "export": export,
        "report": report,
    }


@pytest.fixture(scope="module")
def before(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = tmp_path_factory.mktemp("before") / "run"
    shutil.copytree(home / "run", run)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        found = {name: read() for name, read in reading(run, home / "other", run.parent / "out").items()}
    assert all(code == 0 and not err for code, _, err in found.values()), found
    return found


def kept(folder: Path) -> list[str]:
    """The files of a run that somebody reads."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return [name for name in names if not name.startswith(("workers/", "figures/")) and name not in (*UNREAD, "study.db")]


def damages(seed: int) -> dict[str, Callable[[bytes], bytes]]:
    random_ = random.Random(seed)

    def flipped(content: bytes) -> bytes:
        found = bytearray(content)
        found[random_.randrange(len(found))] ^= 1 << random_.randrange(8)
        return bytes(found)

    return {
        "flipped": flipped,
        "cut": lambda content: content[: random_.randrange(len(content))],
        "empty": lambda content: b"",
        "longer": lambda content: content + b"\0",
        "digit": lambda content: re.sub(rb"\d(?=\D*$)", lambda m: b"%d" % ((int(m[0]) + 1) % 10), content, count=1),
    }


@functools.cache
def _commands_of(name: str) -> tuple[str, ...]:
    """Which commands read a file; of the others a few are tried by the slow test."""
    if name.startswith("scores"):
        return ("pick", "diff", "report")
    if name.startswith(("checkpoints", "allocations")):
        return ("pick", "export")
    return ("status", "pick", "explain", "diff", "export") if name == "record.json" else ("status", "explain", "export")


def check(home: Path, before: dict[str, Any], folder: Path, name: str, damage: Callable[[bytes], bytes], commands: tuple[str, ...]) -> None:
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(home / "run", run)
    content = (run / name).read_bytes()
    changed = damage(content)
    (run / name).write_bytes(changed)
    for command, read in reading(run, home / "other", folder / "out").items():
        if command not in commands:
            continue
        code, said, err = read()
        assert code in (0, 1, 2), (command, name, err)
        if (code, said) != before[command][:2]:
            if name == "log.jsonl":
                assert '"log_lines_damaged": 0' not in str(said)
                continue
            assert name in err, (command, name, changed, err)
            assert code or "hwdse: note:" in err, (command, name, changed)


@pytest.mark.parametrize("kind", ["flipped", "cut", "empty", "longer", "digit"])
def test_no_damage_gives_another_number_without_a_word(
    home: Path, before: dict[str, Any], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    names = ("record.json", "tables.npz", "log.jsonl", f"scores/{NUMBER}.npy", f"checkpoints/{NUMBER}.pt", f"allocations/{NUMBER}.json")
    for seed, name in enumerate(names):
        commands = _commands_of(name)
        check(home, before, tmp_path, name, damages(seed)[kind], commands if kind == "flipped" else commands[:1])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_no_damage_of_any_file_gives_another_number_without_a_word(
    home: Path, before: dict[str, Any], seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    for name in kept(home / "run"):
        for damage in damages(seed).values():
            check(home, before, tmp_path, name, damage, tuple(before))


@pytest.mark.parametrize("folder", ["scores", "checkpoints", "allocations"])
def test_files_of_one_kind_that_change_places(
    home: Path, before: dict[str, Any], folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    name = next(iter((home / "run" / folder).glob(f"{NUMBER}.*"))).name
    other = next(path for path in sorted((home / "run" / folder).iterdir()) if path.name != name)
    check(home, before, tmp_path, f"{folder}/{name}", lambda content: other.read_bytes(), _commands_of(folder))


def test_scores_of_nan_judge_nothing(home: Path, before: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)

    def nan(content: bytes) -> bytes:
        np.save(tmp_path / "nan.npy", np.full(256, np.nan, np.float32))
        return (tmp_path / "nan.npy").read_bytes()

    check(home, before, tmp_path, f"scores/{NUMBER}.npy", nan, ("pick", "diff", "report"))


@pytest.fixture
def run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(home)
    shutil.copytree(home / "run", tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("damage", ["a trial", "the head", "absent", "cut"])
def test_the_record_is_made_again_from_the_study(run: Path, damage: str) -> None:
    path = run / "record.json"
    content = path.read_text()
    damaged = {
        "a trial": content.replace('"samples": 256, ', '"samples": 257, ', 1), "the head": content.replace('"toy"', '"top"', 1),
        "absent": "", "cut": content[:-700],
    }[damage]  # fmt: skip
    assert damaged != content
    path.write_text(damaged)
    if damage == "absent":
        path.unlink()
    ran = hwdse("pick", run, "--json")
    assert ran.code == (0 if damage == "a trial" else 1 if damage == "absent" else 2)
    assert "record.json" in ran.said
    if damage == "a trial":
        assert "1 of 6 trials are not as they were written, and are left out" in ran.said
    ran = hwdse("repair", run, "--json")
    assert ran.code == 0, ran.err
    assert [(f["file"], f["left"]) for f in json.loads(ran.out)["found"]] == [("record.json", "")]
    assert path.read_text() == content
    assert hwdse("repair", run).text.endswith("every file on record is as it was written.")


def test_what_is_left_of_a_record_without_its_study(run: Path) -> None:
    (run / "study.db").unlink()
    path = run / "record.json"
    path.write_text(path.read_text().replace('"samples": 256, ', '"samples": 257, ', 1))
    ran = hwdse("repair", run, "--json")
    assert ran.code == 1
    assert "what is left is used" in json.loads(ran.out)["found"][0]["left"]
    path.write_text("{}")
    ran = hwdse("repair", run)
    assert ran.code == 2
    assert "holds no record that can be made again" in ran.said


def test_a_result_that_the_study_does_not_hold_as_it_was_kept_is_measured_again(run: Path) -> None:
    before = json.loads((run / "record.json").read_text())["trials"]
    with contextlib.closing(sqlite3.connect(run / "study.db")) as database, database:
        ((row, text),) = database.execute(
            "SELECT trial_user_attribute_id, value_json FROM trial_user_attributes WHERE key = 'result' ORDER BY 1 LIMIT 1 OFFSET 2"
        ).fetchall()
        changed = re.sub(r'"accuracy": [\d.]+', '"accuracy": 0.999', text)
        assert changed != text
        database.execute("UPDATE trial_user_attributes SET value_json = ? WHERE trial_user_attribute_id = ?", (changed, row))
    ran = hwdse("repair", run)
    assert ran.code == 0, ran.err  # the record has it
    ran = hwdse(*sweep(run))
    assert ran.code == 0, ran.err
    assert "the result of trial 2 is not as it was kept; it is measured again" in ran.said
    after = json.loads((run / "record.json").read_text())["trials"]
    assert [t["measures"] for t in after] == [t["measures"] for t in before]


def test_what_cannot_be_made_again_is_set_aside_and_said(run: Path) -> None:
    for folder in ("scores", "checkpoints", "allocations"):
        path = next((run / folder).glob(f"{NUMBER}.*"))
        path.write_bytes(damages(0)["flipped"](path.read_bytes()))
    ran = hwdse("repair", run, "--json")
    assert ran.code == 1
    said = json.loads(ran.out)
    assert {f["file"]: f["done"] for f in said["found"]} == {
        f"checkpoints/{NUMBER}.pt": f"set aside as checkpoints/{NUMBER}.pt.damaged",
        f"scores/{NUMBER}.npy": f"set aside as scores/{NUMBER}.npy.damaged",
        f"allocations/{NUMBER}.json": "made again from the record, without how its weights were rounded",
    }
    assert said["again"][str(NUMBER)].startswith("hwdse allocate damaged:Toy")
    assert hwdse("pick", run, "-o", run.parent / "mine.json").code == 0
    ran = hwdse("export", run, NUMBER, "-o", run.parent / "out", "--no-onnx", "--trust")
    assert ran.code == 1
    assert f"trial {NUMBER} has no checkpoint to hand over" in ran.said


def test_damaged_tables_are_written_anew_and_files_of_others_are_left_alone(run: Path) -> None:
    content = (run / "tables.npz").read_bytes()
    (run / "tables.npz").write_bytes(damages(0)["flipped"](content))
    (run / "tables").mkdir(exist_ok=True)
    (run / "tables" / "mine.npz").write_bytes(b"mine")
    assert hwdse("repair", run).code == 1
    ran = hwdse(*sweep(run))
    assert ran.code == 0, ran.err
    assert "tables.npz was not as it was written, and is written anew" in ran.said
    assert (run / "tables.npz").read_bytes() == content
    assert (run / "tables" / "mine.npz").read_bytes() == b"mine"
    assert hwdse("explain", run, NUMBER).code == 0  # which reads no tables but the run's own


@pytest.mark.parametrize("name", ["scores", "figures", "tables", "workers", "log.jsonl", "record.json", "tables.npz"])
def test_a_run_reaches_nothing_through_links(run: Path, name: str) -> None:
    path, elsewhere = run / name, run.parent / "elsewhere"
    if path.exists():
        os.replace(path, elsewhere)
    else:
        elsewhere.mkdir()
    path.symlink_to(elsewhere)
    before = {p: p.read_bytes() for p in [elsewhere, *elsewhere.rglob("*")] if p.is_file()}
    for arguments in (["report", run], sweep(run), ["repair", run], ["pick", run]):
        ran = hwdse(*arguments)
        assert ran.code == 2
        assert f"{path} is a symbolic link" in ran.said
    assert {p: p.read_bytes() for p in [elsewhere, *elsewhere.rglob("*")] if p.is_file()} == before


def test_a_file_of_someone_else_is_not_replaced_by_a_first_sweep(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "tables.npz").write_bytes(b"mine")
    ran = hwdse(*sweep(tmp_path / "new"))
    assert ran.code == 2
    assert "tables.npz is no file of this run, and would be replaced; move it away" in ran.said
    assert (tmp_path / "new" / "tables.npz").read_bytes() == b"mine"


def test_a_run_of_before_the_checksums_opens_with_one_line(run: Path) -> None:
    path = run / "record.json"
    data = json.loads(path.read_text())
    earlier = {key: value for key, value in data.items() if key not in ("checksums", "files")} | {"schema": "hwdse.record/1"}
    earlier["trials"] = [{key: value for key, value in t.items() if key not in ("files", "sha256")} for t in data["trials"]]
    path.write_text(json.dumps(earlier, indent=1))
    for arguments in (["pick", run], ["status", run], ["explain", run, NUMBER]):
        ran = hwdse(*arguments)
        assert ran.code == 0, ran.err
        assert ran.said.count("hwdse: note:") == 1
        assert "kept no checksums: nothing holds the files of this run" in ran.said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"measures": {"accuracy": 5.0, "weights": 100.0}}, "accuracy is 500.00 %"),
        ({"measures": {"accuracy": 0.9, "weights": -5.0}}, "weights is -5 B, and a cost is not below 0"),
        ({"measures": {"accuracy": None, "weights": 100.0}}, "accuracy is inf"),
        ({"samples": 0}, "its score stands on 0 samples"),
        ({"interval": [0.0, 0.1]}, "does not hold its score"),
        ({"test": 1.1}, "accuracy is 110.00 %"),
        ({"seconds": -1}, "it took -1.0 s"),
        ({"slack": {"weights <= 1 KiB": 5.0}}, "is not what weights of"),
    ],
)
def test_numbers_that_cannot_be_true_are_left_out(run: Path, changes: dict[str, Any], said: str) -> None:
    """By someone who wrote the checksums too."""
    data = json.loads((run / "record.json").read_text())
    trial = data["trials"][NUMBER]
    trial |= {**changes, "measures": {**trial["measures"], **changes.get("measures", {})}}
    for one in data["trials"]:
        one.pop("sha256")
    (run / "record.json").write_text(record_text(data))
    ran = hwdse("pick", run, "--json")
    assert ran.code == 0, ran.err
    assert f"record.json: trial {NUMBER} is left out: " in ran.said
    assert said in ran.said
    assert json.loads(ran.out)["trial"]["number"] != NUMBER


@pytest.mark.parametrize("name", ["../mine", "/etc/hostname", "scores/../../mine", "", "nul\0"])
def test_a_name_that_leads_out_of_a_run_is_not_read(run: Path, name: str) -> None:
    (run.parent / "mine").write_text("mine")
    with pytest.raises(UsageError, match=r"is no file of the run .* it leads out of it"):
        read_own(run, name)
