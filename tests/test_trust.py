"""Code that a run or a hand-off names: loaded only where someone has named it themselves, answered for it, or said so."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest
from commands import hwdse, task_file

from hwdse.cli import trust
from hwdse.handoff import load
from hwdse.tasks import load_task
from hwdse.tasks.recorded import UntrustedCode, check_trust, code_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task, its run, and a hand-off of one of its trials, all of them made by their owner."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        task_file(folder, name="owned")
        ran = hwdse(
            "sweep", "--task", "owned:Toy", "-b", "weights <= 90% of w8a8", "--trials", 3, "--epochs", 0, "-o", "run", "--no-report"
        )
        assert ran.code == 0, ran.err
        ran = hwdse("export", "run", 0, "-o", "deployed", "--no-onnx")  # named by the owner: not asked about
        assert ran.code == 0, ran.err
        assert "load('deployed', trust=True)" in ran.text
    return folder


@pytest.fixture
def mailed(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same at someone else's, who is in the folder that came by mail; its module leaves a trace where it is loaded."""
    folder = tmp_path / "mailed"
    shutil.copytree(made, folder, ignore=shutil.ignore_patterns("state", "__pycache__"))
    with (folder / "owned.py").open("a") as file:
        file.write("\nimport pathlib\npathlib.Path('loaded').touch()\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delitem(sys.modules, "owned", raising=False)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(made)])
    return folder


COMMANDS = [["export", "run", 0, "-o", "out", "--no-onnx"], ["pick", "run", "--export", "out", "--no-onnx"], ["worker", "run"]]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_where_nobody_can_answer_it_is_refused_before_anything_is_loaded(command: list[object], mailed: Path) -> None:
    ran = hwdse(*command)
    assert ran.code == 2
    assert "names the task 'owned:Toy', which is no part of hwdse" in ran.said
    assert str(mailed / "owned.py") in ran.said
    assert "--trust" in ran.said
    assert not (mailed / "loaded").exists()
    ran = hwdse(*command, "--trust")
    assert ran.code == (2 if command[0] == "worker" else 0), ran.said  # a worker sees that the code is another
    assert (mailed / "loaded").exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "loaded"), [("y\n", True), ("Yes\n", True), ("\n", False), ("n\n", False), ("", False), ("what?\n", False)]
)
def test_a_question_at_the_terminal(
    answer: str, loaded: bool, mailed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stderr", Terminal())
    if loaded:
        trust.allow("owned:Toy", "run", trust=False)
        monkeypatch.setattr(sys, "stdin", Terminal(""))
        trust.allow("owned:Toy", "run", trust=False)  # the answer is remembered
    else:
        with pytest.raises(UntrustedCode):
            trust.allow("owned:Toy", "run", trust=False)
    said = " ".join(sys.stderr.getvalue().split())
    assert (
        f"The run run names the task 'owned:Toy', which is no part of hwdse. Its code would be loaded and run from {mailed}/owned.py"
        in said
    )
    assert not (mailed / "loaded").exists()  # asking loads nothing


def test_other_code_of_a_trusted_name_is_asked_about_again(mailed: Path) -> None:
    trust.allow("owned:Toy", "run", trust=True)
    trust.allow("owned:Toy", "run", trust=False)
    with pytest.raises(UntrustedCode):
        trust.allow("owned:Other", "run", trust=False)
    with (mailed / "owned.py").open("a") as file:
        file.write("# changed\n")
    with pytest.raises(UntrustedCode):
        trust.allow("owned:Toy", "run", trust=False)


def test_what_cannot_be_remembered_is_asked_about_again(mailed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(mailed / "owned.py"))
    trust.allow("owned:Toy", "run", trust=True)
    assert not trust.remembered("owned:Toy")


def test_tasks_that_are_installed_need_no_trust(mailed: Path) -> None:
    check_trust("digits", "run", trust=False)
    trust.allow("digits", "run", trust=False)
    assert not trust._file().exists()


@pytest.mark.parametrize("name", ["os.path:join", "no_such_module:X", "owned.inner:X", "sys:exit", "a..b:C", ":X"])
def test_names_that_lead_nowhere_are_refused_all_the_same(name: str, mailed: Path) -> None:
    with pytest.raises(UntrustedCode, match="which is no part of hwdse"):
        trust.allow(name, "run", trust=False)


def test_code_is_found_without_loading_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "boxed" / "inner").mkdir(parents=True)
    for path in ("boxed/__init__.py", "boxed/inner/__init__.py", "boxed/inner/mine.py"):
        (tmp_path / path).write_text("raise SystemExit('loaded')\n")
    assert code_of("boxed.inner.mine:Toy") == (tmp_path / "boxed/inner/mine.py").resolve()
    assert code_of("boxed.inner:Toy") == (tmp_path / "boxed/inner/__init__.py").resolve()
    assert code_of("boxed.other:Toy") is None


def test_a_hand_off_from_others(mailed: Path) -> None:
    with pytest.raises(UntrustedCode, match=r"load\(folder, task=MyTask\(\)\), or load\(folder, trust=True\)") as caught:
        load("deployed")
    assert (caught.value.task, caught.value.file) == ("owned:Toy", mailed / "owned.py")
    assert not (mailed / "loaded").exists()
    own = load_task(task_file(mailed, name="another"))
    assert load("deployed", own).about["task"] == "owned:Toy"
    assert not (mailed / "loaded").exists()
    assert load("deployed", trust=True).about["trial"] == 0
    assert (mailed / "loaded").exists()


@pytest.mark.parametrize("way", ["absolute", "upwards", "link", "folder"])
def test_a_checkpoint_that_lies_elsewhere_is_not_read(way: str, mailed: Path, tmp_path: Path) -> None:
    file, own = mailed / "run/allocations/0.json", mailed / "run/checkpoints/0.pt"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(own, elsewhere / "0.pt")
    if way == "link":
        own.unlink()
        own.symlink_to(elsewhere / "0.pt")
    elif way == "folder":
        shutil.rmtree(own.parent)
        own.parent.symlink_to(elsewhere)
    else:
        named = {"absolute": str(elsewhere / "0.pt"), "upwards": "../../../elsewhere/0.pt"}[way]
        file.write_text(json.dumps({**json.loads(file.read_text()), "checkpoint": named}))
    ran = hwdse("export", "run", 0, "-o", "out", "--no-onnx", "--trust")
    assert ran.code == 2
    assert ("is a symbolic link" if way in ("link", "folder") else "was changed since it was written") in ran.said
    assert not (mailed / "out/handoff.json").exists()
