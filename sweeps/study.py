"""The study behind a sweep: trials that any number of workers take, run and give back, in an Optuna study.

What makes it safe against death at any moment is counted, not timed. A trial that is tried again is a new row of Optuna's under the number
of the first (:mod:`~hwdse.sweeps.tries`). Whoever takes a trial ends, under the lock, every row that runs at no living worker, and takes
what is lost before anything new.
"""

from __future__ import annotations

import math
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from hwdse.checksums import KEY, altered, stamped
from hwdse.records import TrialResult

from .config import SweepConfig
from .database import Database, Place, persistent
from .finding import open_database
from .identity import SCHEMA, check_study
from .knobs import Knobs, Plan
from .samplers import make_sampler
from .space import Space
from .trial import about
from .tries import KEPT, RELEASED, RETRIES, TRY, Tried, attempt, sound, tried, worker_of

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

T = TypeVar("T")
Values = Callable[[TrialResult], Sequence[float]]  # a result as the sampler's objectives, all finite
Say = Callable[[str], None]
Propose = Callable[[Sequence[TrialResult], Sequence[Knobs]], Knobs | None]
Direction = Literal["minimize", "maximize"]


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


@dataclass(frozen=True)
class Proposal:
    """What to try as a trial's number; ``knobs`` None: what the sampler says."""

    number: int
    knobs: Knobs | None


@dataclass(frozen=True)
class _Asked:
    """What a proposal is made from."""

    number: int
    results: Sequence[TrialResult]
    at_work: Sequence[Knobs]


class Study:
    """Trials, safe on disk as soon as each ends, and the sampler that proposes the next.

    Args:
        place: where the study is kept.
        config, plan: what to search.
        identity: what must be equal for costs and scores to compare: name -> fingerprint. A study of another identity is refused.
        directions: ``maximize`` or ``minimize`` per objective. values: a result as objectives.
        first: the trials that come before the search, the same for every worker.
        propose: what to try next, from the results and the knobs of trials that run; None leaves it to the sampler.
        join: take part in a study that exists; False: make it where it does not.
        say: told of a database that went away.

    Attributes:
        run: what no other study is called: says whose a run folder is.

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
        first: Sequence[Knobs] = (),
        propose: Propose | None = None,
        join: bool = False,
        say: Say | None = None,
    ) -> None:
        self.place, self.config, self.plan, self.values, self.first, self.propose = place, config, plan, values, first, propose
        self.space = Space(config, plan)
        self._say: Say = say or (lambda text: None)
        self._parsed: dict[int, TrialResult] = {}
        make_sampler(config.sampler, 0)  # an unknown name is said before anything runs
        self.database: Database = open_database(place)
        try:
            self._locked(lambda: self._set_up(dict(identity), directions, join))
        except BaseException:
            self.close()
            raise

    def _locked(self, action: Callable[[], T]) -> T:
        def alone() -> T:
            with self.database.lock():
                return action()

        return persistent(self.database, alone, self._say)

    def _set_up(self, identity: dict[str, str], directions: Sequence[Direction], join: bool) -> None:
        """Under the lock. Each step may have been done before, by one who died at the next."""
        import optuna

        self.study = optuna.create_study(
            storage=self.database.storage, study_name=self.place.study, directions=list(directions), load_if_exists=True
        )
        known = self.study.user_attrs
        if "config" in known:
            check_study(self.place, known, self.config, identity, join)
            if not join:
                self.study.set_user_attr("config", self.config.plain())
                self.study.set_user_attr("stopped", "")
        else:
            self.study.set_user_attr("schema", SCHEMA)
            self.study.set_user_attr("run", uuid.uuid4().hex)
            self.study.set_user_attr("identity", identity)
            self.study.set_user_attr("config", self.config.plain())
        self.run = str(self.study.user_attrs["run"])

    def tests(self) -> Mapping[int, float | str]:
        """Test scores by number of the trial, or why there is none."""
        return self._tests(persistent(self.database, lambda: self.study.user_attrs.get("test", {}), self._say))

    def _tests(self, kept: Mapping[str, Any]) -> dict[int, float | str]:
        if altered(kept):
            self._say(f"{self.place}: the test scores are not as they were kept; they are taken again.")
            return {}
        return {int(number): value for number, value in kept.items() if number != KEY}

    def keep_tests(self, found: Mapping[int, float | str]) -> None:
        """Adds to :meth:`tests`; a score replaces why there was none."""

        def add() -> None:
            kept = self._tests(self.study.user_attrs.get("test", {}))
            scored = {number for number, value in kept.items() if not isinstance(value, str)}
            new = {number: value for number, value in found.items() if number not in scored}
            self.study.set_user_attr("test", stamped({str(number): value for number, value in {**kept, **new}.items()}))

        self._locked(add)

    def describe(self, record: Mapping[str, Any]) -> None:
        """Keeps the run's record without its trials: who looks on from elsewhere has the study alone."""
        self._locked(lambda: self.study.set_user_attr("record", stamped(record)))

    def described(self) -> Mapping[str, Any]:
        """What :meth:`describe` keeps; empty where there is nothing yet, or not as it was kept."""
        kept: Mapping[str, Any] = persistent(self.database, lambda: self.study.user_attrs.get("record", {}), self._say)
        return {} if altered(kept) else kept

    # Taking a trial and giving it back

    def claim(self) -> Claim | Standing:
        """The next trial, or how the sweep stands where none is to be started: it is over, or others run the last ones."""
        proposed: Proposal | None = None
        while True:
            found = self._locked(lambda proposed=proposed: self._take(proposed))  # type: ignore[misc]  # bound now
            if not isinstance(found, _Asked):
                return found
            # thought about without the lock, which a server takes away from who holds it for long
            proposed = Proposal(found.number, self.propose(found.results, found.at_work) if self.propose else None)

    def _take(self, proposed: Proposal | None) -> Claim | Standing | _Asked:
        """``proposed``: for the number that it was asked for; if another worker has taken that, it is asked for again."""
        self.database.enrol()
        trials = self._tried()
        standing = self._standing(trials)
        if standing.over or standing.done + standing.running >= standing.trials:
            return standing
        self.last = replace(standing, running=standing.running + 1)
        lost = next((t for t in trials.values() if t.lost), None)
        if lost is not None:
            return self._start(lost.number, lost.knobs)
        number = len(trials)
        if number < len(self.first):
            return self._start(number, self.first[number])
        if self.propose is not None and (proposed is None or proposed.number != number):
            return _Asked(number, self._results(trials), [t.knobs for t in trials.values() if t.running is not None])
        return self._ask(number) if proposed is None or proposed.knobs is None else self._start(number, proposed.knobs)

    def _start(self, number: int, knobs: Knobs) -> Claim:
        """A row for what is decided already, in one commit."""
        import optuna

        params = self.space.point(knobs)
        distributions = {name: one for name, one in self.space.distributions.items() if name in params}
        row = optuna.create_trial(
            state=optuna.trial.TrialState.RUNNING, params=params, distributions=distributions,
            user_attrs={TRY: attempt(number, self.database.worker, knobs)},
        )  # fmt: skip
        self.study.sampler = make_sampler("random", 0)  # nothing is left to it
        return Claim(optuna.Trial(self.study, self.study._storage.create_new_trial(self.study._study_id, row)), number, knobs)

    def _ask(self, number: int) -> Claim:
        """The sampler chooses, for the next goal in turn. Seeded by the number: workers with the same trials before them differ."""
        from optuna.samplers import PartialFixedSampler

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna's, on a sampler that it calls experimental
            self.study.sampler = PartialFixedSampler(
                {"goal": self.space.turn(number)}, make_sampler(self.config.sampler, self.config.seed + number)
            )
            trial = self.study.ask(self.space.distributions)
        knobs = self.space.knobs(trial.params)
        trial.set_user_attr(TRY, attempt(number, self.database.worker, knobs))
        return Claim(trial, number, knobs)

    def keep(self, claim: Claim, result: TrialResult) -> bool:
        """Keeps a result. False: this worker was silent for so long that the trial was given to another; the result is dropped."""
        return self._locked(lambda: self._keep(claim, result))

    def _keep(self, claim: Claim, result: TrialResult) -> bool:
        row = self.database.storage.get_trial(claim.trial._trial_id)
        if row.state.is_finished():  # by a first try of this, whose answer was lost, or by one who took this worker for dead
            return KEPT in row.user_attrs
        if tried(self._rows())[claim.number].kept is not None:  # two held it at once, and the other was first
            self._end(claim.trial._trial_id, None)
            return False
        claim.trial.set_constraint("budget", _violation(result))
        claim.trial.set_user_attr(KEPT, stamped(result.to_dict()))
        self._end(claim.trial._trial_id, result)
        return True

    def release(self, claim: Claim) -> None:
        """Gives a trial back that was interrupted: it is tried again, and that does not count as a death."""

        def give() -> None:
            if not self.database.storage.get_trial(claim.trial._trial_id).state.is_finished():
                claim.trial.set_user_attr(RELEASED, True)
                self._end(claim.trial._trial_id, None)

        self._locked(give)

    def _end(self, row: int, result: TrialResult | None) -> None:
        from optuna.trial import TrialState

        if result is not None and result.state == "complete":
            self.study._storage.set_trial_state_values(row, TrialState.COMPLETE, list(self.values(result)))
        else:
            self.study._storage.set_trial_state_values(row, TrialState.FAIL)

    def stop(self, reason: str) -> None:
        """No worker starts another trial; a later ``hwdse sweep`` lifts it."""
        self._locked(lambda: self.study.set_user_attr("stopped", reason))

    # Trials whose workers died

    def _tried(self) -> Mapping[int, Tried]:
        """Under the lock: all trials, those of dead workers ended. Anyone may do it, any number of times."""
        rows = self._rows()
        running = [row for row in rows if not row.state.is_finished()]
        # one of this worker's own is one whose taking was cut off: it holds none while it takes another
        alive = self.database.alive({worker_of(row) for row in running}) - {self.database.worker}
        dead = [row for row in running if worker_of(row) not in alive]
        for row in dead:
            kept = row.user_attrs.get(KEPT)
            self._end(row._trial_id, TrialResult.from_dict(kept) if kept and sound(row) else None)
        trials = tried(self._rows() if dead else rows)
        for one in trials.values():
            if one.lost and any(KEPT in row.user_attrs for row in one.tries):
                self._say(f"{self.place}: the result of trial {one.number} is not as it was kept; it is measured again.")
        hopeless = [t for t in trials.values() if t.lost and t.given_up]
        for one in hopeless:
            self._give_up(one)
        return tried(self._rows()) if hopeless else trials

    def _give_up(self, one: Tried) -> None:
        import optuna

        error = f"its worker died {RETRIES + 1} times (killed, out of memory?)"
        result = TrialResult(one.number, about(one.knobs, self.plan), "failed", error=error)
        attrs = {TRY: attempt(one.number, self.database.worker, one.knobs), KEPT: stamped(result.to_dict())}
        self.study.add_trial(optuna.create_trial(state=optuna.trial.TrialState.FAIL, user_attrs=attrs))

    # How it stands

    def _rows(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    @property
    def results(self) -> tuple[TrialResult, ...]:
        """Every finished trial, failed ones included, by number."""
        return self._results(tried(persistent(self.database, self._rows, self._say)))

    def _results(self, trials: Mapping[int, Tried]) -> tuple[TrialResult, ...]:
        found = []
        for number, one in trials.items():
            if number not in self._parsed and one.kept is not None:
                self._parsed[number] = TrialResult.from_dict(one.kept.user_attrs[KEPT])
            if number in self._parsed:
                found.append(self._parsed[number])
        return tuple(found)

    def standing(self) -> Standing:
        """How it stands now."""
        return self._locked(lambda: self._standing(tried(self._rows())))

    def _standing(self, trials: Mapping[int, Tried]) -> Standing:
        from optuna.trial import TrialState

        kept = [t.kept for t in trials.values() if t.kept is not None]
        running = [worker_of(t.running) for t in trials.values() if t.running is not None]
        alive = self.database.alive(set(running))
        attrs = self.study.user_attrs
        self.last = Standing(
            trials=int(attrs["config"]["trials"]),
            done=len(kept),
            failed=sum(row.state == TrialState.FAIL for row in kept),
            running=sum(worker in alive for worker in running),
            stopped=attrs.get("stopped", ""),
        )
        return self.last

    def hosts(self) -> Mapping[int, str]:
        """Trial number -> name of the process that ran it, ``HOST-PID-..``."""
        trials = tried(persistent(self.database, self._rows, self._say))
        return {number: worker_of(one.kept) for number, one in trials.items() if one.kept is not None}

    def close(self) -> None:
        """This process no longer counts as a living worker."""
        self.database.close()


def _violation(result: TrialResult) -> float:
    """By how much a budget is broken; a failed trial breaks it."""
    return -min([*result.slack.values(), 0.0]) if result.state == "complete" else 1.0


def finite(values: Sequence[float], instead: float) -> list[float]:
    """Optuna takes no infinity: a cost that an accelerator cannot run becomes ``instead``."""
    return [v if math.isfinite(v) else instead for v in values]
