"""The study behind a sweep: trials that any number of workers take, run and give back, in an Optuna study.

What makes it safe against death at any moment is counted, not timed. A trial that is tried again is a new trial of Optuna's under the
number of the first (``again``): all of one first number are one trial of the sweep, with one result, however many workers ran it.
Whoever takes a trial puts back, under the lock, every one that has no result, waits nowhere and runs at no living worker.
"""

from __future__ import annotations

import json
import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from hwdse.errors import UsageError
from hwdse.records import TrialResult

from .config import SweepConfig
from .database import Database, Place, open_database, persistent, shown
from .knobs import Knobs, Plan
from .samplers import make_sampler
from .space import Space
from .trial import about

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

T = TypeVar("T")
Values = Callable[[TrialResult], Sequence[float]]  # a result as the sampler's objectives, all finite
Say = Callable[[str], None]
Propose = Callable[[Sequence[TrialResult], Sequence[Knobs]], Knobs | None]
Direction = Literal["minimize", "maximize"]
RETRIES = 5  # times that a trial is tried again whose worker died
_KEPT = "result"  # user attribute with the JSON of a TrialResult: the study is the record's source


@dataclass(frozen=True)
class Standing:
    """Counts of a sweep's trials: wanted, ended (failed ones included), failed, and under way at living workers."""

    trials: int
    done: int
    failed: int
    running: int
    stopped: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing is left to start or to wait for."""
        return self.done >= self.trials or bool(self.stopped)


@dataclass(frozen=True)
class Claim:
    """A trial that this worker runs. ``number``: as the record numbers it."""

    trial: optuna.Trial
    number: int
    knobs: Knobs


class Study:
    """Trials, safe on disk as soon as each ends, and the sampler that proposes the next.

    Args:
        place: where the study is kept.
        config, plan: what to search.
        identity: what must be equal for costs and scores to compare: name -> fingerprint. A study of another identity is refused.
        directions: ``maximize`` or ``minimize`` per objective. values: a result as objectives.
        first: the trials that come before the sampler's; queued once, whoever makes the study.
        propose: what to try where no trial waits, from the results and the knobs of trials that run; None leaves it to the sampler.
        join: take part in a study that exists; False: make it where it does not.
        say: told of a database that went away.

    Raises:
        FileFormatError: ``study.db`` is truncated or no database. UsageError: it belongs to another task or configuration.
        StorageError: unreachable, or not to be written.
    """

    def __init__(
        self,
        place: Place,
        config: SweepConfig,
        plan: Plan,
        identity: Mapping[str, str],
        directions: Sequence[Direction],
        values: Values,
        first: Iterable[Knobs] = (),
        propose: Propose | None = None,
        join: bool = False,
        say: Say | None = None,
    ) -> None:
        self.place, self.config, self.plan, self.values, self.propose = place, config, plan, values, propose
        self.space = Space(config, plan)
        self._say: Say = say or (lambda text: None)
        self._parsed: dict[int, TrialResult] = {}
        make_sampler(config.sampler, 0)  # an unknown name is said before anything runs
        self.database: Database = open_database(place)
        try:
            self._locked(lambda: self._set_up(dict(identity), directions, list(first), join))
        except BaseException:
            self.close()
            raise

    def _locked(self, action: Callable[[], T]) -> T:
        def alone() -> T:
            with self.database.lock(), warnings.catch_warnings():
                warnings.simplefilter("ignore", category=UserWarning)  # Optuna's, on parameters of queued trials
                return action()

        return persistent(self.database, alone, self._say)

    def _set_up(self, identity: dict[str, str], directions: Sequence[Direction], first: Sequence[Knobs], join: bool) -> None:
        """Under the lock. Each step may have been done before, by one who died at the next."""
        import optuna

        self.study = optuna.create_study(
            storage=self.database.storage, study_name=self.place.study, directions=list(directions), load_if_exists=True
        )
        known = self.study.user_attrs
        if "config" in known:
            self._same(known, identity, join)
        else:
            self.study.set_user_attr("identity", identity)
            self.study.set_user_attr("config", self.config.plain())
        # no more than are wanted: with others waiting, one whose worker died would come after trials that nobody asked for
        there = {trial.user_attrs.get("place in the queue") for trial in self.study.get_trials(deepcopy=False)}
        for number, knobs in enumerate(first[: self.config.trials]):
            if number not in there:
                self._queue(knobs, {"place in the queue": number})

    def _same(self, known: dict[str, Any], identity: dict[str, str], join: bool) -> None:
        """A study goes on only with its own task and configuration; the number of trials may grow."""
        was = known.get("identity")
        theirs: dict[str, Any] = was if isinstance(was, dict) else {}  # a text: of the first version of hwdse
        differs = sorted(part for part in {*identity, *theirs} if identity.get(part) != theirs.get(part))
        if differs:
            said = ", ".join(f"{part} ({theirs[part]} there, {identity[part]} here)" if _short(theirs, part) else part for part in differs)
            hint = " Workers share the trained weights through the cache: set HWDSE_CACHE to one folder for all." if join else ""
            raise UsageError(
                f"{self.place} belongs to another task, model, seed, accelerator file or version of hwdse or torch (task "
                f"'{known.get('config', {}).get('task')}'); what differs: {said}. Its costs or scores would not compare; "
                f"{self._instead}, or delete this one.{hint}"
            )
        old, new = known["config"], self.config.plain()
        changed = sorted(key for key in {*old, *new} - {"trials"} if old.get(key) != new.get(key))
        if changed:
            text = "; ".join(f"{key}: was {old.get(key)}, now {new.get(key)}" for key in changed)
            raise UsageError(f"{self.place} was made with another configuration ({text}); {self._instead}.")
        if not join:
            self.study.set_user_attr("config", new)
            self.study.set_user_attr("stopped", "")

    @property
    def _instead(self) -> str:
        return "give another folder" if self.place.url is None else "give another name (--study)"

    # Taking a trial and giving it back

    def claim(self) -> Claim | Standing:
        """The next trial, or how the sweep stands where none is to be started: it is over, or others run the last ones."""
        trial = self._locked(self._take)
        return trial if isinstance(trial, Standing) else self._proposed(trial)

    def _take(self) -> optuna.Trial | Standing:
        self.database.enrol()
        trials = self._put_back()
        standing = self._standing(trials)
        if standing.over or standing.done + standing.running >= standing.trials:
            return standing
        # seeded by the number, so that two workers with the same trials before them do not propose the same
        self.study.sampler = make_sampler(self.config.sampler, self.config.seed + len(trials))
        self._steer(trials)
        trial = self.study.ask()
        trial.set_user_attr("worker", self.database.worker)
        self.last = replace(standing, running=standing.running + 1)
        return trial

    def _steer(self, trials: Sequence[FrozenTrial]) -> None:
        """Under the lock, where no trial waits: queues what is proposed, or lets the sampler choose for the next goal in turn."""
        from optuna.trial import TrialState

        if any(t.state == TrialState.WAITING for t in trials):
            return
        texts = [t.user_attrs.get("knobs") for t in trials if t.state == TrialState.RUNNING]
        at_work = [Knobs.from_dict(json.loads(text)) for text in texts if text]
        knobs = self.propose(self.results, at_work) if self.propose else None
        if knobs is not None:
            self._queue(knobs, {})
        else:
            self.study.enqueue_trial(self.space.turn(len(trials)))

    def _proposed(self, trial: optuna.Trial) -> Claim:
        """Outside the lock: a sampler may think for long. Whoever dies here leaves a queued trial, or nothing that was decided."""

        def decide() -> Knobs:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", category=UserWarning)
                knobs = self.space.knobs(trial)
            trial.set_user_attr("knobs", json.dumps(knobs.to_dict()))
            return knobs

        knobs = persistent(self.database, decide, self._say)
        return Claim(trial, int(trial.user_attrs.get("again", trial.number)), knobs)

    def keep(self, claim: Claim, result: TrialResult) -> bool:
        """Keeps a result. False: this worker was silent for so long that the trial was given to another; the result is dropped."""
        return self._locked(lambda: self._keep(claim, result))

    def _keep(self, claim: Claim, result: TrialResult) -> bool:
        trial = self.database.storage.get_trial(claim.trial._trial_id)
        if trial.state.is_finished():  # by a first try of this, whose answer was lost, or by one who took this worker for dead
            return _KEPT in trial.user_attrs
        claim.trial.set_constraint("budget", _violation(result))
        claim.trial.set_user_attr(_KEPT, json.dumps(result.to_dict()))
        self._tell(claim.trial.number, result)
        return True

    def release(self, claim: Claim) -> None:
        """Gives a trial back that was interrupted: it is tried again, and that does not count as a death."""

        def give() -> None:
            trial = self.database.storage.get_trial(claim.trial._trial_id)
            if not trial.state.is_finished():
                claim.trial.set_user_attr("released", True)
                self._tell(trial.number, None)

        self._locked(give)

    def _tell(self, number: int, result: TrialResult | None) -> None:
        from optuna.trial import TrialState

        if result is not None and result.state == "complete":
            self.study.tell(number, list(self.values(result)))
        else:
            self.study.tell(number, state=TrialState.FAIL)

    def stop(self, reason: str) -> None:
        """No worker starts another trial; a later ``hwdse sweep`` lifts it."""
        self._locked(lambda: self.study.set_user_attr("stopped", reason))

    # Trials whose workers died

    def _put_back(self) -> Sequence[FrozenTrial]:
        """Under the lock: ends what dead workers left, and queues again what has no result. Anyone may do it, any number of times.

        Returns all trials as they are then: to read them is what costs most.
        """
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False)
        running = [t for t in trials if t.state == TrialState.RUNNING]
        alive = self.database.alive({t.user_attrs.get("worker", "") for t in running}) - {self.database.worker}
        changed = False
        for trial in running:  # one of this worker's own is one whose taking was cut off: it holds none while it takes another
            if trial.user_attrs.get("worker") not in alive:
                kept = trial.user_attrs.get(_KEPT)
                self._tell(trial.number, TrialResult.from_dict(json.loads(kept)) if kept else None)
                changed = True
        trials = self.study.get_trials(deepcopy=False) if changed else trials
        lines = defaultdict(list)
        for trial in trials:
            lines[trial.user_attrs.get("again", trial.number)].append(trial)
        for first, line in lines.items():
            ended = all(t.state.is_finished() for t in line)
            if not ended or any(_KEPT in t.user_attrs for t in line) or "knobs" not in line[-1].user_attrs:
                continue  # it waits, runs, has its result, or nothing was decided yet when its worker died
            knobs = Knobs.from_dict(json.loads(line[-1].user_attrs["knobs"]))
            if sum("released" not in t.user_attrs for t in line) <= RETRIES:
                self._queue(knobs, {"again": first}, line[-1].params)
            else:
                self._give_up(first, knobs)
            changed = True
        return self.study.get_trials(deepcopy=False) if changed else trials

    def _give_up(self, first: int, knobs: Knobs) -> None:
        import optuna

        error = f"its worker died {RETRIES + 1} times (killed, out of memory?)"
        result = TrialResult(first, about(knobs, self.plan), "failed", error=error)
        attrs = {"again": first, "knobs": json.dumps(knobs.to_dict()), _KEPT: json.dumps(result.to_dict())}
        self.study.add_trial(optuna.create_trial(state=optuna.trial.TrialState.FAIL, user_attrs=attrs))

    def _queue(self, knobs: Knobs, attrs: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> None:
        where = self.space.point(knobs) if params is None else dict(params)
        self.study.enqueue_trial(where, user_attrs={"knobs": json.dumps(knobs.to_dict()), **attrs})

    # How it stands

    @property
    def results(self) -> tuple[TrialResult, ...]:
        """Every finished trial, failed ones included, by number; one result for one trial, however often it was run."""
        found: dict[int, TrialResult] = {}
        for trial in persistent(self.database, lambda: self.study.get_trials(deepcopy=False), self._say):
            text = trial.user_attrs.get(_KEPT)
            if text is not None:
                if trial.number not in self._parsed:
                    self._parsed[trial.number] = TrialResult.from_dict(json.loads(text))
                result = self._parsed[trial.number]
                found.setdefault(result.number, result)
        return tuple(found[number] for number in sorted(found))

    def standing(self) -> Standing:
        """How it stands now."""
        return self._locked(lambda: self._standing(self.study.get_trials(deepcopy=False)))

    def _standing(self, trials: Sequence[FrozenTrial]) -> Standing:
        from optuna.trial import TrialState

        ended: dict[int, bool] = {}  # first number -> whether it failed
        for trial in trials:
            if _KEPT in trial.user_attrs:
                ended.setdefault(trial.user_attrs.get("again", trial.number), trial.state == TrialState.FAIL)
        running = [t for t in trials if t.state == TrialState.RUNNING and t.user_attrs.get("again", t.number) not in ended]
        alive = self.database.alive({t.user_attrs.get("worker", "") for t in running})
        attrs = self.study.user_attrs
        self.last = Standing(
            trials=int(attrs["config"]["trials"]),
            done=len(ended),
            failed=sum(ended.values()),
            running=sum(t.user_attrs.get("worker") in alive for t in running),
            stopped=attrs.get("stopped", ""),
        )
        return self.last

    def hosts(self) -> Mapping[int, str]:
        """Trial number -> name of the process that ran it, ``HOST-PID-..``."""
        trials = persistent(self.database, lambda: self.study.get_trials(deepcopy=False), self._say)
        return {t.user_attrs.get("again", t.number): t.user_attrs.get("worker", "") for t in trials if _KEPT in t.user_attrs}

    def close(self) -> None:
        """This process no longer counts as a living worker."""
        self.database.close()


def find_study(folder: Path | None, url: str | None, name: str | None) -> tuple[Place, dict[str, Any]]:
    """Where a study is that exists, and its configuration.

    Args:
        folder: the run folder; None: ``runs/NAME``. url: of a server; None: the folder holds the study. name: None: the only one there.

    Raises:
        UsageError: there is none of that name, or several without one; those that are there are named.
    """
    import optuna

    database = open_database(Place(folder or Path(), url))
    try:
        names = optuna.get_all_study_names(database.storage)
        where = f"the run folder {folder}" if url is None else shown(url)
        if name is None and len(names) != 1:
            raise UsageError(
                f"{where} holds {len(names)} studies; {'name one with --study: ' + ', '.join(sorted(names)) if names else _MAKE}"
            )
        name = name or names[0]
        if name not in names:
            raise UsageError(f"{where} holds no study '{name}'. There: {', '.join(sorted(names)) or 'none'}; {_MAKE}")
        attrs = optuna.load_study(study_name=name, storage=database.storage).user_attrs
        if "config" not in attrs:
            raise UsageError(f"the study '{name}' in {where} is no sweep of hwdse.")
        return Place(folder or Path("runs") / name, url, name), dict(attrs["config"])
    finally:
        database.close()


_MAKE = "hwdse sweep makes one, and workers take part in it."


def _violation(result: TrialResult) -> float:
    """By how much a budget is broken; a failed trial breaks it."""
    return -min([*result.slack.values(), 0.0]) if result.state == "complete" else 1.0


def _short(theirs: Mapping[str, Any], part: str) -> bool:
    return part in ("hwdse", "torch", "seed") and part in theirs


def finite(values: Sequence[float], instead: float) -> list[float]:
    """Optuna takes no infinity: a cost that an accelerator cannot run becomes ``instead``."""
    return [v if math.isfinite(v) else instead for v in values]
