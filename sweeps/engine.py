"""Runs a sweep and leaves a record that can be read after every trial."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hwdse import __version__
from hwdse.bits import BitWidths
from hwdse.constraints import find_metric
from hwdse.costs import CostTable
from hwdse.errors import HwdseError
from hwdse.evaluation import evaluate
from hwdse.metrics import Metric
from hwdse.pareto import ParetoFront
from hwdse.quantizers import Scheme
from hwdse.records import SweepRecord, TrialResult
from hwdse.storage import key_of, read_checkpoint
from hwdse.workbench import Workbench

from .config import SweepConfig
from .knobs import Knobs, Plan, first_trials
from .study import Direction, Study, finite
from .trial import about, run_trial


@dataclass(frozen=True)
class Progress:
    """Where a sweep stands. ``seconds_left`` is None until a trial has ended."""

    what: str
    trials_done: int
    trials: int
    steps_done: int
    steps: int
    failed: int
    seconds_left: float | None


Say = Callable[[Progress], None]


def run_sweep(bench: Workbench, config: SweepConfig, folder: Path, say: Say | None = None) -> SweepRecord:
    """Runs, or goes on with, a sweep.

    A failed trial is recorded with its error and the sweep goes on. The record on disk is whole after every trial, so that Ctrl-C
    loses the trial under way and nothing else.

    Args:
        bench: the task with the accelerators and cost models of ``config``.
        config: what to run.
        folder: the run folder, made where it is absent.
        say: told where the sweep stands.

    Raises:
        UsageError: a folder of another task or configuration, malformed budgets. StorageError: a folder that cannot be written.
    """
    sweep = _Sweep(bench, config, folder, say or (lambda progress: None))
    return sweep.run()


class _Sweep:
    def __init__(self, bench: Workbench, config: SweepConfig, folder: Path, say: Say) -> None:
        self.bench, self.config, self.folder, self.say = bench, config, folder, say
        for text in config.baselines:
            bench.choices.uniform(BitWidths.parse(text))  # a baseline that is not allowed is said before anything runs
        self.plan = Plan.of(config, bench)
        self.objectives = self._objective_names()
        direction: Direction = "maximize" if bench.task.metric.better == "higher" else "minimize"
        identity = key_of(bench.fingerprint, config.seed, bench.weights_fingerprint, bench.costs_fingerprint, __version__)
        costs: list[Direction] = ["minimize"] * self._costs
        self.study = Study(folder, config, self.plan, identity, [direction, *costs])
        self.study.enqueue(first_trials(config, self.plan))

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
        """(score, cost relative to uniform w8a8 on the trial's accelerator), so that accelerators compare."""
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
            reference = self.bench.tables[key_].totals(self.widest)[0]
            costs.append(result.measures[key_] / reference if reference else 0.0)
        return [result.measures[self.bench.task.metric.key], *finite(costs, 2.0)]

    @property
    def widest(self) -> Any:
        """Option indices of the widest uniform allocation."""
        allowed = self.bench.choices.allowed
        return allowed.shape[1] - 1 - allowed[:, ::-1].argmax(axis=1)

    def run(self) -> SweepRecord:
        """See :func:`run_sweep`."""
        record = self._record()
        done = list(self.study.results)
        remaining = max(0, self.config.trials - len(done))
        began, current = time.perf_counter(), ""

        def tell(steps_done: int, steps: int) -> None:
            ended = len(done) - (self.config.trials - remaining)
            share = ended + (steps_done / steps if steps else 0)
            left = (time.perf_counter() - began) / share * (remaining - share) if ended and share else None
            failed = sum(1 for r in done if r.state == "failed")
            self.say(Progress(current, len(done), self.config.trials, steps_done, steps, failed, left))

        def run(number: int, knobs: Knobs) -> TrialResult:
            nonlocal current
            current = str(knobs)
            tell(0, 0)
            started = time.perf_counter()
            try:
                return run_trial(self.bench, self.plan, knobs, number, self.folder, tell, self.study.results)
            except HwdseError as error:
                text = str(error)
            except (RuntimeError, ValueError, ArithmeticError, TypeError, LookupError) as error:
                text = f"{type(error).__name__}: {error}"  # the task's own code, or torch
            return TrialResult(number, about(knobs, self.plan), "failed", seconds=time.perf_counter() - started, error=text.splitlines()[0])

        record.with_trials(tuple(done)).save(self.folder)
        for result in self.study.run(remaining, run, self._values):
            done.append(result)
            record.with_trials(tuple(done)).save(self.folder)
        current = "test split of the front"
        tell(0, 0)
        record = self._tested(record.with_trials(tuple(done)))
        record.save(self.folder)
        return record

    def _tested(self, record: SweepRecord) -> SweepRecord:
        """Scores the points of every front on the test split, from their checkpoints. Validation has picked; this is the one look."""
        wanted = {t.number for m in record.costs for t in ParetoFront.of(record.trials, (m, record.score)).trials}
        wanted |= {t.number for t in record.complete if t.knobs.get("origin") == "baseline"}
        trials = []
        for trial in record.trials:
            path = self.folder / "checkpoints" / f"{trial.knobs.get('same_as', trial.number)}.pt"
            if trial.number in wanted and trial.test is None and path.exists():
                state = read_checkpoint(path.read_bytes(), path)
                model = self.bench.quantized(Scheme(*state["scheme"]))
                model.load_state(state)
                trial = replace(trial, test=evaluate(model.network, self.bench.task, "test").mean)
            trials.append(trial)
        return record.with_trials(tuple(trials))

    def _record(self) -> SweepRecord:
        """Everything but the trials."""
        bench, graph = self.bench, self.bench.graph
        tables = {**bench.tables, "loss": bench.loss()}
        return SweepRecord(
            task=bench.task.name,
            score=bench.task.metric,
            costs=tuple(t.metric for t in bench.tables.values()),
            budgets=tuple(tuple(c.text for c in budget) for budget in dict.fromkeys(self.plan.limits.values())),
            limits={c.text: c.limit for budget in self.plan.limits.values() for c in budget},
            trials=(),
            reference=bench.reference,
            graph={
                "fingerprint": graph.fingerprint,
                "macs": graph.macs,
                "params": graph.params,
                "batch": graph.layers[0].input_shape[0] if graph.layers else 1,
                "layers": [
                    {k: v for k, v in asdict(layer).items() if k in ("name", "kind", "macs", "weight_shape", "output_shape")}
                    | {"params": layer.params, "quantisable": layer.quantisable}
                    for layer in graph.layers
                ],
                "left_out": [asdict(item) for item in graph.left_out],
            },
            conventions={t.metric.key: _convention(t.metric, t.convention, t.notes) for t in bench.tables.values()}
            | {"loss": _convention(tables["loss"].metric, tables["loss"].convention, tables["loss"].notes)},
            provenance={**bench.provenance(), "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")},
            config=self.config.plain(),
            tables=tables,
        )


def _convention(metric: Metric, convention: str, notes: Sequence[str]) -> Mapping[str, Any]:
    return {"convention": convention, "notes": list(notes), "accelerator": metric.on}
