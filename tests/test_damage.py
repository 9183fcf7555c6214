"""A run is damaged, one file at a time; whoever reads it gives what was there before, or a sentence that names the file."""

from __future__ import annotations

import functools
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import hwdse, task_file

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
        code, _, err = said("export", run, NUMBER, "-o", out, "--no-onnx", "--json")
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
        check(home, before, tmp_path, name, damages(seed)[kind], _commands_of(name))


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
