"""The log of a run: whole lines from many processes, and what is running by it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from multiprocessing import get_context
from pathlib import Path

import pytest

from hwdse.checksums import stamped
from hwdse.errors import UsageError
from hwdse.sweeps import SweepConfig
from hwdse.sweeps.log import FILE, Log, append, read, running
from hwdse.sweeps.starting_file import new_sweep


def _many(folder: Path, start: int) -> None:
    for i in range(50):
        append(folder, "started", start + i, what="x" * 200)


def test_lines_of_many_processes_stay_whole(tmp_path: Path) -> None:
    context = get_context("spawn")
    workers = [context.Process(target=_many, args=(tmp_path, 100 * k)) for k in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    events = read(tmp_path).events
    assert {e["trial"] for e in events} == {100 * k + i for k in range(3) for i in range(50)}
    assert len((tmp_path / FILE).read_text().splitlines()) == 150


def test_what_has_started_and_not_ended_is_running(tmp_path: Path) -> None:
    append(tmp_path, "started", 0, what="one")
    append(tmp_path, "ended", 0, state="complete")
    append(tmp_path, "started", 1, what="two")
    assert [(r.trial, r.what) for r in running(read(tmp_path).events)] == [(1, "two")]
    append(tmp_path, "started", 2, what="three")  # the same process: it gave the second up
    assert [r.trial for r in running(read(tmp_path).events)] == [2]


def test_processes_that_have_ended_run_nothing(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    append(tmp_path, "started", 0, what="killed")
    event = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(stamped({**event, "process": f"{os.uname().nodename}:{gone.pid}"})) + "\n")
    assert running(read(tmp_path).events) == []
    (tmp_path / FILE).write_text(json.dumps(stamped({**event, "process": f"elsewhere:{gone.pid}"})) + "\n")
    assert [r.trial for r in running(read(tmp_path).events)] == [0]  # nobody knows from here
    append(tmp_path, "started", 1, what="interrupted")
    append(tmp_path, "released", 1)
    assert [r.trial for r in running(read(tmp_path).events)] == [0]


def test_a_line_cut_off_by_a_crash_is_passed_over(tmp_path: Path) -> None:
    append(tmp_path, "started", 0, what="one")
    whole = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(whole + '[]\n{"time": 1}\n' + whole[:20])
    assert (len(read(tmp_path).events), read(tmp_path).damaged) == (1, 3)
    assert read(tmp_path / "nowhere") == Log(())
    append(tmp_path / "nowhere", "started", 1)  # stops nothing


@pytest.mark.parametrize("damage", [b"\xff", b"\x00", b'"', b"\n", b"[" * 100_000, b"9" * 5000])
def test_damage_in_one_line_leaves_the_others(tmp_path: Path, damage: bytes) -> None:
    for number in range(3):
        append(tmp_path, "started", number, what="one")
    first, second, third = (tmp_path / FILE).read_bytes().splitlines(keepends=True)
    (tmp_path / FILE).write_bytes(first + second.replace(b'"trial": ', b'"trial": ' + damage) + third)
    found = read(tmp_path)
    assert [event["trial"] for event in found.events] == [0, 2]
    assert found.damaged >= 1


@pytest.mark.parametrize(
    "event", [{"time": "now"}, {"time": "2026-01-01T00:00:00"}, {"trial": "1"}, {"trial": -1}, {"event": 3}, {"time": 5}]
)
def test_a_line_that_is_json_and_no_event_is_damaged(tmp_path: Path, event: dict[str, object]) -> None:
    append(tmp_path, "started", 0)
    whole = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(whole | event) + "\n")
    assert read(tmp_path) == Log((), 1)


def test_a_new_sweep_file_says_every_key_and_can_be_read(tmp_path: Path) -> None:
    path = new_sweep(tmp_path / "mine.toml", "digits", ["mpic", "npu"], ["latency@mpic <= 2 ms", 'weights <= "x"'])
    config = SweepConfig.load(path)
    assert (config.task, config.accelerators, config.budgets) == (
        "digits",
        ("mpic", "npu"),
        (("latency@mpic <= 2 ms",), ('weights <= "x"',)),
    )
    text = path.read_text()
    for key in SweepConfig.model_fields:
        if key not in ("schema_", "baseline_epochs"):
            assert f"{key} =" in text, key
    shown = [line.removeprefix("# ").partition("#")[0] for line in text.splitlines() if line.startswith("# ") and " = " in line]
    defaults = SweepConfig.load(path)
    for line in shown:
        ((key, value),) = tomllib.loads(line).items()
        if key not in ("formats", "quantizers", "objective", "patience", "decode", "device"):  # examples, not defaults
            assert json.loads(json.dumps(defaults.plain()[key])) == value, key
    with pytest.raises(UsageError, match="there already"):
        new_sweep(path, "digits", [], [])
