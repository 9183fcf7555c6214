"""``hwdse export``, ``pick --export`` and ``pick --what-if``: a trial as a folder, what may not be handed over, what to measure next."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import hwdse, task_file

from hwdse.errors import FileFormatError, UsageError
from hwdse.evaluation import evaluate
from hwdse.formats import Allocation
from hwdse.handoff import CostMismatch, load
from hwdse.handoff.folder import save
from hwdse.record_text import record_text
from hwdse.records import SweepRecord
from hwdse.reports.commands import reproduction
from hwdse.storage import StorageError
from hwdse.tasks import load_task


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task, a finished run of it, and one of its trials handed over."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        task_file(folder, name="handed")
        ran = hwdse(
            "sweep", "--task", "handed:Toy", "-b", "weights <= 130% of w8a8", "--trials", 7, "--epochs", 1,
            "--allocator", "adq", "--keep-checkpoints", "all", "-o", "run", "--no-report",
        )  # fmt: skip
        assert ran.code == 0, ran.err
        ran = hwdse("pick", "run", "--max", "weights = 1.5 KiB", "--export", "deployed", "--json")
        assert ran.code == 0, ran.err
        (folder / "said.json").write_text(ran.out)
    return folder


@pytest.fixture
def here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run and of the hand-off, which a test may damage; the current folder is the one with the task."""
    monkeypatch.chdir(home)
    for name in ("run", "deployed"):
        shutil.copytree(home / name, tmp_path / name)
    return tmp_path


def test_a_limit_relative_to_a_uniform_allocation(here: Path) -> None:
    absolute = json.loads(hwdse("profile", "handed:Toy", "--json").out)["uniform"]["weights w8a8"]
    said = json.loads(hwdse("pick", here / "run", "--max", "weights = 120% of w8a8", "--json").out)
    (limit,) = said["limits"]
    assert limit["limit"] == pytest.approx(1.2 * absolute)
    assert limit["found"] <= limit["limit"]


def rewrite(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes every trial of a record, and writes it as one who knows its checksums."""
    data = json.loads((run / "record.json").read_text())
    for trial in data["trials"]:
        del trial["sha256"]
        trial["slack"] = {}
        change(trial)
    (run / "record.json").write_text(record_text(data))


def test_the_command_that_measures_what_if(here: Path) -> None:
    said = json.loads(hwdse("pick", here / "run", "--what-if", "weights <= 60% of w8a8", "--json").out)
    assert said["predicted"] is None
    assert "different allocations were measured that way; a prediction needs 12" in said["not_predicted"]
    program, *words = shlex.split(said["command"])
    assert program == "hwdse"
    measured = json.loads(hwdse(*words, "-o", here / "measured.json", "--json").out)
    assert "where it is trained, widths are solved for again" in said["notes"][-1]
    assert measured["costs"]["weights"] <= said["limits"][0]["limit"]
    assert measured["scheme"] == said["fidelity"]["quantizers"]


def test_every_trial_can_be_made_again_by_its_command(here: Path) -> None:
    record = SweepRecord.load(here / "run")
    kinds = set()
    solved = next(t for t in record.trials if t.knobs["origin"] == "solver")  # untrained: given its widths, it is the same network
    refined = replace(solved, number=100, knobs={**solved.knobs, "allocation": solved.allocation.to_dict()})
    for trial in (*record.trials, refined):
        made = reproduction(record, trial)
        program, verb, *words = shlex.split(made.command)
        assert (program, verb) == ("hwdse", "allocate")
        if trial.knobs.get("allocation"):  # as the page saves it
            page = here / words[words.index("--allocation") + 1]
            page.write_text(trial.allocation.to_json(scheme=trial.knobs["scheme"]))
            words[words.index("--allocation") + 1] = str(page)
        words[words.index("-o") + 1] = str(here / "again.json")
        again = json.loads(hwdse(verb, *words, "--json").out)
        assert again["layers"] == trial.allocation.to_dict()
        assert again["score"]["value"] == trial.measures["accuracy"]
        assert again["costs"]["weights"] == trial.measures["weights"]
        kinds.add(words[1])
    assert kinds == {"--widths", "--allocation", "-b"}


def test_what_is_handed_over(home: Path, here: Path) -> None:
    said = json.loads((home / "said.json").read_text())
    about = said["export"]
    number = said["trial"]["number"]
    assert about["trial"] == number
    assert set(about["files"]) == {"allocation.json", "checkpoint.pt", "tables.npz", "model.onnx", "model.qonnx.onnx"}
    assert {key: cost["value"] for key, cost in about["costs"].items()} == {
        key: value for key, value in said["trial"]["measures"].items() if key in about["costs"]
    }
    assert about["score"]["value"] == about["score"]["found_again"] == said["trial"]["measures"]["accuracy"]
    for name in ("model.onnx", "model.qonnx.onnx"):
        assert about[name]["compared_with_pytorch"]["predictions"] == 1.0
    handed = load(here / "deployed", trust=True)
    assert handed.allocation.to_dict() == said["trial"]["allocation"]
    assert handed.costs == {key: cost["value"] for key, cost in about["costs"].items()}
    assert evaluate(handed.model.network, load_task("handed:Toy"), "validation").mean == about["score"]["value"]


def test_codebooks_are_costed_from_tables_of_their_own(here: Path) -> None:
    trials = json.loads((here / "run" / "record.json").read_text())["trials"]
    number = next(t["number"] for t in trials if t["state"] == "complete" and t["knobs"]["scheme"].startswith("codebook"))
    ran = hwdse("export", here / "run", number, "-o", here / "books", "--no-onnx", "--json")
    assert ran.code == 0, ran.err
    costs = load(here / "books", trust=True).costs
    assert costs["weights"] == trials[number]["measures"]["weights"]
    assert "indices of" in json.loads(ran.out)["layers"][1]["weight"]["levels"]


def test_without_onnx(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    ran = hwdse("export", here / "run", 2, "-o", here / "deployed")
    assert ran.code == 2
    assert "pip install 'hwdse[onnx]'" in ran.said
    assert (here / "deployed" / "model.onnx").exists()  # nothing was touched
    ran = hwdse("export", here / "run", 2, "-o", here / "deployed", "--no-onnx")
    assert ran.code == 0, ran.err
    assert "Costs recomputed from tables.npz: equal to the record." in ran.text
    assert not (here / "deployed" / "model.onnx").exists()  # that of another trial
    assert load(here / "deployed", trust=True).about["trial"] == 2


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kept", ["record.json", "study.db"])
def test_a_run_folder_is_never_handed_over_into(kept: str, here: Path) -> None:
    other = here / "other"
    shutil.copytree(here / "run", other)
    (other / ({"record.json", "study.db"} - {kept}).pop()).unlink()
    before = _content(other)
    for arguments in (
        ["export", here / "run", 2, "-o", other, "--no-onnx"],
        ["pick", here / "run", "--export", other, "-o", here / "mine.json"],
    ):
        ran = hwdse(*arguments)
        assert (ran.code, ran.out) == (2, "")
        assert f"is a run (it holds {kept})" in ran.said
    assert _content(other) == before
    assert not (here / "mine.json").exists()
    with pytest.raises(UsageError, match="into a folder of its own"):
        save(other, {"tables.npz": b""}, {})
    assert _content(other) == before


def test_an_allocation_file_that_the_record_contradicts_is_not_handed_over(here: Path) -> None:
    number = json.loads(hwdse("pick", here / "run", "--json").out)["trial"]["number"]
    rewrite(here / "run", lambda trial: trial.update(files={}))  # as in a run whose files no checksum holds
    path = here / "run" / "allocations" / f"{number}.json"
    data = json.loads(path.read_text())
    changed = list(data["layers"])[1]
    data["layers"][changed] = "w7a7"
    path.write_text(json.dumps(data))
    for arguments in (
        ["pick", here / "run"],
        ["pick", here / "run", "-o", here / "mine.json"],
        ["export", here / "run", number, "-o", here / "new", "--no-onnx"],
    ):
        ran = hwdse(*arguments)
        assert (ran.code, ran.out) == (2, "")
        assert f"must have the widths of trial {number} on record, got others: {changed} is w7a7, on record" in ran.said
    assert not (here / "mine.json").exists()
    assert not (here / "new" / "handoff.json").exists()
    path.write_bytes(b"\xff\xfe")
    assert "is not UTF-8 text" in hwdse("pick", here / "run").said


def test_an_allocation_file_that_is_gone_is_made_from_the_record(here: Path) -> None:
    said = json.loads(hwdse("pick", here / "run", "--json").out)
    assert Path(said["allocation"]).exists()
    Path(said["allocation"]).unlink()
    number = said["trial"]["number"]
    assert json.loads(hwdse("pick", here / "run", "--json").out)["allocation"] is None
    ran = hwdse("pick", here / "run")
    assert f"Allocation: the widths above, from the record; the run folder has no {number}.json." in ran.text
    ran = hwdse("pick", here / "run", "-o", here / "mine.json")
    assert ran.code == 0, ran.err
    assert f"{here / 'mine.json'}, made from the record" in ran.out.replace("\n", " ")
    assert Allocation.from_json((here / "mine.json").read_text()).to_dict() == said["trial"]["allocation"]
    ran = hwdse("export", here / "run", number, "-o", here / "new", "--no-onnx")
    assert ran.code == 0, ran.err
    assert load(here / "new", trust=True).allocation.to_dict() == said["trial"]["allocation"]


def test_a_record_that_its_tables_contradict(here: Path) -> None:
    rewrite(here / "run", lambda trial: trial["measures"].update(weights=trial["measures"]["weights"] * 0.9))
    ran = hwdse("export", here / "run", 2, "-o", here / "new")
    assert ran.code == 1
    assert "the costs of trial 2 are not those of its tables: weights is" in ran.said
    assert not (here / "new" / "handoff.json").exists()


def test_a_checkpoint_of_another_trial(here: Path) -> None:
    rewrite(here / "run", lambda trial: trial.update(files={}))  # as in a run whose files no checksum holds
    checkpoints = here / "run" / "checkpoints"
    shutil.copy(checkpoints / "0.pt", checkpoints / "2.pt")
    ran = hwdse("export", here / "run", 2, "-o", here / "new")
    assert ran.code == 2
    assert "is at other widths than the allocation it belongs to" in ran.said


def test_a_checkpoint_that_scores_otherwise(here: Path) -> None:
    rewrite(here / "run", lambda trial: trial.update(files={}))  # as in a run whose files no checksum holds
    path = here / "run" / "checkpoints" / "2.pt"
    state = torch.load(path, weights_only=True)
    for name, value in state["network"].items():
        if name.endswith("bias"):
            value += 3 * torch.arange(len(value))
    torch.save(state, path)
    ran = hwdse("export", here / "run", 2, "-o", here / "new")
    assert ran.code == 1
    assert "the checkpoint of trial 2 scores" in ran.said


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["export", "{run}", 99, "-o", "{new}"], 2, "unknown trial '99'"),
        (["export", "{run}", 2, "-o", "{run}/record.json"], 1, "cannot write to"),
        (["export", "nowhere", 2, "-o", "{new}"], 1, "cannot read nowhere/record.json"),
        (["pick", "{run}", "--max", "weights = 1 B", "--export", "{new}"], 1, "no measured point"),
    ],
)
def test_mistakes(here: Path, arguments: list[object], code: int, sentence: str) -> None:
    ran = hwdse(*(str(a).format(run=here / "run", new=here / "new") for a in arguments))
    assert (ran.code, ran.out) == (code, "")
    assert sentence in ran.said
    (here / "run" / "checkpoints" / "2.pt").unlink()
    assert "trial 2 has no checkpoint to hand over" in hwdse("export", here / "run", 2, "-o", here / "new").said


def test_a_hand_off_that_was_changed(here: Path) -> None:
    folder = here / "deployed"
    about = json.loads((folder / "handoff.json").read_text())
    about["costs"]["weights"]["value"] -= 1
    (folder / "handoff.json").write_text(json.dumps(about))
    with pytest.raises(CostMismatch, match=r"the costs of the hand-off .* are not those of its tables: weights is"):
        load(folder, trust=True)
    (folder / "allocation.json").write_text((folder / "allocation.json").read_text().replace("w8", "w7"))
    with pytest.raises(FileFormatError, match="was changed since it was handed over"):
        load(folder, trust=True)
    (folder / "allocation.json").unlink()
    with pytest.raises(StorageError, match=r"cannot read .*allocation\.json"):
        load(folder, trust=True)
    (folder / "handoff.json").write_text('{"schema": "other/1"}')
    with pytest.raises(FileFormatError, match=r"must have schema .hwdse\.handoff/1., got .other/1."):
        load(folder, trust=True)


def test_a_hand_off_with_another_task(here: Path) -> None:
    with pytest.raises(UsageError, match="the checkpoint is of another model"):
        load(here / "deployed", load_task("digits"))
