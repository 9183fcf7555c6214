"""Runs a sweep and leaves a record that can be read after every trial."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hwdse import __version__
from hwdse.checksums import digest
from hwdse.constraints import Budget, find_metric
from hwdse.costs import CostTable
from hwdse.errors import HwdseError, UsageError
from hwdse.formats import LayerFormat
from hwdse.interrupts import PARENT, check
from hwdse.records import SweepRecord, TrialResult, learnt_nothing
from hwdse.run_files import keep_files, refuse_links, sweep_up_run
from hwdse.sample_scores import FOLDER, FP32, scores_bytes
from hwdse.storage import StorageError, locked
from hwdse.workbench import Workbench

from . import log
from .config import SweepConfig
from .database import Place
from .file_database import LOCKS
from .identity import check_before_work
from .keeping import needed, prune, room
from .knobs import Knobs, Plan, first_trials
from .recording import listed, owner_of, record_of, scheme_tables, searched_by, test_scores
from .refining import refinement
from .stopping import stalled
from .study import Direction, Standing, Study, finite
from .trial import about, run_trial
from .workers import Team, work

RECORDING = 0.05  # largest share of the time that goes into writing the record, which grows with the trials
LOOK, LONGEST_LOOK = 0.5, 5.0  # seconds between two looks at what a team has done, or at what others do while a trial runs


@dataclass(frozen=True)
class Progress:
    """Where a sweep stands, all workers together.

    ``seconds_left``: None until a trial has ended. ``running``: at living workers. ``record``: the run so far; None where this process
    does not write it.
    """

    what: str
    trials_done: int
    trials: int
    steps_done: int
    steps: int
    failed: int
    seconds_left: float | None
    running: int = 0
    record: SweepRecord | None = None


Say = Callable[[Progress], None]
Note = Callable[[str], None]


def run_sweep(
    bench: Workbench,
    config: SweepConfig,
    folder: Path,
    say: Say | None = None,
    *,
    place: Place | None = None,
    team: Team | None = None,
    note: Note | None = None,
) -> SweepRecord:
    """Runs, goes on with, or takes part in a sweep, to the end; then scores the front on the test split.

    A failed trial is recorded with its error and the sweep goes on. Trials are safe in the study as each ends, and the record on disk
    is written from there, so that Ctrl-C loses the trial under way and nothing else.

    Args:
        bench: the task with the accelerators and cost models of ``config``.
        config: what to run.
        folder: the run folder, made where it is absent.
        say: told where the sweep stands.
        place: where the study is kept; None: ``study.db`` in the folder.
        team: processes that run the trials; None: this process does.
        note: told what else happens: a worker that died, a server that went away.

    Raises:
        UsageError: a folder of another task or configuration, malformed budgets. StorageError: a folder that cannot be written.
    """
    sweep = _Sweep(bench, config, place or Place(folder), say, note)
    with contextlib.closing(sweep.study):
        return sweep.run(team)


def run_worker(bench: Workbench, config: SweepConfig, place: Place, say: Say | None = None, note: Note | None = None) -> int:
    """Takes part in a sweep that exists until nothing is left to do, and returns how many trials it ran.

    Raises:
        UsageError: this worker's task, weights, costs or versions differ from the study's; which, is said.
    """
    sweep = _Sweep(bench, config, place, say, note, join=True)
    with contextlib.closing(sweep.study):
        return sweep.take_part()


class _Sweep:
    def __init__(self, bench: Workbench, config: SweepConfig, place: Place, say: Say | None, note: Note | None, join: bool = False) -> None:
        self.bench, self.config, self.folder = bench, config, place.folder
        refuse_links(place.folder)
        if not join:
            check_before_work(place, config)
        self.say: Say = say or (lambda progress: None)
        self.note = note
        self.plan = Plan.of(config, bench)
        self.objectives = self._objective_names()
        direction: Direction = "maximize" if bench.task.metric.better == "higher" else "minimize"
        identity = {
            "task, data or model": bench.fingerprint, "seed": str(config.seed), "trained weights": bench.weights_fingerprint,
            "costs": bench.costs_fingerprint, "hwdse": __version__, "torch": torch.__version__,
        }  # fmt: skip
        costs: list[Direction] = ["minimize"] * self._costs
        first = tuple(first_trials(config, self.plan))
        self.study = Study(place, config, self.plan, identity, [direction, *costs], self._values, first, self._refined, join, note)
        self._began, self._current = time.perf_counter(), ""
        self._written = self._writing = 0.0
        self._so_far: SweepRecord | None = None
        self._scales: dict[str, float] = {}

    def _refined(self, results: Sequence[TrialResult], at_work: Sequence[Knobs]) -> Knobs | None:
        """The last share of the trials refines the front."""
        if len(results) + len(at_work) < self.config.trials * (1 - self.config.refine):
            return None
        return refinement(self.bench, self.plan, results, at_work, self.config.seed)

    def _objective_names(self) -> tuple[str, ...] | None:
        if self.config.objective is None:
            self._costs = 1
            return None
        targets: list[str | None] = [*self.bench.targets] or [None]
        for target in targets:
            for name in self.config.objective:
                self._table(name, target)
        self._costs = len(self.config.objective)
        return self.config.objective

    def _table(self, name: str, target: str | None) -> CostTable:
        tables = self.bench.tables_for(target)
        metric = find_metric(name, [t.metric for t in tables])
        return next(t for t in tables if t.metric == metric)

    def _values(self, result: TrialResult) -> Sequence[float]:
        """(score, cost relative to that of uniform widths on the trial's accelerator), so that accelerators compare."""
        target = result.knobs.get("accelerator") or next(iter(self.bench.targets), None)
        number = result.knobs.get("goal")
        if self.objectives is None:
            key = target, number if number is not None else 0
            names: Sequence[str] = [next(iter(self.plan.limits.get(key) or next(iter(self.plan.limits.values())))).metric.key]
        else:
            names = self.objectives
        costs = []
        for name in names:
            key_ = name if name in self.bench.tables else self._table(name, target).metric.key
            costs.append(result.measures[key_] / self._scale(key_))
        return [result.measures[self.bench.task.metric.key], *finite(costs, 2.0)]

    def _scale(self, key: str) -> float:
        """Cost of uniform w8a8, or of the widest other pair that the device can run.

        Raises:
            UsageError: it can run none.
        """
        if key not in self._scales:
            table, choices = self.bench.tables[key], self.bench.choices
            pairs = sorted(choices.options, key=lambda o: (o != LayerFormat.of(8, 8), -o.weight.bits * o.activation.bits))
            uniform = []
            for pair in pairs:
                with contextlib.suppress(UsageError):  # a pair that pins alone have
                    uniform.append(choices.uniform(pair))
            costs = (float(table.totals(choices.indices(allocation))[0]) for allocation in uniform)
            found = next((cost for cost in costs if 0 < cost < math.inf), None)
            if found is None:
                raise UsageError(f"{key}: no uniform allocation has a finite cost above 0, against which the search could weigh it.")
            self._scales[key] = found
        return self._scales[key]

    def run(self, team: Team | None) -> SweepRecord:
        """See :func:`run_sweep`."""
        with self.study.database.lock():
            sweep_up_run(self.folder)
        self.record = self._described()
        self._keep({f"{FOLDER}/{FP32}.npy": scores_bytes(self.bench.reference_scores), **self.record.table_files()})
        self._save()
        size = room(self.folder, self.bench.weights_size, self.config.trials, self.config.keep_checkpoints)
        for said in (*self.plan.notes, *self.bench.notes, *self.bench.loss().said, *([size] if size else [])):
            if self.note:
                self.note(said + ".")
        doubt = learnt_nothing(self.bench.task.metric, self.bench.reference)
        if doubt and self.note:
            self.note(doubt + ".")
        try:
            if team is None:
                self._work(self._save_in_turn)
            else:
                self._lead(team)
        finally:  # after Ctrl-C too
            self._save()
        standing = self.study.standing()
        self._tell("test split of the front", standing)
        trials = self._trials()
        self.record = replace(self.record, scheme_tables=scheme_tables(self.bench, trials))
        self._keep(self.record.table_files())
        hosts = self.study.hosts()
        found = self.record.with_trials(trials)
        wanted = needed(found.trials, found.costs, found.score, self._budgets)
        self.study.keep_tests(test_scores(self.bench, found, wanted, self.folder, hosts))
        self.record = replace(self.record, provenance={**self.record.provenance, "search": searched_by(len(set(hosts.values())))})
        self.study.describe(self.record.to_dict())
        return self._save(self.config.keep_checkpoints == "none")

    def _keep(self, contents: Mapping[str, bytes]) -> None:
        """Files of the run as a whole. The study lists them first: whatever dies in between, they are known for the run's own."""
        own = {**listed(self.folder), **self.study.described().get("files", {})}
        files = {**own, **{name: digest(content) for name, content in contents.items()}}
        self.record = replace(self.record, files=files)
        self.study.describe(self.record.to_dict())
        for path in keep_files(self.folder, contents, own):
            if self.note:
                self.note(f"{path} was not as it was written, and is written anew.")

    def _described(self) -> SweepRecord:
        """The record without trials.

        Raises:
            UsageError: the folder holds another study's run.
        """
        found = record_of(self.bench, self.config, self.plan, self.folder)
        owner = owner_of(self.folder)
        if owner not in (None, self.study.run):
            raise UsageError(
                f"the run folder {self.folder} holds the run of another study, whose tables, checkpoints and scores would be taken for "
                "this one's. Give another folder, or delete that one as a whole."
            )
        trials = max(self.config.trials, len(self.study.results))  # fewer may be asked for than there are
        config = {**found.config, "trials": trials}
        return replace(found, config=config, provenance={**found.provenance, "run": self.study.run})

    def _trials(self) -> tuple[TrialResult, ...]:
        """Everything that has ended, with its test score or the reason why it has none."""
        tests, found = self.study.tests(), []
        for trial in self.study.results:
            known = tests.get(trial.number)
            if isinstance(known, str):
                found.append(replace(trial, notes=(*trial.notes, known)))
            else:
                found.append(trial if known is None else replace(trial, test=known))
        return tuple(found)

    def take_part(self) -> int:
        """See :func:`run_worker`."""
        if PARENT in os.environ:  # who started this worker writes the record
            return self._work(lambda: None)
        self.record = self._described()
        if self.study.place.url is not None and owner_of(self.folder) is None:
            # its own folder: tables and other workers' scores are not in it
            if self.note:
                self.note(
                    f"{self.folder} is not the folder of the run: it takes checkpoints and scores of the trials that run here; the record "
                    "is written by the sweep, in its own folder."
                )
            return self._work(lambda: None)
        try:
            return self._work(self._save_in_turn)
        finally:
            self._save()

    def _work(self, ended: Callable[[], None]) -> int:
        """Runs trials in this process, and returns how many."""
        count, standing, looked = 0, self.study.standing(), time.perf_counter()
        first = standing.done

        def tell(steps_done: int, steps: int) -> None:
            nonlocal standing, looked
            if not steps_done:
                standing, looked = self.study.last, time.perf_counter()  # just claimed
            elif time.perf_counter() - looked > LONGEST_LOOK:
                standing, looked = self.study.standing(), time.perf_counter()
            self._tell(self._current, standing, first, steps_done, steps)

        def run(number: int, knobs: Knobs) -> TrialResult:
            self._current = str(knobs)
            tell(0, 0)
            started = time.perf_counter()
            log.append(self.folder, "started", number, what=self._current)
            try:
                try:
                    return run_trial(self.bench, self.plan, knobs, number, self.folder, tell, self.study.results)
                except StorageError:
                    raise  # a full disk is no fault of the trial's
                except HwdseError as error:
                    text = str(error)
                except Exception as error:
                    text = f"{type(error).__name__}: {error}"  # the task's own code, or torch
                check()  # nor is what a stop request left of its processes
            except KeyboardInterrupt:
                log.append(self.folder, "released", number)
                raise
            seconds = time.perf_counter() - started
            return TrialResult(number, about(knobs, self.plan), "failed", seconds=seconds, error=text.partition("\n")[0])

        for result in work(self.study, run, lambda standing: self._tell("the last trials, at other workers", standing, first)):
            count += 1
            score = result.measures.get(self.bench.task.metric.key)
            log.append(self.folder, "ended", result.number, state=result.state, seconds=result.seconds, score=score, error=result.error)
            ended()
            if stalled(self.study.results, self.plan, self.bench.task.metric, self.config.patience):
                self.study.stop(f"the last {self.config.patience} trials won nothing")
        return count

    def _lead(self, team: Team) -> None:
        """Watches the workers, and writes the record."""
        standing = self.study.standing()
        first, last = standing.done, standing.done
        try:
            if not standing.over:
                team.start()
            while not standing.over and team.watch(standing, self.study.database.bury):
                check()
                time.sleep(LOOK)
                standing = self.study.standing()
                self._tell("", standing, first)
                if standing.done != last:
                    last = standing.done
                    self._save_in_turn()
        finally:
            team.end(LONGEST_LOOK if standing.over else 0.0)

    def _tell(self, what: str, standing: Standing, first: int = 0, steps_done: int = 0, steps: int = 0) -> None:
        ended = standing.done - first
        share = ended + (steps_done / steps if steps else 0)
        spent = time.perf_counter() - self._began
        left = spent / share * (standing.trials - first - share) if ended and share else None
        self.say(Progress(what, standing.done, standing.trials, steps_done, steps, standing.failed, left, standing.running, self._so_far))

    def _save_in_turn(self) -> None:
        """Saves the record, unless that was done so lately that it would take more than its share of the time."""
        self._so_far = self.record.with_trials(self.study.results)
        if time.perf_counter() - self._written > self._writing / RECORDING:
            self._save()

    @property
    def _budgets(self) -> list[Budget]:
        return [*self.plan.limits.values()]

    def _save(self, removed: bool = False) -> SweepRecord:
        """All of it from the study, under a lock: whoever writes last has seen the most. ``removed``: no checkpoint is needed longer."""
        began = time.perf_counter()
        with locked(self.folder / LOCKS / "record.lock"):
            said = self.study.described()  # by who began the sweep: another machine may score the FP32 network a little differently
            if said:
                self.record = replace(self.record, files=said["files"], reference=said["reference"])
            record = self.record.with_trials(self._trials())
            record.write(self.folder)
            if self.config.keep_checkpoints != "all" and len(record.trials) >= len(self.study.first):
                prune(self.folder, record.trials, set() if removed else needed(record.trials, record.costs, record.score, self._budgets))
        self._written = time.perf_counter()
        self._writing = self._written - began
        return record
