"""What several accelerators allow, side by side: ``hwdse compare`` and ``hwdse explore-hardware``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import typer

from hwdse.allocators import Fixed
from hwdse.constraints import find_metric, metric_names
from hwdse.costmodels import Accelerator, cost_model, load_accelerator
from hwdse.costmodels.variants import parse_vary, variants
from hwdse.errors import InfeasibleBudget, UsageError
from hwdse.formats import parse_options
from hwdse.ladder import Rung, at, ladder, merged, solved
from hwdse.measure import measure
from hwdse.metrics import Metric
from hwdse.names import file_name
from hwdse.problem import Problem
from hwdse.reports import style
from hwdse.reports.commands import COST_MODELS
from hwdse.reports.figures import figure_format, save_figure
from hwdse.task import recipes_of
from hwdse.tasks import load_task
from hwdse.workbench import Say, Workbench

from .setup import prepared, writable
from .show import print_json, print_table, print_text, telling

LIMITS = 5  # columns of the table
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
_SHAPES = "os^DvP*X"


@dataclass(frozen=True)
class Front:
    """One accelerator's front over one metric.

    Attributes:
        widest: cost of the widest uniform allocation; infinite where the device cannot run it.
        rungs: empty where its budget cannot be met, which ``reason`` says.
        limits: at which the table compares it with the others.
        scores: measured, by rung; empty where nothing was measured.
    """

    accelerator: Accelerator
    label: str
    problem: Problem
    metric: Metric
    widest: float
    rungs: Sequence[Rung]
    limits: Sequence[float] = ()
    scores: Sequence[float] = ()
    reason: str = ""

    @property
    def unit(self) -> float:
        """What shares are of: the widest uniform allocation, or the dearest rung where the device cannot run that."""
        return self.widest if np.isfinite(self.widest) or not self.rungs else self.rungs[-1].cost

    def score_at(self, limit: float) -> float | None:
        """The best measured score inside a limit."""
        inside = [s for r, s in zip(self.rungs, self.scores, strict=False) if r.cost <= limit * (1 + 1e-9)]
        return max(inside, default=None)


@dataclass(frozen=True)
class Request:
    """What both commands take."""

    task: str
    metric: str
    budget: Sequence[str]
    formats: str | None
    points: int
    measure: bool
    decode: int | None
    figure: Path | None
    seed: int
    json: bool


def run_compare(request: Request, names: Sequence[str]) -> None:
    """One task over several accelerators, from the same sensitivities."""
    if len(set(names)) < 2:
        raise UsageError("comparing needs two accelerators or more: name them with -a.")
    accelerators = [load_accelerator(name) for name in dict.fromkeys(names)]
    _run(request, [(a, a.name) for a in accelerators], "compare", relative=True)


def run_explore(request: Request, name: str, vary: Sequence[str]) -> None:
    """One accelerator file with some of its keys varied."""
    base = load_accelerator(name)
    if not vary:
        raise UsageError("name what to vary: --vary 'precision.weights=[4, 8];[2, 4, 8]'; repeat for combinations.")
    parsed = [parse_vary(text) for text in vary]
    varied = dict(parsed)
    if len(varied) < len(parsed):
        twice = next(key for key, _ in parsed if [k for k, _ in parsed].count(key) > 1)
        raise UsageError(f"'{twice}' is varied twice; give all its values in one --vary, apart by semicolons.")
    short = {key: key.rpartition(".")[2] if "[" not in key else key for key in varied}
    found = [(one, ", ".join(f"{short[key]} = {value}" for key, value in changed.items())) for one, changed in variants(base, varied)]
    left = [label for one, label in found if base.rows and not one.rows]
    note = f"The look-up tables of {base.name} were measured on the device as it is. Estimated without them: {'; '.join(left)}."
    _run(request, found, "hardware", relative=False, note=note if left else "")


def _run(request: Request, accelerators: Sequence[tuple[Accelerator, str]], what: str, *, relative: bool, note: str = "") -> None:
    """``relative``: limits are shares of each accelerator's own widest uniform allocation, not the same for all.

    Raises:
        typer.Exit: status 1, where the budget can be met on none of them.
    """
    path = request.figure or Path(f"{file_name(request.task, 'task')}-{what}.png")
    figure_format(path)
    writable(path)
    with telling(request.json) as say:
        task, models = load_task(request.task), [cost_model(name) for name in COST_MODELS]
        options = None if request.formats is None else parse_options(request.formats)
        wanted = {request.metric.partition("@")[0], *metric_names(request.budget)}
        bench = prepared(
            Workbench(
                task,
                [a for a, _ in accelerators],
                models,
                formats=options,
                metrics=wanted,
                decode=request.decode,
                seed=request.seed,
                say=say,
            )
        )
        _any_reachable(bench, request, accelerators)
        columns, fronts = _compared([_front(bench, request, a, label, say) for a, label in accelerators], relative)
        if request.measure:
            fronts = _measured(bench, fronts, say)
    if request.json:
        print_json(
            {
                "task": bench.task.name, "metric": request.metric, "budget": list(request.budget), "note": note,
                "notes": list(fronts[0].problem.loss.said),
                "fronts": [_plain(f) for f in fronts],
            }
        )  # fmt: skip
    else:
        _print(bench, columns, fronts)
        if note:
            print_text(note)
    if not any(f.rungs for f in fronts):
        raise typer.Exit(1)
    if request.figure is not None or not request.json:
        _draw(bench, fronts, path)
    if not request.json:
        print_text(f"Figure: {path}")


def _any_reachable(bench: Workbench, request: Request, accelerators: Sequence[tuple[Accelerator, str]]) -> None:
    """Before anything is trained.

    Raises:
        InfeasibleBudget: the budget can be met on none of them.
    """
    refused: list[tuple[str, InfeasibleBudget]] = []
    for accelerator, label in accelerators:
        try:
            bench.reachable(*request.budget, target=accelerator.name)
            return
        except InfeasibleBudget as error:
            refused.append((label, error))
    first = refused[0][1]
    said = " ".join(f"{label}: {error}" for label, error in refused)
    raise InfeasibleBudget(f"the budget can be met on none of them. {said}", first.metric, first.limit, first.reachable, first.other)


def _front(bench: Workbench, request: Request, accelerator: Accelerator, label: str, say: Say) -> Front:
    say(f"front on {accelerator.name}", 0, 1)
    try:
        problem, reason = bench.problem(*request.budget, target=accelerator.name), ""
    except InfeasibleBudget as error:
        problem, reason = bench.problem(target=accelerator.name), str(error)
    metric = find_metric(request.metric, [t.metric for t in problem.costs])
    options = bench.choices.options
    widest = max((o for o in options if o.plain), key=lambda o: o.order, default=options[-1])  # integers where there are any
    cost = float(problem.table[metric.key].totals(bench.choices.indices(bench.choices.uniform(widest)))[0])
    if reason:
        return Front(accelerator, label, problem, metric, cost, (), reason=reason)
    try:
        return Front(accelerator, label, problem, metric, cost, ladder(problem, metric.key, request.points))
    except InfeasibleBudget as error:
        return Front(accelerator, label, problem, metric, cost, (), reason=str(error))


def _compared(fronts: Sequence[Front], relative: bool) -> tuple[list[str], list[Front]]:
    """Columns of the table, and the fronts solved at the limits that they stand for."""
    reached = [f for f in fronts if f.rungs]
    if not reached:
        return [], list(fronts)
    if relative:
        low = min(f.rungs[0].cost / f.unit for f in reached)
        shares = np.linspace(low, 1.0, LIMITS) if low < 1 else np.array([1.0])
        columns, limits = [f"<= {share:.1%}" for share in shares], {f.label: [f.unit * s for s in shares] for f in reached}
    else:
        low, high = min(f.rungs[0].cost for f in reached), max(f.rungs[-1].cost for f in reached)
        same = np.geomspace(low, high, LIMITS).tolist() if low < high else [high]
        columns, limits = [f"<= {reached[0].metric.format(x)}" for x in same], {f.label: same for f in reached}
    found = []
    for f in fronts:
        mine = [x * (1 + 1e-9) for x in limits.get(f.label, [])]
        found.append(replace(f, limits=mine, rungs=merged([*f.rungs, *solved(f.problem, f.metric.key, mine)]) if f.rungs else ()))
    return columns, found


def _measured(bench: Workbench, fronts: Sequence[Front], say: Say) -> list[Front]:
    """Every distinct allocation quantised without training, and scored on the validation split."""
    wanted = list(dict.fromkeys(r.solution.allocation for f in fronts for r in f.rungs))
    scores: dict[Any, float] = {}
    scheme = Fixed.scheme
    problem = Problem(bench.choices, bench.loss(scheme), ())  # no device's tables: what one cannot run, another may
    recipe = recipes_of(bench.task).finetune.at(0, adaptive=True)
    for number, allocation in enumerate(wanted):
        say("measuring without training", number, len(wanted))
        found = measure(bench, problem, Fixed(allocation), scheme, recipe, seed=bench.seed).score
        assert found is not None  # it was asked for
        scores[allocation] = found.mean
    return [replace(f, scores=[scores[r.solution.allocation] for r in f.rungs]) for f in fronts]


def _reach(show: Callable[[float], str], least: float, first: float) -> str:
    """The smallest cost against the first's: one that is larger does not "go down" to it."""
    if show(least) == show(first):
        return f"goes down to {show(least)}, as the first does"
    if least > first:
        return f"goes no lower than {show(least)} (the first: {show(first)})"
    return f"goes down to {show(least)} (the first: {show(first)})"


def verdict(fronts: Sequence[Front], score: Metric, *, relative: bool) -> list[str]:
    """Each accelerator against the first, in sentences: how far down it goes, and at which of the table's limits they differ most.

    Both were solved at those. Elsewhere a front is only as good as the nearest limit below that it was solved at.
    """
    base, said = fronts[0], []
    for other in fronts[1:]:
        if not (base.rungs and other.rungs):
            continue
        show = other.metric.format
        text = f"{other.label}: {other.metric.name} {_reach(show, other.rungs[0].cost, base.rungs[0].cost)}"
        both = []
        for first, x in zip(base.limits, other.limits, strict=True):
            mine, theirs = at(base.rungs, first), at(other.rungs, x)
            if mine is not None and theirs is not None:
                both.append((abs(np.log((theirs.loss + 1e-12) / (mine.loss + 1e-12))), first, x, mine.loss, theirs.loss))
        if not both:
            said.append(f"{text}; there is no limit that both can keep.")
            continue
        _, first, x, one, two = max(both)
        where = f"{x / other.unit:.1%} of its own widest" if relative else show(x)
        if abs(two - one) <= 0.01 * max(one, two):
            text += "; where both can go, the expected loss is the same"
        else:
            text += f"; they differ most inside {where}: expected loss {two:.3g} nats (the first: {one:.3g})"
        scores = base.score_at(first), other.score_at(x)
        if scores[0] is not None and scores[1] is not None:
            text += f", inside {where} the measured {score.name} is {score.format(scores[1])} (the first: {score.format(scores[0])})"
        said.append(f"{text}.")
    return said


def _plain(front: Front) -> dict[str, Any]:
    rungs = [
        {
            "cost": r.cost, "expected_loss": r.loss, "status": r.solution.status, "widths": r.solution.allocation.to_dict(),
            "score": front.scores[i] if front.scores else None,
        }
        for i, r in enumerate(front.rungs)
    ]  # fmt: skip
    return {
        "accelerator": front.accelerator.name, "label": front.label, "metric": front.metric.key, "widest_uniform": front.widest,
        "front": rungs, "reason": front.reason,
    }  # fmt: skip


def _print(bench: Workbench, columns: Sequence[str], fronts: Sequence[Front]) -> None:
    metric, score = fronts[0].metric, bench.task.metric
    measured = any(f.scores for f in fronts)
    of = ", as a share of the accelerator's own widest uniform allocation" if columns and columns[0].endswith("%") else ""
    what = f"measured {score.name} (no training)" if measured else "smallest expected loss, nats,"
    print_text(f"{bench.task.name}: {what} inside each limit on {metric.name}{of}", style="bold")
    print_text()

    def cell(front: Front, limit: float) -> str:
        if measured:
            found = front.score_at(limit)
            return "-" if found is None else score.format(found)
        rung = at(front.rungs, limit)
        return "-" if rung is None else f"{rung.loss:.3g}"

    print_table(
        ["accelerator", "uniform\nwidest", "least", *columns],
        [
            [
                f.label, metric.format(f.widest) if np.isfinite(f.widest) else "cannot run",
                metric.format(f.rungs[0].cost) if f.rungs else "-",
                *([cell(f, x) for x in f.limits] or ["-"] * len(columns)),
            ]
            for f in fronts
        ],
    )  # fmt: skip
    print_text()
    for text in verdict(fronts, score, relative=bool(of)):
        print_text(text, indent=2)
    for f in fronts:
        if f.reason:
            print_text(f"{f.label}: {f.reason}", indent=2)
    for said in fronts[0].problem.loss.said:
        print_text(f"Note: {said}.", indent=2)
    if not measured:
        print_text("Expected losses come from the sensitivities; --measure scores every point without training.")


def _draw(bench: Workbench, fronts: Sequence[Front], path: Path) -> None:
    """Cost across; expected loss, or the measured score, up."""
    metric, score = fronts[0].metric, bench.task.metric
    measured = any(f.scores for f in fronts)
    costs = [r.cost for f in fronts for r in f.rungs]
    factor, unit = metric.scale(float(np.median(costs)))
    with style.styled():
        figure = style.blank(7.6, 4.4 + 0.16 * len(fronts))
        axes = figure.subplots()
        style.grid(axes)
        for number, front in enumerate(fronts):
            x = [r.cost / factor for r in front.rungs]
            shown = 100 if score.unit == "fraction" else 1
            y = [s * shown for s in front.scores] if measured else [r.loss for r in front.rungs]
            look: dict[str, Any] = {"color": _COLOURS[number % 8], "marker": _SHAPES[number % 8], "markersize": 4.5, "linewidth": 1.4}
            axes.plot(x, y, label=front.label, drawstyle="steps-post" if not measured else "default", **look)
        if max(costs) > 8 * min(costs):
            axes.set_xscale("log")
        if not measured:
            losses = [r.loss for f in fronts for r in f.rungs]
            if min(losses) > 0 and max(losses) > 20 * min(losses):
                axes.set_yscale("log")
        axes.set_xlabel(f"{metric.name}, {unit}")
        axes.set_ylabel(f"measured {score.name}{', %' if score.unit == 'fraction' else ''}" if measured else "expected loss increase, nats")
        axes.set_title(f"{bench.task.name}: what each accelerator allows")
        figure.legend(loc="outside lower center", ncols=1 if max(len(f.label) for f in fronts) > 24 else 3)
    save_figure(figure, path)
