"""Workers that die, freeze and come back: nothing is lost, nothing is counted twice. On SQLite, and on a PostgreSQL server of our own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from commands import cache, hwdse, task_file
from hypothesis import given
from hypothesis import strategies as st
from postgres import Server

from hwdse.cli.worker import bench_of, make_team
from hwdse.constraints import Budget
from hwdse.costmodels import cost_model, load_accelerator
from hwdse.errors import HwdseError, UsageError
from hwdse.formats import LayerFormat
from hwdse.records import SweepRecord, TrialResult
from hwdse.storage import StorageError, locked
from hwdse.sweeps import Knobs, Place, Plan, SweepConfig, Team, run_sweep, run_trial, run_worker
from hwdse.sweeps.database import persistent, shown
from hwdse.sweeps.engine import _Sweep
from hwdse.sweeps.finding import open_database
from hwdse.sweeps.recording import record_of
from hwdse.sweeps.space import Space
from hwdse.sweeps.study import Claim, Standing, Study
from hwdse.sweeps.tries import RETRIES
from hwdse.sweeps.workers import here
from hwdse.tasks import load_task
from hwdse.workbench import Workbench

ROOT = Path(__file__).parents[1]
PLAN = Plan({(None, 0): Budget()}, {(None, 0): 0.5})
QUEUE = [Knobs("uniform", None, None, widths=f"w{n}a{n}", origin="baseline") for n in (8, 6, 4)]
BASE: dict[str, Any] = {"task": "digits", "budgets": [["weights <= 2 KiB"]], "epochs": [0]}


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Place(tmp_path)
    return Place(tmp_path, request.getfixturevalue("server").url, tmp_path.name)


@pytest.fixture
def join(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Study]]:
    """Makes workers, each as another process would be."""
    made: list[Study] = []
    monkeypatch.setattr("hwdse.sweeps.study.about", lambda knobs, plan: knobs.to_dict())

    def make(trials: int = 3, identity: str = "same", queue: list[Knobs] = QUEUE, **more: Any) -> Study:
        config = SweepConfig.make("test", trials=trials, **BASE)
        values = {"seed": "0", "torch": "2", "trained weights": identity}
        made.append(Study(place, config, PLAN, values, ["maximize", "minimize"], lambda r: [r.measures["score"], 0.5], queue, **more))
        return made[-1]

    yield make
    for study in made:
        study.close()


def died(study: Study) -> None:
    """As the system and the server see it after kill -9."""
    study.database.close()


def claimed(study: Study) -> Claim:
    claim = study.claim()
    assert isinstance(claim, Claim)
    return claim


def result(claim: Claim, score: float = 0.5) -> TrialResult:
    return TrialResult(claim.number, claim.knobs.to_dict(), "complete", measures={"score": score}, slack={"weights": 1.0})


def finish(study: Study) -> list[int]:
    numbers = []
    while isinstance(claim := study.claim(), Claim):
        assert study.keep(claim, result(claim))
        numbers.append(claim.number)
    return numbers


def test_the_trial_of_a_dead_worker_is_run_again_under_its_number(join: Callable[..., Study]) -> None:
    one, other = join(), join(join=True)
    lost = claimed(one)
    died(one)
    assert finish(other) == [0, 1, 2]
    assert lost.number == 0
    assert [r.number for r in other.results] == [0, 1, 2]
    assert [r.knobs["widths"] for r in other.results] == ["w8a8", "w6a6", "w4a4"]


def test_a_worker_that_died_between_keeping_and_telling_is_counted_once(
    join: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = join(), join(join=True)
    claim = claimed(one)
    monkeypatch.setattr(one, "_end", lambda row, result: None)
    one.keep(claim, result(claim))
    died(one)
    assert finish(other) == [1, 2]
    assert [r.number for r in other.results] == [0, 1, 2]
    assert other.standing() == Standing(3, 3, 0, 0)
    assert all(t.values for t in other.study.trials)  # the sampler has seen it too


def test_a_frozen_worker_finds_its_trial_given_to_another(join: Callable[..., Study]) -> None:
    frozen, other = join(), join(join=True)
    claim = claimed(frozen)
    died(frozen)  # so it seems
    finish(other)
    assert not frozen.keep(claim, result(claim, 0.9))
    assert [r.measures["score"] for r in other.results] == [0.5] * 3
    assert frozen.claim() == Standing(3, 3, 0, 0)  # and it goes on


def test_a_worker_that_has_not_signed_for_long_counts_as_dead(server: Server, join: Callable[..., Study], place: Place) -> None:
    one, other = join(), join(join=True)
    lost = claimed(one)
    if place.url is None:  # no clock is asked where the study is a file
        assert finish(other) == [1, 2]
        return
    server.psql("UPDATE hwdse_workers SET seen = now() - interval '1 day'")  # or its clock has jumped
    assert finish(other) == [lost.number, 1, 2]
    assert not one.keep(lost, result(lost))


def test_a_clock_that_is_set_back_keeps_no_dead_worker_alive(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWDSE_GRACE", "1")
    place = Place(tmp_path, server.url, tmp_path.name)
    dead, other = open_database(place), open_database(place)
    dead.enrol()
    other.enrol()
    dead._stop.set()  # type: ignore[attr-defined]  # killed: it signs no more
    server.psql("UPDATE hwdse_workers SET seen = now() + interval '1 hour'")
    both = {dead.worker, other.worker}
    assert other.alive(both) == both  # one grace period more
    time.sleep(1.5)
    assert other.alive(both) == {other.worker}
    other.close()
    dead.close()


def test_a_full_disk_is_said(join: Callable[..., Study], place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlalchemy.exc

    def full(*rest: object) -> None:
        raise sqlalchemy.exc.OperationalError("INSERT", {}, OSError("database or disk is full"))

    one = join()
    claim = claimed(one)
    monkeypatch.setattr(one, "_keep", full)
    monkeypatch.setattr("hwdse.sweeps.database.PATIENCE", 0.0)
    with pytest.raises(StorageError, match="database or disk is full"):
        one.keep(claim, result(claim))
    monkeypatch.undo()
    assert one.keep(claim, result(claim))  # there is room again


def test_a_result_that_was_kept_unknowingly_may_be_kept_again(join: Callable[..., Study]) -> None:
    one = join()
    claim = claimed(one)
    assert one.keep(claim, result(claim))
    assert one.keep(claim, result(claim))  # the answer to the first was lost
    assert one.standing().done == 1


def test_a_taking_that_was_cut_off_is_taken_again(join: Callable[..., Study]) -> None:
    one = join()
    claimed(one)  # as if its answer had been lost
    assert sorted(finish(one)) == [0, 1, 2]


def test_no_more_are_started_than_are_missing(join: Callable[..., Study]) -> None:
    one, other = join(trials=2), join(trials=2, join=True)
    first, second = claimed(one), claimed(other)
    third = join(trials=2, join=True)
    assert third.claim() == Standing(2, 0, 0, 2)  # waits
    one.keep(first, result(first))
    died(other)
    assert claimed(third).number == second.number  # the last one's worker died: it is taken over
    assert third.standing() == Standing(2, 1, 0, 1)


def test_an_interrupted_trial_is_given_back_and_no_death_counted(join: Callable[..., Study]) -> None:
    one = join(queue=QUEUE[:1], trials=1)
    for _ in range(RETRIES + 2):
        one.release(claimed(one))
    assert finish(one) == [0]


def test_a_trial_that_kills_its_workers_is_given_up(join: Callable[..., Study]) -> None:
    for _ in range(RETRIES + 1):
        one = join(queue=QUEUE[:1], trials=1)
        assert claimed(one).number == 0
        died(one)
    last = join(queue=QUEUE[:1], trials=1)
    assert last.claim() == Standing(1, 1, 1, 0)
    assert [(r.number, r.state, r.error) for r in last.results] == [(0, "failed", "its worker died 6 times (killed, out of memory?)")]


def test_what_the_sampler_had_proposed_is_proposed_again(join: Callable[..., Study]) -> None:
    one, other = join(queue=[]), join(queue=[], join=True)
    lost = claimed(one)
    died(one)
    again = claimed(other)
    assert (again.number, again.knobs) == (lost.number, lost.knobs)
    assert claimed(join(queue=[], join=True)).knobs != again.knobs  # workers at one time do not propose the same


def test_a_proposal_is_made_without_the_lock_and_for_one_number(join: Callable[..., Study]) -> None:
    asked: list[int] = []
    other = join(queue=[])

    def propose(results: Any, at_work: Any) -> Knobs:
        asked.append(len(results) + len(at_work))
        if len(asked) == 1:
            assert claimed(other).number == 0  # meanwhile
        return Knobs("adq", None, 0, tightness=0.9, origin="refine")

    one = join(queue=[], propose=propose, join=True)
    claim = claimed(one)
    assert (claim.number, claim.knobs.origin, asked) == (1, "refine", [0, 1])


def test_of_two_that_held_one_number_the_first_is_kept(join: Callable[..., Study]) -> None:
    one, other = join(), join(join=True)
    claim = claimed(one)
    twin = other._start(claim.number, claim.knobs)  # as after a lock that was lost while it was held
    assert other.keep(twin, result(twin, 0.9))
    assert not one.keep(claim, result(claim, 0.1))
    assert [r.measures["score"] for r in one.results] == [0.9]
    assert one.standing().done == 1


@given(st.floats(0.5, 0.9), st.floats(0.0, 1.0), st.sampled_from(["qbitopt", "adq"]))
def test_what_the_sampler_is_told_is_what_it_would_have_chosen(least: float, share: float, allocator: str) -> None:
    config = SweepConfig.make("test", **BASE, tightness=[0.4, 0.9])
    space = Space(config, Plan({(None, 0): Budget()}, {(None, 0): least}))
    knobs = Knobs(allocator, None, 0, round(least + share * (0.9 - least), 4))
    there = space.point(knobs)
    assert there
    assert abs(space.knobs(there).tightness - knobs.tightness) < 2e-4 or least == 0.9
    assert space.point(Knobs(allocator, None, 0, 1.0)) == {}  # the sampler cannot choose it


def test_a_worker_that_dies_while_the_sampler_thinks_leaves_nothing(join: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = join(queue=[]), join(queue=[], join=True)

    def dying(found: Any) -> Knobs:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(one.space, "knobs", dying)
        with pytest.raises(KeyboardInterrupt):
            one.claim()
    died(one)
    assert finish(other) == [0, 1, 2]


def test_workers_that_start_at_once_take_each_trial_once(join: Callable[..., Study]) -> None:
    made: list[int] = []
    threads = [threading.Thread(target=lambda: made.extend(finish(join()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [0, 1, 2]


def test_a_study_of_another_schema_is_refused(join: Callable[..., Study]) -> None:
    join().study.set_user_attr("schema", "hwdse.study/9")
    with pytest.raises(UsageError, match=r"study of the schema 'hwdse.study/9'.*reads 'hwdse.study/2'"):
        join()


def test_more_trials_than_before_go_on_with_the_first(join: Callable[..., Study]) -> None:
    assert finish(join(trials=2)) == [0, 1]
    more = join(trials=4)
    assert finish(more) == [2, 3]
    assert [r.knobs["widths"] for r in more.results] == ["w8a8", "w6a6", "w4a4", None]


def test_another_identity_is_refused_and_what_differs_is_said(join: Callable[..., Study]) -> None:
    join()
    with pytest.raises(UsageError, match=r"what differs: trained weights\..*set HWDSE_CACHE to one folder"):
        join(identity="other", join=True)


def test_a_stopped_sweep_starts_nothing_until_it_is_asked_for_again(join: Callable[..., Study]) -> None:
    one = join()
    one.stop("the hypervolume has stopped growing")
    assert one.claim() == Standing(3, 0, 0, 0, "the hypervolume has stopped growing")
    assert finish(join()) == [0, 1, 2]


def test_a_server_that_goes_away_is_waited_for(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    study = Study(
        Place(tmp_path, server.url, tmp_path.name), SweepConfig.make("test", trials=3, **BASE), PLAN, {}, ["maximize", "minimize"],
        lambda r: [0.5, 0.5], QUEUE, say=said.append,
    )  # fmt: skip
    claim = claimed(study)
    server.stop()
    threading.Timer(1.0, server.start).start()
    assert study.keep(claim, result(claim))
    assert finish(study) == [1, 2]
    assert said
    assert "se%7B" not in str(said)
    assert "me:***@127.0.0.1" in said[0]
    server.stop()
    monkeypatch.setattr("hwdse.sweeps.database.PATIENCE", 0.0)
    with pytest.raises(HwdseError, match=r"cannot reach postgresql://me:\*\*\*@.*Is the server running"):
        persistent(study.database, study.standing, said.append)
    study.close()
    server.start()


# Processes that are killed


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        task_file(folder, name="killed")
    return folder


@pytest.fixture
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(home)
    monkeypatch.setenv("HWDSE_CACHE", str(cache()))
    return home


@pytest.fixture
def toy(at_home: Path) -> tuple[SweepConfig, Workbench]:
    config = SweepConfig.make(
        "test", task="killed:Toy", budgets=[["weights <= 70% of w8a8"], ["bitops <= 50% of w8a8"]], epochs=[0, 1], trials=17
    )
    return config, bench_of(config, lambda what, done, total: None)


def measured(record: SweepRecord) -> dict[int, Any]:
    """What must not depend on who ran a trial, and in which order."""
    told = ("allocator", "budget", "epochs", "widths", "origin", "scheme")
    return {t.number: ({k: t.knobs[k] for k in told}, t.allocation, t.measures, t.state) for t in record.trials}


def test_a_sweep_without_workers_of_its_own_waits_for_those_of_others(toy: tuple[SweepConfig, Workbench], place: Place) -> None:
    config, bench = toy
    few = config.model_copy(update={"trials": 4, "epochs": (0,)})
    team = Team(0, here([], []), place.folder / "logs", lambda text: None)
    with ThreadPoolExecutor(1) as other:
        watching = other.submit(run_sweep, bench, few, place.folder, place=place, team=team)
        while not (place.folder / "record.json").exists():
            assert not watching.done()
            time.sleep(0.05)
        assert run_worker(bench, few, place) == 4
        record = watching.result(timeout=30)
    assert [t.state for t in record.trials] == ["complete"] * 4
    assert any(t.test is not None for t in record.trials)


@pytest.mark.slow
def test_killed_at_random_moments(toy: tuple[SweepConfig, Workbench], place: Place, request: pytest.FixtureRequest, at_home: Path) -> None:
    config, bench = toy
    whole = run_sweep(bench, config, place.folder / "whole")
    place = Place(place.folder / "run", place.url, place.study)
    _Sweep(bench, config, place, None, None).study.close()
    asked: dict[str, Any] = {"folder": str(place.folder), "study": place.study, "workers": 2, "kills": 8, "mean": 0.25, "seed": 1}
    environment = {**os.environ, "HWDSE_GRACE": "2", "PYTHONPATH": str(at_home)}
    if place.url is not None:
        environment["HWDSE_STORAGE"] = place.url
        asked["server"] = request.getfixturevalue("server").described()  # restarted in the middle
    done = subprocess.run(
        [sys.executable, "-P", str(ROOT / "killing.py"), json.dumps(asked)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["killed"] > 3  # as many as there was time for
    assert found["restarted"] == (place.url is not None)
    record = run_sweep(bench, config, place.folder, place=place)
    assert measured(record) == measured(whole)


@pytest.mark.slow
def test_interrupting_a_team(at_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = """
import os, pathlib, time
class Slow(Toy):
    name = "slow"

    def loss(self, output, target):
        if pathlib.Path("run/workers").exists() and pathlib.Path("slow").exists():
            pathlib.Path(f"training{os.getpid()}").touch()
            time.sleep(0.05)
        return super().loss(output, target)
"""
    (tmp_path / "slow.py").write_text((at_home / "killed.py").read_text() + changes)
    (tmp_path / "slow").touch()
    asked = ["sweep", "--task", "slow:Slow", "-b", "weights <= 70% of w8a8", "--trials", "3", "--epochs", "20", "-o", "run", "--no-report"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from hwdse.cli import main; main()", *asked, "--json", "--workers", "2"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 240
    while len(list(tmp_path.glob("training*"))) < 2 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert out == ""
    assert "interrupted; what has been written is whole" in err
    assert "Traceback" not in err + "".join(p.read_text() for p in (tmp_path / "run" / "logs").iterdir())
    workers = [int(p.name.removeprefix("training")) for p in tmp_path.glob("training*")]
    assert len(workers) == 2
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
    assert not list((tmp_path / "run" / "workers").glob("*-*.lock"))
    assert SweepRecord.load(tmp_path / "run").trials == ()
    (tmp_path / "slow").unlink()
    monkeypatch.chdir(tmp_path)
    ran = hwdse(*asked, "--json")  # goes on
    assert ran.code == 0, ran.err
    assert [t.number for t in SweepRecord.load(tmp_path / "run").trials] == [0, 1, 2]


def team(tmp_path: Path, code: str, count: int = 1) -> tuple[Team, list[str]]:
    said: list[str] = []
    return Team(count, here([sys.executable, "-c", code], [dict(os.environ)] * count), tmp_path / "logs", said.append), said


def watched(made: Team, standing: Standing) -> list[int]:
    buried: list[int] = []
    until = time.monotonic() + 30
    made.start()
    while made.watch(standing, buried.append) and time.monotonic() < until:
        time.sleep(0.01)
    return buried


def test_a_worker_that_dies_is_started_again_and_in_the_end_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwdse.sweeps.workers.RESTARTS", 2)
    made, said = team(tmp_path, "import os; print('hwdse: no memory'); os.kill(os.getpid(), 9)")
    with pytest.raises(
        HwdseError, match=r"every worker has died 3 times in a row with no trial done; the last was killed by SIGKILL: no memory"
    ):
        watched(made, Standing(3, 0, 0, 0))
    assert len(said) == 2
    assert "worker 1 was killed by SIGKILL" in said[0]


def test_a_worker_that_says_what_is_wrong_is_not_started_again(tmp_path: Path) -> None:
    made, said = team(tmp_path, "import sys; print('hwdse: another identity'); sys.exit(2)", 2)
    with pytest.raises(HwdseError, match=r"worker \d ended with status 2: another identity"):
        watched(made, Standing(3, 0, 0, 0))
    made.end(0)
    assert said == []


def test_workers_that_end_are_left_alone(tmp_path: Path) -> None:
    made, said = team(tmp_path, "", 2)
    assert len(watched(made, Standing(3, 3, 0, 0))) == 2
    assert said == []


def test_each_worker_has_its_share_of_the_machine(
    toy: tuple[SweepConfig, Workbench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, bench = toy
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8))
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    asked: list[Any] = []
    monkeypatch.setattr("hwdse.cli.worker.here", lambda *given: asked.extend(given))
    make_team(Place(tmp_path, "postgresql://me:secret@host/db", "mine"), "cuda", 3, bench)
    command, environments = asked
    assert [e["CUDA_VISIBLE_DEVICES"] for e in environments] == ["4", "6", "4"]
    assert {e["OMP_NUM_THREADS"] for e in environments} == {"2"}
    assert "secret" not in " ".join(command)  # everyone may list the arguments of processes
    bare = Workbench(bench.task, cache=None)
    with pytest.raises(UsageError, match="set HWDSE_CACHE"):
        make_team(Place(tmp_path), "cpu", 2, bare)


# Shared work once


def test_what_several_need_is_made_once(bench: Workbench, tmp_path: Path) -> None:
    calls, said = [], []

    def make() -> bytes:
        calls.append(1)
        time.sleep(0.3)
        return b"made"

    def one() -> None:
        own = Workbench(bench.task, cache=tmp_path, say=lambda what, done, total: said.append(what))
        assert own._kept("it", "key", make, lambda data, path: data) == b"made"

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert said.count("waiting for another process that makes it") == 2


def test_a_lock_goes_with_its_holder(tmp_path: Path) -> None:
    code = "import sys, time, pathlib; from hwdse.storage import locked\n"
    code += f"with locked(pathlib.Path({str(tmp_path / 'l')!r})): print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        threading.Timer(0.2, holder.kill).start()
        waited: list[int] = []
        with locked(tmp_path / "l", lambda: waited.append(1)):
            assert waited


# Bad input


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://me:geheim@h:1/d", "postgresql://me:***@h:1/d"),
        ("postgresql+psycopg://me:ge:h@im@h/d", "postgresql://me:***@h/d"),
        ("postgresql://h/d?user=me&password=geheim&sslmode=require", "postgresql://h/d?user=me&password=***&sslmode=require"),
        ("postgresql://me@h/d", "postgresql://me@h/d"),
    ],
)
def test_passwords_are_never_shown(url: str, told: str) -> None:
    assert shown(url) == told
    assert "geheim" not in str(Place(Path("runs/x"), url))


@pytest.mark.parametrize(
    ("url", "code", "sentence"),
    [
        ("postgresql://me:geheim@127.0.0.1:{port}/studies", 1, "denies access: .*password authentication failed for user"),
        ("postgresql://me@127.0.0.1:{port}/studies", 1, "denies access: .*no password supplied.*PGPASSWORD"),
        ("{url}x", 1, 'database "studiesx" does not exist. Make it with createdb'),
        ("postgresql://me:geheim@127.0.0.1:1/x", 1, "cannot reach postgresql://me:\\*\\*\\*@127.0.0.1:1/x: .*Connection refused"),
        ("mysql://me:geheim@host/x", 2, "must be a URL such as postgresql://USER@HOST:5432/DATABASE, got mysql"),
        ("geheim", 2, "must be a URL such as postgresql://"),
        ("{url}", 2, "holds no study 'nothing'"),
    ],
)
def test_servers_that_cannot_be_used(url: str, code: int, sentence: str, server: Server, at_home: Path, tmp_path: Path) -> None:
    import re

    url = url.format(port=server.port, url=server.url)
    ran = hwdse("worker", tmp_path, "--storage", url, "--study", "nothing")
    assert re.search(sentence, ran.said), ran.err
    assert ran.code == code
    assert "geheim" not in ran.err
    assert "se%7B" not in ran.err


def test_tables_of_another_version(server: Server, at_home: Path, tmp_path: Path) -> None:
    server.psql("CREATE DATABASE older", "postgres")
    url = server.url.replace("/studies", "/older")
    hwdse("worker", tmp_path, "--storage", url, "--study", "nothing")  # makes the tables
    server.psql("UPDATE alembic_version SET version_num = 'v0.9.0.a'", "older")
    ran = hwdse("worker", tmp_path, "--storage", url, "--study", "nothing")
    assert "are of another version of Optuna than the one here" in ran.said
    assert ran.code == 2


def test_a_missing_driver(at_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    ran = hwdse("worker", tmp_path, "--storage", "postgresql://me@host/x")
    assert ran.code == 2
    assert "pip install 'hwdse[postgres]'" in ran.said


def test_workers_with_nothing_to_take_part_in(at_home: Path, tmp_path: Path) -> None:
    assert "there is no sweep in" in hwdse("worker", tmp_path / "nothing").said
    assert not (tmp_path / "nothing").exists()
    assert "give the run folder of a sweep, or the URL" in hwdse("worker").said


def test_a_worker_takes_part(toy: tuple[SweepConfig, Workbench], tmp_path: Path) -> None:
    config, bench = toy
    _Sweep(bench, config.model_copy(update={"trials": 3}), Place(tmp_path), None, None).study.close()
    ran = hwdse("worker", tmp_path, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["trials"] == 3
    assert len(SweepRecord.load(tmp_path).trials) == 3


def test_a_worker_whose_task_differs(toy: tuple[SweepConfig, Workbench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, bench = toy
    _Sweep(bench, config, Place(tmp_path / "run"), None, None).study.close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    task_file(tmp_path, "Toy.changed = 1\nclass Toy(Toy):\n    pass\n", name="killed")
    ran = hwdse("worker", "run", "--trust")
    sys.modules.pop("killed", None)
    assert ran.code == 2
    assert "what differs: task, data or model" in ran.said


def test_a_point_whose_weights_are_elsewhere_is_noted(
    toy: tuple[SweepConfig, Workbench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, bench = toy
    few = config.model_copy(update={"trials": 3, "keep_checkpoints": "all"})
    with monkeypatch.context() as patch:
        patch.setattr("hwdse.sweeps.engine.test_scores", lambda *given: {})
        run_sweep(bench, few, tmp_path)
    (tmp_path / "checkpoints" / "0.pt").unlink()
    shutil.copy(tmp_path / "checkpoints" / "2.pt", tmp_path / "checkpoints" / "1.pt")
    for _ in range(2):  # and so it stays
        record = run_sweep(bench, few, tmp_path)
        assert record.trials[0].test is None
        assert "no test score: checkpoints/0.pt is not in this run folder" in record.trials[0].notes[-1]
        assert record.trials[1].test is None
        assert "checkpoints/1.pt: was changed since it was written" in record.trials[1].notes[-1]
        assert record.trials[2].test is not None
    assert len([note for note in record.trials[0].notes if "no test score" in note]) == 1


def test_test_scores_outlive_workers_that_come_later(toy: tuple[SweepConfig, Workbench], tmp_path: Path) -> None:
    config, bench = toy
    few = config.model_copy(update={"trials": 3})
    tests = [t.test for t in run_sweep(bench, few, tmp_path).trials]
    assert any(tests)
    assert run_worker(bench, few, Place(tmp_path)) == 0
    assert [t.test for t in SweepRecord.load(tmp_path).trials] == tests


def test_a_folder_with_the_run_of_another_study_is_refused(toy: tuple[SweepConfig, Workbench], tmp_path: Path) -> None:
    config, bench = toy
    few = config.model_copy(update={"trials": 1})
    run_sweep(bench, few, tmp_path)
    before = (tmp_path / "record.json").read_text()
    (tmp_path / "study.db").unlink()
    with pytest.raises(UsageError, match="holds the run of another study"):
        run_sweep(bench, few, tmp_path)
    assert (tmp_path / "record.json").read_text() == before


def test_a_search_is_scaled_by_widths_that_the_device_can_run(at_home: Path, tmp_path: Path) -> None:
    widths: dict[str, Any] = {"weights": [2, 4, 8, 16], "activations": [4, 8, 16]}
    config = SweepConfig.make(
        "test", task="digits", accelerators=["mpic"], cost_models=["weights"], baselines=["w4a4"],
        budgets=[["latency@mpic <= 70% of w8a8"]], **widths,
    )  # fmt: skip
    bench = Workbench(load_task("digits"), [load_accelerator("mpic")], [cost_model("weights")], **widths)
    sweep = _Sweep(bench, config, Place(tmp_path), None, None)
    table = bench.tables["latency@mpic"]
    assert table.total(bench.choices.uniform(LayerFormat.of(16, 16))) == float("inf")
    assert sweep._scale("latency@mpic") == table.total(bench.choices.uniform(LayerFormat.of(8, 8)))
    sweep.study.close()


def test_whatever_the_task_raises_fails_the_trial_alone(
    toy: tuple[SweepConfig, Workbench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, bench = toy

    def breaking(bench_: Workbench, plan: object, knobs: Knobs, number: int, *rest: object) -> object:
        if number == 1:
            raise AttributeError("the task's own")
        return run_trial(bench_, plan, knobs, number, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("hwdse.sweeps.engine.run_trial", breaking)
    record = run_sweep(bench, config.model_copy(update={"trials": 3}), tmp_path)
    assert [t.state for t in record.trials] == ["complete", "failed", "complete"]
    assert record.trials[1].error == "AttributeError: the task's own"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    disk = tmp_path / "small"
    disk.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount") and not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=False, capture_output=True
    ).returncode  # fmt: skip
    if not mounted:
        pytest.skip("a small file system can be mounted by root alone")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.slow
def test_a_disk_that_is_really_full(toy: tuple[SweepConfig, Workbench], small_disk: Path, tmp_path: Path) -> None:
    config, bench = toy[0].model_copy(update={"trials": 9}), toy[1]
    whole = run_sweep(bench, config, tmp_path / "whole")
    run, ballast = small_disk / "run", small_disk / "ballast"
    run_sweep(bench, config.model_copy(update={"trials": 5}), run)
    for room in (0, 8192, 30_000, 100_000):  # what fails depends on how little there is
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        with ballast.open("r+b") as file:
            file.truncate(max(0, ballast.stat().st_size - room))
        with pytest.raises(HwdseError, match=r"No space left on device|disk is full|disk I/O error"):
            run_sweep(bench, config, run)
        assert len(SweepRecord.load(run).trials) >= 5  # what was there is whole
    ballast.unlink()
    assert measured(run_sweep(bench, config, run)) == measured(whole)


def test_looking_on_from_elsewhere(toy: tuple[SweepConfig, Workbench], server: Server, tmp_path: Path) -> None:
    config, bench = toy
    place = Place(tmp_path / "here", server.url, tmp_path.name)
    sweep = _Sweep(bench, config.model_copy(update={"trials": 4}), place, None, None)
    ran = hwdse("status", server.url, "--study", tmp_path.name)
    assert ran.code == 2
    assert "has not begun" in ran.said
    sweep.study.describe(record_of(sweep.bench, sweep.config, sweep.plan, sweep.folder).to_dict())
    for _ in range(2):
        done = claimed(sweep.study)
        sweep.study.keep(done, run_trial(bench, sweep.plan, done.knobs, done.number))
    claimed(sweep.study)
    found = json.loads(hwdse("status", server.url, "--study", tmp_path.name, "--json").out)
    assert (found["done"], found["trials"], [r["trial"] for r in found["running"]]) == (2, 4, [2])
    assert {b["trial"] for b in found["best"]} <= {0, 1, None}
    ran = hwdse("status", server.url, "--study", tmp_path.name)
    assert ran.code == 0
    assert "toy, 2 of 4 trials, 0 failed" in ran.out
    assert "trial 2: uniform, w4a4" in ran.out
    assert "me:***@127.0.0.1" in ran.out
    assert "se%7B" not in ran.out + ran.err
    sweep.study.stop("nothing was won")
    sweep.study.close()  # nobody lives
    assert "Stopped: nothing was won." in hwdse("status", server.url, "--study", tmp_path.name).out
    ran = hwdse("status", server.url, "--study", "nothing")
    assert ran.code == 2
    assert "holds no study 'nothing'" in ran.said
    ran = hwdse("status")
    assert ran.code == 2
    assert "give a run folder, or the URL of a server" in ran.said


def test_workers_on_a_ray_cluster(at_home: Path, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed (hwdse[ray])")
    asked = ["sweep", "--task", "killed:Toy", "-b", "weights <= 70% of w8a8", "--trials", "6", "--epochs", "1", "--no-report", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(at_home), "OMP_NUM_THREADS": "1"}

    def sweep(*more: str) -> subprocess.CompletedProcess[str]:  # a process of its own: Ray leaves threads and handlers behind
        return subprocess.run(
            [sys.executable, "-c", "from hwdse.cli import main; main()", *asked, *more],
            cwd=at_home, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    done = sweep("-o", str(tmp_path / "ray"), "--workers", "2", "--engine", "ray")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"] == 6
    assert len(list((tmp_path / "ray" / "logs").glob("worker-*.log"))) == 2
    assert sweep("-o", str(tmp_path / "alone")).returncode == 0
    assert measured(SweepRecord.load(tmp_path / "ray")) == measured(SweepRecord.load(tmp_path / "alone"))
    done = sweep("-o", str(tmp_path / "no"), "--workers", "1", "--engine", "ray", "--gpus", "0.5")
    assert done.returncode == 2
    assert "a worker shall have 0.5 GPUs, and no machine of the Ray cluster has more than 0" in " ".join(done.stderr.split())
    assert ray.__version__


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--engine", "dask"], "unknown engine 'dask'"),
        (["--gpus", "0.5"], "--gpus is a worker's share of the GPUs of a Ray cluster: give --engine ray too"),
    ],
)
def test_engines_that_are_not_there(more: list[str], sentence: str, at_home: Path, tmp_path: Path) -> None:
    ran = hwdse("sweep", "--task", "killed:Toy", "-b", "weights <= 70% of w8a8", "-o", tmp_path / "run", *more)
    assert ran.code == 2
    assert sentence in ran.said
