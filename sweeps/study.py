"""The study behind a sweep: Optuna, in ``study.db`` of the run folder. The only file that imports it at work."""

from __future__ import annotations

import contextlib
import json
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hwdse.errors import FileFormatError, UsageError
from hwdse.records import TrialResult
from hwdse.storage import StorageError

from .config import SweepConfig
from .knobs import Knobs, Plan
from .samplers import make_sampler

if TYPE_CHECKING:
    import optuna

Values = Callable[[TrialResult], Sequence[float]]  # a result as the sampler's objectives, all finite
Run = Callable[[int, Knobs], TrialResult]
Direction = Literal["minimize", "maximize"]
_KEPT = "result"  # user attribute with the JSON of a TrialResult: the study is the record's source


class _Failed(Exception):
    """Tells Optuna that a trial failed, after its result has been kept."""


class Study:
    """Trials, safe on disk as soon as each ends, and the sampler that proposes the next.

    Args:
        folder: the run folder.
        config, plan: what to search.
        identity: fingerprint of task, graph and seed. A folder of another identity is refused.
        directions: ``maximize`` or ``minimize`` per objective.

    Raises:
        FileFormatError: ``study.db`` is truncated or no database. UsageError: it belongs to another task or configuration.
    """

    def __init__(self, folder: Path, config: SweepConfig, plan: Plan, identity: str, directions: Sequence[Direction]) -> None:
        import optuna
        import sqlalchemy.exc

        self.folder, self.config, self.plan = folder, config, plan
        self._goals = {f"{target or 'any'} / budget {number + 1}": (target, number) for target, number in plan.limits}
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.study = optuna.create_study(
                storage=f"sqlite:///{(folder / 'study.db').resolve()}",
                study_name="sweep",
                directions=list(directions),
                load_if_exists=True,
            )
            known = self.study.user_attrs
        except OSError as error:
            raise StorageError(f"cannot write {folder}: {error.strerror or error}. Give a folder that can be written.") from None
        except sqlalchemy.exc.DatabaseError as error:
            raise _database_error(folder, error) from None
        except Exception as error:
            if "sqlalchemy" in type(error.__cause__ or error).__module__ or type(error).__name__ == "StorageInternalError":
                raise _database_error(folder, error.__cause__ or error) from None
            raise
        self.study.sampler = make_sampler(config.sampler, config.seed + len(self.study.trials))
        if not known:
            self.study.set_user_attr("identity", identity)
            self.study.set_user_attr("config", config.plain())
        else:
            self._same(known, identity)
        self._put_back()

    def _same(self, known: dict[str, Any], identity: str) -> None:
        """A run folder goes on only with its own task and configuration; the number of trials may grow."""
        if known.get("identity") != identity:
            raise UsageError(
                f"the run folder {self.folder} belongs to another task, model, seed, accelerator file or version of hwdse (task "
                f"'{known.get('config', {}).get('task')}'): its costs or scores would not compare; "
                "give another folder, or delete this one."
            )
        old, new = known["config"], self.config.plain()
        changed = sorted(key for key in {*old, *new} - {"trials"} if old.get(key) != new.get(key))
        if changed:
            was = "; ".join(f"{key}: was {old.get(key)}, now {new.get(key)}" for key in changed)
            raise UsageError(f"the run folder {self.folder} was made with another configuration ({was}); give another folder.")
        self.study.set_user_attr("config", new)

    def _put_back(self) -> None:
        """Trials that ended without a result (Ctrl-C, a killed process) are queued again, once each."""
        from optuna.trial import TrialState

        again = list(self.study.user_attrs.get("queued again", []))
        for trial in self.study.get_trials(states=(TrialState.RUNNING, TrialState.FAIL)):
            if _KEPT in trial.user_attrs or trial.number in again:
                continue
            if trial.state == TrialState.RUNNING:
                self.study.tell(trial.number, state=TrialState.FAIL)
            if "knobs" in trial.user_attrs:
                self.study.enqueue_trial(trial.params, user_attrs={"knobs": trial.user_attrs["knobs"]})
            again.append(trial.number)
        self.study.set_user_attr("queued again", again)

    def enqueue(self, trials: Iterable[Knobs]) -> None:
        """Queues the first trials, once."""
        if self.study.trials:
            return
        for knobs in trials:
            self.study.enqueue_trial(self._params(knobs), user_attrs={"knobs": json.dumps(knobs.to_dict())})

    def _params(self, knobs: Knobs) -> dict[str, Any]:
        """The point of the search space that a queued trial stands at; baselines stand nowhere."""
        goal = next((name for name, key in self._goals.items() if key == (knobs.accelerator, knobs.goal)), None)
        if goal is None or knobs.allocator not in self.config.allocators or knobs.epochs not in self.config.epochs:
            return {}
        return {"goal": goal, "allocator": knobs.allocator, "tightness": knobs.tightness, "epochs": knobs.epochs}

    def _knobs(self, trial: optuna.Trial) -> Knobs:
        """Of a queued trial: as queued. Otherwise the sampler's."""
        queued = trial.user_attrs.get("knobs")
        if queued is not None and not self._params(Knobs.from_dict(json.loads(queued))):
            return Knobs.from_dict(json.loads(queued))
        goal = trial.suggest_categorical("goal", list(self._goals))
        allocator = trial.suggest_categorical("allocator", list(self.config.allocators))
        tightness = trial.suggest_float("tightness", self.config.tightness[0], 1.0)
        epochs = trial.suggest_categorical("epochs", list(self.config.epochs))
        if queued is not None:
            return Knobs.from_dict(json.loads(queued))
        target, number = self._goals[goal]
        # the sampler's range is laid over what can be met, so that no two of its values mean the same
        (low, high), least = self.config.tightness, self.plan.least[target, number]
        share = (tightness - low) / (1 - low) if low < 1 else 1.0
        inside = least + share * (max(high, least) - least)
        return Knobs(allocator, target, number, round(inside, 4), epochs, self.config.seed)

    @property
    def results(self) -> tuple[TrialResult, ...]:
        """Every finished trial, failed ones included, by number."""
        kept = (trial.user_attrs.get(_KEPT) for trial in self.study.get_trials(deepcopy=False))
        return tuple(TrialResult.from_dict(json.loads(text)) for text in kept if text)

    def run(self, remaining: int, run: Run, values: Values) -> Iterator[TrialResult]:
        """Runs trials one after the other and yields each as it ends."""
        for _ in range(remaining):
            ended: list[TrialResult] = []

            def objective(trial: optuna.Trial, ended: list[TrialResult] = ended) -> Sequence[float]:
                knobs = self._knobs(trial)
                trial.set_user_attr("knobs", json.dumps(knobs.to_dict()))
                result = run(trial.number, knobs)
                trial.set_user_attr(_KEPT, json.dumps(result.to_dict()))
                ended.append(result)
                trial.set_constraint("budget", -min([*result.slack.values(), 0.0]) if result.state == "complete" else 1.0)
                if result.state != "complete":
                    raise _Failed
                return values(result)

            with warnings.catch_warnings(), contextlib.suppress(_Failed):
                warnings.simplefilter("ignore", category=UserWarning)  # Optuna's, on parameters of queued trials
                self.study.optimize(objective, n_trials=1, catch=(_Failed,))
            yield from ended


def _database_error(folder: Path, error: BaseException) -> Exception:
    reason = str(getattr(error, "orig", None) or error).splitlines()[0]
    if "readonly" in reason or "unable to open" in reason or ("disk" in reason and "malformed" not in reason):
        return StorageError(f"cannot write {folder / 'study.db'}: {reason}. Give a folder that can be written and has room.")
    return FileFormatError(
        folder / "study.db", f"is truncated or not a study database ({reason}). Delete it to start the sweep anew, or give another folder."
    )


def finite(values: Sequence[float], instead: float) -> list[float]:
    """Optuna takes no infinity: a cost that an accelerator cannot run becomes ``instead``."""
    return [v if math.isfinite(v) else instead for v in values]
