"""Workers: one that takes trials until none is left, and a team of processes that are watched and started again when they die."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hwdse.errors import HwdseError
from hwdse.interrupts import PARENT, check
from hwdse.records import TrialResult

from .knobs import Knobs
from .study import Claim, Say, Standing, Study

RESTARTS = 4  # deaths of one worker in a row, with no trial ended between them, after which it is not started again
STUBBORN = 30.0  # seconds after which a worker that was asked to end is killed; its trial is put back all the same
LONGEST_WAIT = 2.0  # seconds between two looks at trials that others run

Run = Callable[[int, Knobs], TrialResult]


def work(study: Study, run: Run, waiting: Callable[[Standing], None]) -> Iterator[TrialResult]:
    """Takes trials, runs them, and yields each result once it is safe; ends when nothing is left to run or to wait for.

    Args:
        study: where trials come from. run: (number, knobs) -> result. waiting: told while other workers run the last trials.
    """
    wait = 0.05
    while not _orphaned():
        check()
        claim = study.claim()
        if isinstance(claim, Claim):
            wait = 0.05
            try:
                result = run(claim.number, claim.knobs)
            except BaseException:  # Ctrl-C, a full disk: no fault of the trial's, which is tried again
                with contextlib.suppress(HwdseError):
                    study.release(claim)
                raise
            if study.keep(claim, result):
                yield result
        elif claim.over:
            return
        else:  # one of those that run may yet come back: its worker may die
            waiting(claim)
            check()
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)


def _orphaned() -> bool:
    """Whether the process that started this worker has died: then nobody would stop it."""
    parent = os.environ.get(PARENT)
    return parent is not None and int(parent) != os.getppid()


def environment(number: int, count: int, gpus: Sequence[str] = ()) -> dict[str, str]:
    """Environment of worker ``number`` of ``count`` on this machine: its share of the cores, and one of the GPUs by turns."""
    share = str(max(1, len(os.sched_getaffinity(0)) // count)) if hasattr(os, "sched_getaffinity") else "1"
    found = {**os.environ, PARENT: str(os.getpid())}
    found |= {name: os.environ.get(name, share) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    if gpus:
        found["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    return found


class Process(Protocol):
    """A worker's process, here or elsewhere; :class:`subprocess.Popen` is one."""

    pid: int  # on this machine; -1: on another

    def poll(self) -> int | None:
        """Its status, negative for a signal; None while it runs."""

    def send_signal(self, sig: int) -> None:
        """SIGINT: it gives its trial back, and ends."""

    def kill(self) -> None:
        """At once."""

    def wait(self) -> int:
        """Until it has ended."""


Launch = Callable[[int, Path], Process]  # (number of the worker from 0, file for what it says) -> its process


def here(command: Sequence[str], environments: Sequence[Mapping[str, str]]) -> Launch:
    """Starts workers on this machine, one for each environment."""

    def launch(number: int, log: Path) -> Process:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as said:
            # a session of its own: Ctrl-C in a terminal reaches the parent alone, which passes it on once
            return subprocess.Popen(
                command, env=dict(environments[number]), stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )

    return launch


@dataclass
class _Member:
    process: Process | None = None
    done: int = 0  # trials that had ended when it was last started
    deaths: int = 0
    again: float = 0.0  # when to start it again


@dataclass
class Team:
    """Worker processes. Each writes what it says to ``logs/worker-K.log``.

    Attributes:
        count: how many; 0: the workers are started elsewhere. launch: starts one. logs: folder. say: told of deaths.
    """

    count: int
    launch: Launch
    logs: Path
    say: Say
    _members: list[_Member] = field(default_factory=list)

    def start(self) -> None:
        """Starts all of them."""
        self._members = [_Member() for _ in range(self.count)]
        for number in range(len(self._members)):
            self._start(number, 0)

    def _start(self, number: int, done: int) -> None:
        self._members[number].process = self.launch(number, self._log(number))
        self._members[number].done = done

    def _log(self, number: int) -> Path:
        return self.logs / f"worker-{number + 1}.log"

    def watch(self, standing: Standing, bury: Callable[[int], None]) -> bool:
        """Starts again those that have died. False: none is left, and none will be started again. A team of nobody watches to the end.

        Args:
            standing: of the sweep. bury: told the process id of each that has ended.

        Raises:
            HwdseError: the workers die of the same again and again.
        """
        for number, member in enumerate(self._members):
            code = None if member.process is None else member.process.poll()
            if member.process is None and member.again and time.monotonic() >= member.again:
                member.again = 0.0
                self._start(number, standing.done)
            elif member.process is not None and code is not None:
                bury(member.process.pid)
                member.process = None
                if code not in (0, 130, 143) and not standing.over:
                    self._died(number, code, standing)
        return not self._members or any(m.process is not None or m.again for m in self._members)

    def _died(self, number: int, code: int, standing: Standing) -> None:
        member, log = self._members[number], self._log(number)
        member.deaths = 1 if standing.done > member.done else member.deaths + 1
        why = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        last = _last_line(log)
        if code == 2:  # another identity, an unknown name: it would end so again
            raise HwdseError(f"worker {number + 1} {why}: {last} (all of it in {log})")
        if member.deaths > RESTARTS:
            if not any(m.process is not None or m.again for m in self._members):
                raise HwdseError(f"every worker has died {RESTARTS + 1} times in a row with no trial done; the last {why}: {last} ({log})")
            self.say(f"worker {number + 1} {why} ({log}); it is not started again after {member.deaths} deaths in a row.")
            return
        member.again = time.monotonic() + 0.5 * 2 ** (member.deaths - 1)
        self.say(f"worker {number + 1} {why} ({log}); its trial is tried again, and so is it.")

    def end(self, grace: float) -> None:
        """Lets them end by themselves for some seconds; then asks them to give their trials back, and waits for it."""
        until = time.monotonic() + grace
        while self._living and time.monotonic() < until:
            time.sleep(0.05)
        for process in self._living:
            process.send_signal(signal.SIGINT)
        until = time.monotonic() + STUBBORN
        while self._living and time.monotonic() < until:
            time.sleep(0.05)
        self.kill()
        for member in self._members:
            if member.process is not None:
                member.process.wait()

    def kill(self) -> None:
        """At once; their trials are put back by whoever looks next."""
        for process in self._living:
            process.kill()

    @property
    def _living(self) -> list[Process]:
        return [m.process for m in self._members if m.process is not None and m.process.poll() is None]


def _last_line(log: Path) -> str:
    if not log.exists():  # on another machine
        return ""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line and not line.startswith("  ")]
    return lines[-1].removeprefix("hwdse: ") if lines else ""
