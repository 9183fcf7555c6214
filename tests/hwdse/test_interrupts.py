"""Stop requests: looked at between steps, insisted on where no step comes, obeyed at once the second time, and never lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from commands import cache, task_file

from hwdse import interrupts

BEGUN = "from hwdse import interrupts\nimport os, signal, sys, time\n"


def python(code: str, **more: str) -> subprocess.Popen[str]:
    """Runs code in another process, which writes a line as soon as it may be stopped."""
    process = subprocess.Popen(
        [sys.executable, "-c", BEGUN + code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **more}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process: subprocess.Popen[str], within: float = 20.0) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=within)
    return process.returncode, out, err


SWALLOWING = """
class Swallows:
    def __del__(self):  # Python ignores what is raised here, as libraries' callbacks may
        print('ready', flush=True)
        end = time.monotonic() + 0.7
        while time.monotonic() < end:
            pass
with interrupts.handled():
    interrupts.check()
    one = Swallows()
    del one
    try:
        interrupts.check()
    except KeyboardInterrupt:
        sys.exit(interrupts.status())
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_request_in_a_callback_that_swallows_exceptions_is_seen_at_the_next_step(number: int, status: int) -> None:
    process = python(SWALLOWING)
    process.send_signal(number)
    code, _, err = ended(process)
    assert code == status
    assert "stopping. Once more stops at once" in err


def test_where_no_step_comes_the_exception_is_raised_there_and_again_if_it_is_swallowed() -> None:
    process = python("""
with interrupts.handled():
    interrupts.check()
    print('ready', flush=True)
    for _ in range(2):
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass  # a library's
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(2 * interrupts.AGAIN)  # what it leaves is put in order, undisturbed
        sys.exit(7)
""")
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 7, err


def test_before_the_first_step_a_request_ends_the_process_at_once() -> None:
    process = python("""
with interrupts.handled():
    print('ready', flush=True)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            time.sleep(60)
        except BaseException:
            pass  # a library that is being loaded
""")
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process, interrupts.PATIENCE)
    assert code == 130
    assert err == "hwdse: interrupted; what has been written is whole.\n"


def test_a_second_request_ends_the_process_at_once_after_its_last_words() -> None:
    process = python("""
with interrupts.handled(), interrupts.last_words(lambda: os.write(1, b'last words')):
    interrupts.check()
    print('ready', flush=True)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass
""")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process, interrupts.PATIENCE)
    assert (code, out) == (130, "last words")
    assert "stopped at once" in err


def test_a_child_of_hwdse_leaves_the_second_word_to_its_parent_and_says_nothing() -> None:
    code = """
with interrupts.handled():
    interrupts.check()
    print('ready', flush=True)
    time.sleep(0.8)
    sys.exit(interrupts.requested())
"""
    process = python(code, **{interrupts.PARENT: str(os.getpid())})
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (signal.SIGTERM, "", "")


def test_a_forked_process_is_stopped_as_if_nothing_were_handled() -> None:
    process = python("""
with interrupts.handled():
    interrupts.check()
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
    print('ready', flush=True)
    time.sleep(0.2)
    os.kill(child, signal.SIGTERM)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) + 100)
""")
    assert ended(process) == (100 - signal.SIGTERM, "", "")


def test_nothing_is_requested_outside_and_another_thread_changes_no_handler() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGALRM)
    with interrupts.handled():
        assert signal.getsignal(signal.SIGINT) != before[0]
    found: list[object] = []

    def there() -> None:
        with interrupts.handled():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=there)
    thread.start()
    thread.join()
    assert found == [before[0]]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGALRM)) == before
    interrupts.check()
    assert interrupts.requested() == 0


COMMANDS = {
    "sweep": ["sweep", "--task", "{task}", "-b", "weights <= 70% of w8a8", "--trials", "200", "--epochs", "0", "--no-report", "-o", "run"],
    "workers": [
        "sweep", "--task", "{task}", "-b", "weights <= 70% of w8a8", "--trials", "200", "--epochs", "0", "--no-report", "-o", "run",
        "--workers", "2",
    ],
    "allocate": ["allocate", "{task}", "-b", "weights <= 70% of w8a8", "--epochs", "100000"],
    "measure": ["accelerators", "measure", "{task}", "-o", "mine.csv", "--seconds-per-layer", "60"],
    "sensitivity": ["sensitivity", "{task}"],
}  # fmt: skip


def stopped(folder: Path, command: list[str], after: float, number: int = signal.SIGINT) -> tuple[int, str, float]:
    """Exit status, what it said, and the seconds that it took to end after a signal ``after`` so many seconds of its work."""
    called = [sys.executable, "-P", "-c", "from hwdse.cli import main; print('ready', flush=True); main()", *command]
    environment = {**os.environ, "HWDSE_CACHE": str(cache())}
    process = subprocess.Popen(called, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(after)
    sent = time.monotonic()
    process.send_signal(number)
    try:
        code, _, err = ended(process, 60)
    finally:
        process.kill()
    return code, err, time.monotonic() - sent


ENDLESS = """
class Endless(Toy):
    name = "endless"
    recipes = Recipes(scratch=Recipe(epochs=100_000, lr=0.01), finetune=Recipe(epochs=1, lr=0.01))
"""


def held(folder: Path, name: str, after: float, number: int = signal.SIGINT) -> None:
    """One command is stopped once: with the status of the signal, without a traceback, and soon."""
    task = task_file(folder, ENDLESS, of="Endless" if name == "sensitivity" else "Toy", name=f"stop_{name}")
    command = [part.format(task=task) for part in COMMANDS[name]]
    code, err, took = stopped(folder, command, after, number)
    assert code == 128 + number, f"{name} after {after:.2f} s: {err}"
    assert "Traceback" not in err
    assert "what has been written is whole" in err
    assert took < 30, f"{name} took {took:.1f} s to end"


@pytest.mark.parametrize(
    ("name", "after"), [("sweep", 0.3), ("workers", 5.0), pytest.param("allocate", 4.0, marks=pytest.mark.slow), ("sensitivity", 3.0)]
)
def test_commands_stop(name: str, after: float, tmp_path: Path) -> None:
    held(tmp_path, name, after)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", COMMANDS)
def test_no_request_is_lost_whenever_it_comes(name: str, number: int, tmp_path: Path) -> None:
    chance = random.Random(f"{name} {number}")
    for turn in range(12):
        folder = tmp_path / str(turn)
        folder.mkdir()
        held(folder, name, chance.uniform(0, 6), number)
