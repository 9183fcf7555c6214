"""One trial, from knobs to a measured result. Pure: it knows nothing of studies, samplers or storage."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hwdse.allocators import Fixed, Uniform, make_allocator
from hwdse.allocators.reallocation import Reallocating
from hwdse.checkpoint import drop_damaged
from hwdse.checksums import digest
from hwdse.choices import Choices
from hwdse.constraints import reference_notes
from hwdse.errors import HwdseError, InfeasibleBudget, TrainingDiverged
from hwdse.formats import Allocation, LayerFormat
from hwdse.measure import measure
from hwdse.problem import Problem
from hwdse.quantized import QuantizedModel
from hwdse.quantizers import Scheme
from hwdse.reading import decode, json_object
from hwdse.records import TrialResult
from hwdse.run_files import read_held
from hwdse.sample_scores import keep_scores
from hwdse.solvers import solve
from hwdse.storage import key_of, write
from hwdse.task import Recipe, recipes_of
from hwdse.training import Allocator, Progress
from hwdse.workbench import Workbench

from .knobs import Knobs, Plan, no_loss
from .spending import POST_TRAINING, measured_before, promising


def scheme_for(knobs: Knobs, bench: Workbench, plan: Plan) -> tuple[Scheme, tuple[str, ...]]:
    """The quantisers of a trial, and what must be said of them: those of its allocator, for given widths too, unless the plan has others.

    Weight codebooks need a look-up on the device, and multiply at the width of their codes: on a target without a look-up, where a cost
    model does not say what codes cost, or where the budget leaves no room for 8-bit codes, the weights use uniform levels, and the
    result says so. Post-training keeps the trained scale of the weights, which DoReFa does not.
    """
    scheme, notes = plan.scheme or make_allocator(knobs.allocator).scheme, []
    if bench.choices_for(scheme) is not bench.choices:
        unable = bench.cannot_run(scheme, knobs.accelerator)
        if unable or not _possible(scheme, knobs, bench, plan):
            why = f"{knobs.accelerator} cannot run {unable}" if unable else f"the budget has no room for the formats of {scheme}"
            scheme, parts = _on_uniform_levels(scheme)
            notes.append(f"{why}: {parts} on uniform levels (lsq)")
    if not knobs.epochs:
        scheme, said = scheme.post_training()
        notes.extend(said)
    return scheme, tuple(notes)


def _on_uniform_levels(scheme: Scheme) -> tuple[Scheme, str]:
    """The quantisers with plain integers where theirs are none, and which of the two operands that changed."""
    formats = scheme.formats(LayerFormat.of(8, 8))
    changed = {"weight": not formats.weight.plain, "activation": not formats.activation.plain}
    made = replace(scheme, **{part: "lsq" for part, odd in changed.items() if odd})
    return made, " and ".join(f"{part}s" for part, odd in changed.items() if odd)


def _possible(scheme: Scheme, knobs: Knobs, bench: Workbench, plan: Plan) -> bool:
    try:
        choices = bench.choices_for(scheme)
        solve(Problem(choices, no_loss(choices), bench.tables_for(knobs.accelerator, scheme), plan.budget(knobs)), "greedy")
    except InfeasibleBudget:
        return False
    return True


def about(knobs: Knobs, plan: Plan) -> dict[str, Any]:
    """The knobs as a record keeps them: with the budget in words, ``["latency@npu <= 3 ms"]``."""
    return {**knobs.to_dict(), "budget": [c.text for c in plan.budget(knobs)]}


def run_trial(
    bench: Workbench,
    plan: Plan,
    knobs: Knobs,
    number: int,
    folder: Path | None = None,
    progress: Progress | None = None,
    history: Sequence[TrialResult] = (),
) -> TrialResult:
    """Allocates, trains and measures; or says which earlier trial has measured the same.

    A proposal of the search that asks for training is first measured without, and trained if that is promising (``plan.promote``).

    Args:
        bench: the task with its tables and sensitivities.
        plan: the budgets.
        knobs: what to try.
        number: of the trial.
        folder: where ``checkpoints/N.pt`` and ``allocations/N.json`` go; None writes nothing.
        progress: told (steps done, steps in all).
        history: trials that have ended.

    Raises:
        HwdseError: an infeasible budget, a diverged training; the caller records it.
    """
    if not knobs.epochs or knobs.origin != "search" or plan.promote is None:
        return _measured(bench, plan, knobs, number, folder, progress, history)
    first = _measured(bench, plan, replace(knobs, epochs=0), number, folder, progress, history)
    metric = bench.task.metric
    score = first.measures[metric.key]
    verdict = promising(score, knobs, history, metric, plan.promote)
    if verdict.train:
        try:
            trained = _measured(bench, plan, knobs, number, folder, progress, history)
        except BaseException:  # an interruption too: nothing would list the files
            for name in (f"allocations/{number}.json", f"checkpoints/{number}.pt", f"scores/{number}.npy"):  # of the first look
                if folder is not None:
                    (folder / name).unlink(missing_ok=True)
            raise
        return replace(trained, knobs={**trained.knobs, POST_TRAINING: score}, seconds=trained.seconds + first.seconds)
    assert verdict.threshold is not None  # without one everything is trained
    threshold = f"{metric.format(verdict.threshold)}, from {verdict.of} trials"
    said = f"not trained: {metric.format(score)} without training is short of the threshold ({threshold})"
    return replace(first, notes=(*first.notes, said))


def _measured(
    bench: Workbench, plan: Plan, knobs: Knobs, number: int, folder: Path | None, progress: Progress | None, history: Sequence[TrialResult]
) -> TrialResult:
    """One allocation at one fidelity."""
    began = time.perf_counter()
    scheme, notes = scheme_for(knobs, bench, plan)
    allocator = _allocator(knobs, scheme)
    # a baseline belongs to no accelerator: it is costed on all, and one that cannot run it says so with an infinite cost
    tables = bench.tables_for(knobs.accelerator, scheme) if knobs.widths is None else ()
    problem = Problem(bench.choices_for(scheme), bench.loss(scheme), tables, plan.budget(knobs))
    said = {**about(knobs, plan), "scheme": str(scheme)}
    if isinstance(allocator, Reallocating) and not knobs.epochs:  # without training it answers what the solver does
        allocator = Fixed(solve(problem, allocator.solver))
    known = allocator.allocation if isinstance(allocator, Fixed) else None
    before = measured_before(history, said, str(scheme), known)
    if before is not None:
        return _again(before, said, number, problem, folder, time.perf_counter() - began)
    recipe = recipes_of(bench.task).finetune.at(knobs.epochs, adaptive=plan.adaptive)
    # named after what is tried, not after the number: an interrupted trial is tried again under another
    partial = folder / "checkpoints" / f"{key_of(str(said))}.partial" if folder and knobs.epochs else None
    if partial is not None and drop_damaged(partial):
        notes = (*notes, "its unfinished training was damaged on the disk, and began anew")
    try:
        measured = measure(bench, problem, allocator, scheme, recipe, seed=knobs.seed, progress=progress, checkpoint=partial)
    except TrainingDiverged:
        if partial is not None:
            partial.unlink(missing_ok=True)  # it would diverge again
        raise
    model, trained, score = measured.model, measured.trained, measured.score
    assert score is not None  # it was asked for
    allocation = trained.solution.allocation
    indices = problem.choices.indices(allocation)
    measures = {key: float(table.totals(indices)[0]) for key, table in bench.tables_by(scheme).items()}
    found = {key: table.error(indices) for key, table in bench.tables_by(scheme).items() if table.metric.on and np.isfinite(measures[key])}
    measures["loss"] = float(bench.loss(scheme).totals(indices)[0])
    measures[bench.task.metric.key] = score.mean
    result = TrialResult(
        number=number,
        knobs={**said, "solver": trained.solution.solver},
        state="complete",
        allocation=allocation,
        measures=measures,
        samples=score.samples,
        interval=score.interval,
        errors={key: None if np.isnan(error) else error for key, error in found.items()},
        slack=dict(trained.solution.slack),
        seconds=time.perf_counter() - began + trained.earlier,
        notes=(
            *notes,
            *scheme.requirements(allocation.values()),
            *_said(knobs, problem, scheme, bench.choices),
            *bench.notes,
            *trained.notes,
        ),
    )
    if folder is not None:
        files = _save(folder, number, model, result, bench, recipe)
        files |= dict([keep_scores(folder, str(number), score.scores)])
        result = replace(result, files={name: digest(content) for name, content in files.items()})
    if partial is not None:
        partial.unlink(missing_ok=True)
    return result


def _said(knobs: Knobs, problem: Problem, scheme: Scheme, plain: Choices) -> tuple[str, ...]:
    """What the formats of a baseline stand for; for what is chosen, what was said of the table and of the limits.

    ``plain``: the choices that relative limits are of.
    """
    if knobs.widths:
        return tuple(filter(None, [problem.choices.uniform_note(scheme.formats(LayerFormat.parse(knobs.widths)))]))
    return (*problem.loss.said, *reference_notes(problem.budget, plain))


def _allocator(knobs: Knobs, scheme: Scheme) -> Allocator:
    if knobs.allocation is not None:
        return Fixed(Allocation.from_dict(knobs.allocation))
    return Uniform(scheme.formats(LayerFormat.parse(knobs.widths))) if knobs.widths else make_allocator(knobs.allocator)


def _again(
    before: TrialResult, knobs: Mapping[str, Any], number: int, problem: Problem, folder: Path | None, seconds: float
) -> TrialResult:
    """The result of an earlier trial under another number: it is not measured twice."""
    assert before.allocation is not None  # it was complete
    first = before.knobs.get("same_as", before.number)
    slack = problem.slack(problem.cost_of(before.allocation)) if problem.costs else {}
    notes = [note for note in before.notes if not note.startswith("the same as trial")]
    files: dict[str, bytes] = {}
    result = replace(
        before, number=number, knobs={**knobs, "solver": before.knobs.get("solver"), "same_as": first}, slack=slack, seconds=seconds,
        notes=(*notes, f"the same as trial {first}: not measured again"), test=None,
    )  # fmt: skip
    if folder is not None:
        with contextlib.suppress(FileNotFoundError, HwdseError):  # damaged: no fault of this trial, and whoever reads them says it
            told = json_object("", decode("", read_held(folder, f"allocations/{before.number}.json", before.files)))
            told |= {"number": number, "knobs": dict(result.knobs), "slack": slack, "notes": list(result.notes)}
            files[f"allocations/{number}.json"] = (json.dumps(told, indent=2) + "\n").encode()
        with contextlib.suppress(FileNotFoundError, HwdseError):
            files[f"scores/{number}.npy"] = read_held(folder, f"scores/{before.number}.npy", before.files)
        for name, content in files.items():
            write(folder / name, content)
    return replace(result, files={name: digest(content) for name, content in files.items()})


def _save(folder: Path, number: int, model: QuantizedModel, result: TrialResult, bench: Workbench, recipe: Recipe) -> dict[str, bytes]:
    """The hand-off: widths with what they cost and how they were calibrated, and the trained weights. Returns the files' contents."""
    buffer = io.BytesIO()
    torch.save(model.state(), buffer)
    assert result.allocation is not None  # a complete trial has one
    said = result.to_dict()
    files = {
        f"checkpoints/{number}.pt": buffer.getvalue(),
        f"allocations/{number}.json": result.allocation.to_json(
            task=bench.task.name,
            graph=bench.graph.fingerprint,
            weights=bench.weights_fingerprint,
            scheme=str(model.scheme),
            calibrator=model.scheme.calibrator + (", then learnt" if result.knobs["epochs"] else ""),
            rounding=recipe.rounding,
            bias_correction=recipe.bias_correction,
            checkpoint=f"../checkpoints/{number}.pt",
            **{key: said[key] for key in ("number", "knobs", "measures", "slack", "samples", "interval", "notes")},
        ).encode(),
    }
    for name, content in files.items():
        write(folder / name, content)
    return files
