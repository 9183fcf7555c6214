"""What an architect types in Python: a workbench by names, allocations, measurements, sweeps and their runs.

bench = hwdse.Workbench("digits", accelerators=["mpic"])
plan = bench.allocate("latency <= 70% of w8a8", "weights <= 50% of w8a8")
result = bench.measure(plan)
run = hwdse.sweep(bench, budgets=["latency <= 3 ms"], trials=40, output="runs/mine")
best = run.pick("latency <= 1.2 ms")
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .allocators import Fixed
from .constraints import find_metric
from .costmodels import Accelerator, cost_model, load_accelerator
from .costs import CostModel
from .errors import UsageError
from .formats import Allocation, LayerFormat, listed, parse_options
from .handoff import hand_off
from .ladder import ladder
from .measure import measure
from .metrics import Metric
from .problem import Problem, Solution, loss_table
from .quantizers import Scheme
from .records import SweepRecord, TrialResult
from .reports import Pick, front_frame, pick, trials_frame, write_report
from .reports.commands import COST_MODELS
from .solvers import solve
from .sweeps import SweepConfig, run_sweep
from .task import Task, recipes_of
from .tasks import load_task
from .workbench import Workbench as Core

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Result:
    """A measured allocation.

    Attributes:
        score: mean over the validation split, in the metric's stored unit. interval: its 95 % interval; None where there is none.
        fp32: the FP32 network's score there. samples: how many.
        costs: metric key -> cost, in the metric's stored unit; infinite where the accelerator cannot run it.
        notes: what must be said of it, a sentence each.
    """

    metric: Metric
    allocation: Allocation
    score: float
    interval: tuple[float, float] | None
    samples: int
    fp32: float
    costs: Mapping[str, float]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        interval = "" if self.interval is None else f" ({' to '.join(map(self.metric.format, self.interval))})"
        return f"{self.metric.name} {self.metric.format(self.score)}{interval}, FP32 {self.metric.format(self.fp32)}"

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{html.escape(name)}</td><td>{chosen}</td></tr>" for name, chosen in self.allocation.items())
        return f"<p>{html.escape(str(self))}</p><table><tr><th>layer</th><th>format</th></tr>{rows}</table>"


class Workbench(Core):
    """A task with accelerators and cost models, each by its name, its file, or as an object.

    Args:
        task: ``"digits"``, ``"my_module:MyTask"``, or a task.
        accelerators: shipped names, paths of accelerator files, or accelerators.
        cost_models: names, or cost models; default: those of the commands.
        formats: what is chosen from, ``"int2..int8, mxfp4"``; default: int2 to int8.
        settings: as for :class:`~hwdse.workbench.Workbench`: method, seed, device, decode, pins, cache, say.

    Raises:
        UnknownName: a name that nobody provides. FileFormatError: a file with a mistake.
    """

    def __init__(
        self,
        task: Task | str,
        accelerators: Iterable[Accelerator | str | Path] = (),
        cost_models: Iterable[CostModel | str] = COST_MODELS,
        *,
        formats: str | Iterable[LayerFormat] | None = None,
        **settings: Any,
    ) -> None:
        accelerators, cost_models = list(accelerators), list(cost_models)
        self._given: dict[str, Any] = {
            "task": task, "accelerators": accelerators, "cost_models": cost_models,
            **{key: settings[key] for key in ("seed", "device", "decode") if key in settings},
            **({"sensitivity": settings["method"]} if "method" in settings else {}),
            **({"formats": formats} if formats is not None else {}),
        }  # fmt: skip
        super().__init__(
            load_task(task) if isinstance(task, str) else task,
            [load_accelerator(one) if isinstance(one, str | Path) else one for one in accelerators],
            [cost_model(one) if isinstance(one, str) else one for one in cost_models],
            formats=parse_options(formats) if isinstance(formats, str) else formats,
            **settings,
        )

    def allocate(
        self, *budget: str, formats: str | Iterable[LayerFormat] | None = None, accelerator: str | None = None, scheme: str | None = None
    ) -> Solution:
        """The allocation with the smallest expected loss inside a budget; nothing is trained for it but the FP32 network.

        Args:
            budget: texts such as ``"latency <= 3 ms"`` and ``"weights <= 50% of w8a8"``.
            formats: in place of the bench's own, ``"int2..int8, mxfp4"``.
            accelerator: whose limits hold; default: the only one, or of several those of all.
            scheme: quantisers, ``"lsq_channel+lsq@mse"``.

        Raises:
            InfeasibleBudget: nothing is inside; the message names what can be reached. UsageError: malformed text.
        """
        bench = self if formats is None else self.choosing_from(parse_options(formats) if isinstance(formats, str) else formats)
        return solve(bench.problem(*budget, target=self._target(accelerator), scheme=Scheme.parse(scheme) if scheme else None))

    def measure(
        self,
        plan: Solution | Allocation | Mapping[str, LayerFormat],
        *,
        epochs: int = 0,
        scheme: str | None = None,
        seed: int | None = None,
    ) -> Result:
        """Quantises the network to an allocation and scores it on the validation split.

        Args:
            plan: what :meth:`allocate` gave, or an allocation.
            epochs: of fine-tuning at these formats; 0: adaptive rounding without training.
            scheme: quantisers; default: lsq+lsq@mse. One that makes codebooks of plain widths does so here too.
            seed: of the order of the data; default: the bench's.

        Raises:
            UsageError: layers without a format, or formats that ties contradict. TrainingDiverged: the loss is not finite.
        """
        given, chosen = Scheme.parse(scheme) if scheme else Scheme(), plan.allocation if isinstance(plan, Solution) else plan
        missing = [name for name in self.choices.layers if name not in chosen]
        if missing:
            raise UsageError(f"the allocation must give a format to every layer; it has none for {', '.join(missing[:8])}.")
        allocation = Allocation({name: given.formats(chosen[name]) for name in self.choices.layers})
        bench = self.choosing_from(listed(allocation.values()), {name: allocation[name] for name in self.choices.pinned})
        # no losses, since nothing is chosen, and no device's limits: one that cannot run it costs infinity
        problem = Problem(bench.choices, loss_table(bench.choices, np.zeros(bench.choices.allowed.shape)), ())
        recipe = recipes_of(bench.task).finetune.at(epochs, adaptive=True)
        found = measure(bench, problem, Fixed(allocation), given, recipe, seed=bench.seed if seed is None else seed)
        assert found.score is not None  # it was asked for
        notes = (*given.requirements(allocation.values()), *bench.notes, *found.trained.notes)
        costs = {key: table.total(allocation) for key, table in bench.tables.items()}
        score = found.score
        return Result(bench.task.metric, allocation, score.mean, score.interval, score.samples, bench.reference["validation"], costs, notes)

    def tradeoff(self, metric: str, *budget: str, points: int = 16, accelerator: str | None = None) -> pd.DataFrame:
        """The front of expected loss against one cost, exact in the tables: a line a point, the cheapest first.

        Args:
            metric: ``"latency"``, or ``"latency@mpic"`` where several accelerators have it.
            budget: limits that hold throughout.
            points: limits that are solved for.
            accelerator: as for :meth:`allocate`.

        Returns:
            Columns ``cost`` (in the metric's stored unit), ``expected_loss`` (nats), ``status`` and ``allocation``.
        """
        import pandas as pd

        problem = self.problem(*budget, target=self._target(accelerator))
        key = find_metric(metric, [table.metric for table in problem.costs]).key
        rows = [(rung.cost, rung.loss, rung.solution.status, rung.solution.allocation) for rung in ladder(problem, key, points)]
        return pd.DataFrame(rows, columns=["cost", "expected_loss", "status", "allocation"])

    def _target(self, accelerator: str | None) -> str | None:
        return accelerator if accelerator is not None or len(self.targets) != 1 else next(iter(self.targets))


@dataclass(frozen=True, eq=False)
class Run:
    """A run folder: its measured trials, and what is chosen and made from them."""

    folder: Path
    record: SweepRecord
    task: Task | None = None

    @property
    def trials(self) -> pd.DataFrame:
        """A line a trial, failed ones included, costs and scores in stored units."""
        return trials_frame(self.record)

    @property
    def front(self) -> pd.DataFrame:
        """A line a point of each front."""
        return front_frame(self.record)

    def pick(self, *limits: str, **rule: Any) -> Pick:
        """Chooses from the measured points: the best score inside the limits, ``"latency <= 1.2 ms"``, ``"accuracy >= 97 %"``.

        ``rule``: knee_of, order, tolerance, sure, confidence, as for :func:`hwdse.reports.pick`, which says what is raised.
        """
        minima = [text for text in limits if ">" in text or "\u2265" in text]
        return pick(self.record, [text for text in limits if text not in minima], minima, **rule)

    def report(self, **options: Any) -> Path:
        """Writes ``report.html`` with its figures and tables; ``options`` as for :func:`hwdse.reports.write_report`."""
        return write_report(self.folder, record=self.record, **options)

    def export(
        self, chosen: Pick | TrialResult | int, folder: Path | str, *, onnx: bool = True, task: Task | str | None = None
    ) -> dict[str, Any]:
        """Hands a trial over: widths, checkpoint, costs worked out again, ONNX. See :func:`hwdse.handoff.hand_off`.

        Args:
            chosen: a pick, a trial, or its number.
            folder: made where it is absent.
            onnx: write the ONNX files too.
            task: the run's; needed where the run was loaded, for its code is run.

        Returns:
            What ``handoff.json`` says.
        """
        trial = chosen.trial if isinstance(chosen, Pick) else chosen
        number = trial.number if isinstance(trial, TrialResult) else trial
        of = load_task(task) if isinstance(task, str) else task or self.task
        if of is None:
            raise UsageError(
                f"give task={self.record.config.get('task', self.record.task)!r}: exporting runs the task's code, so name it yourself."
            )
        return hand_off(self.record, number, self.folder, Path(folder), of, onnx=onnx)

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self.record))}</p>{self.trials.to_html(max_rows=20, index=False)}"


def sweep(bench: Workbench, *, budgets: Sequence[str | Sequence[str]], output: Path | str, **config: Any) -> Run:
    """Runs a sweep of the bench's task on its accelerators; the same call goes on where it stopped.

    Args:
        bench: made from names, which the record keeps.
        budgets: each tried on its own; a list of texts holds together.
        output: the run folder.
        config: as for :class:`~hwdse.sweeps.SweepConfig`: trials, epochs, allocators, seed ...

    Raises:
        UsageError: a bench of objects in place of names, or another configuration than the folder has.
    """
    given = bench._given
    unnamed = [key for key in ("task", "accelerators", "cost_models") for one in _listed(given[key]) if not isinstance(one, str | Path)]
    if unnamed:
        raise UsageError(f"a sweep's record names its {unnamed[0]}: make the workbench from names or files, not from objects.")
    names = {key: [str(one) for one in _listed(given[key])] for key in ("accelerators", "cost_models")}
    made = SweepConfig.make(**{**given, **names, "budgets": budgets, **config})
    return Run(Path(output), run_sweep(bench, made, Path(output)), bench.task)


def load_run(folder: Path | str) -> Run:
    """Reads a run folder.

    Raises:
        StorageError: no record there. FileFormatError: one that cannot be read.
    """
    return Run(Path(folder), SweepRecord.load(Path(folder)))


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
