"""``hwdse allocate``: one allocation inside the budget, and what stands behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hwdse.allocation_files import read_allocation, replaceable
from hwdse.allocators import Fixed, Uniform, make_allocator
from hwdse.choices import ENDS
from hwdse.constraints import reference_notes
from hwdse.costmodels import accelerator_names, load_accelerator
from hwdse.errors import SolverError, UsageError
from hwdse.formats import Codebook, LayerFormat, NumberFormat, grid, listed, parse_options
from hwdse.measure import measure
from hwdse.names import file_name
from hwdse.numerals import whole
from hwdse.problem import Problem, Solution, Status
from hwdse.quantizers import Scheme
from hwdse.records import learnt_nothing
from hwdse.reports.commands import WIDTHS
from hwdse.solvers import solve
from hwdse.storage import write
from hwdse.task import Recipe, recipes_of
from hwdse.training import Allocator
from hwdse.workbench import Say, Workbench

from .allocated import print_allocation, stands
from .next_steps import More, more_of
from .setup import make_bench, writable
from .show import plain, print_json, print_text, telling
from .what_if import run as suppose


@dataclass(frozen=True)
class Request:
    """What the command line asks for: limits, who chooses the widths or which they are, and how the network is made and measured."""

    task: str
    budget: Sequence[str] = ()
    accelerator: str | None = None
    allocator: str | None = None
    widths: str | None = None
    allocation: Path | None = None
    formats: str | None = None
    weight_bits: str | None = None
    activation_bits: str | None = None
    epochs: int = 0
    method: str = "fit"
    quantizers: str | None = None
    rounding: str = "adaptive"
    distillation: float | None = None
    measure: bool = True
    output: Path | None = None
    decode: int | None = None
    device: str = "cpu"
    seed: int = 0

    @property
    def given(self) -> bool:
        """Whether the widths are given, and not chosen."""
        return self.widths is not None or self.allocation is not None

    @property
    def chooser(self) -> str:
        """The allocator that chooses them."""
        return self.allocator or "qbitopt"


def expected(asked: Request, folder: Path, json: bool) -> None:
    """Prints what a run lets one expect of the budget, in place of measuring it.

    Raises:
        UsageError: settings, which are the run's; or a run of another task.
    """
    bare = Request(asked.task, asked.budget, asked.accelerator)
    set_ = [f"--{f.name.replace('_', '-')}" for f in fields(asked) if getattr(asked, f.name) != getattr(bare, f.name)]
    set_ = ["--no-measure" if option == "--measure" else option for option in set_]
    if set_:
        raise UsageError(f"--what-if goes by what {folder} has measured, in its settings; {', '.join(set_)}: give one or the other.")
    if not asked.budget:
        raise UsageError('--what-if needs the budget in question: -b "weights <= 40% of w8a8".')
    suppose(folder, asked.budget, json, task=asked.task, accelerator=asked.accelerator)


def run(asked: Request, json: bool) -> None:
    """Prints the allocation and writes its file."""
    allocator, given = _allocator(asked)
    with telling(json) as say:
        bench = _bench(asked, given, say)
        target = next(iter(bench.targets), None)
        scheme, notes = _scheme(_quantisers(asked, allocator, given), bench, target, asked.epochs)
        if asked.widths is not None:
            allocator = Uniform(scheme.formats(LayerFormat.parse(asked.widths)))
        path = asked.output or Path(f"{file_name(bench.task.name, 'task')}-allocation.json")
        writable(path)
        replaceable(path)
        if isinstance(allocator, Uniform | Fixed):  # given widths that are over the budget are said before anything is trained
            allocator.start(None, bench.reachable(*asked.budget, target=target, scheme=scheme))  # type: ignore[arg-type]  # no model
        problem = bench.problem(*asked.budget, target=target, scheme=scheme)
        recipe = _recipe(bench, asked)
        unfinished = path.with_name(f"{path.name}.partial") if asked.epochs else None
        what = f"{'training' if asked.epochs else 'quantising'} {'at given widths' if asked.given else f'with {asked.chooser}'}"
        measured = measure(
            bench, problem, allocator, scheme, recipe, seed=asked.seed, score=asked.measure, checkpoint=unfinished,
            progress=lambda done, total: say(what, done, total),
        )  # fmt: skip
        trained = measured.trained
        score = None if measured.score is None else (measured.score.mean, bench.reference["validation"])
        doubt = learnt_nothing(bench.task.metric, bench.reference) if asked.measure else ""
    notes = (
        *filter(None, [doubt]),
        *_elsewhere(given, bench),
        *notes,
        *scheme.requirements(trained.solution.allocation.values()),
        *_of_the_tables(asked, bench, problem, scheme),
        *trained.notes,
    )
    solution = trained.solution if asked.given else _judged(problem, trained.solution)
    more = None if asked.given or not len(problem.budget) else more_of(problem, solution)
    about = _about(asked, bench, problem, solution, scheme, recipe, notes, score, more)
    write(path, solution.allocation.to_json(**plain(about)))
    if unfinished is not None:
        unfinished.unlink(missing_ok=True)
    if json:
        print_json({"layers": solution.allocation.to_dict(), **about, "file": str(path)})
        return
    print_allocation(bench, problem, solution, score, more, given=asked.given)
    if not asked.epochs and score is not None:
        print_text(f"Post-training ({asked.rounding} rounding): no weight was trained. --epochs 5 fine-tunes at these widths.")
    print_text(f"Wrote {path}")
    for said in notes:
        print_text(f"Note: {said}.")


def _allocator(asked: Request) -> tuple[Allocator, Mapping[str, Any]]:
    """Who chooses the widths, and what the file of given ones says.

    Raises:
        UsageError: more than one way to come by them.
    """
    ways = {"--allocator": asked.allocator, "--widths": asked.widths, "--allocation": asked.allocation}
    named = [way for way, value in ways.items() if value is not None]
    if len(named) > 1:
        raise UsageError(
            f"{' and '.join(named)}: give one. --allocator chooses widths, --widths gives the same to every layer, --allocation a file."
        )
    if asked.distillation and not asked.epochs:
        raise UsageError("--distillation needs training: give --epochs too.")
    if asked.allocation is not None:
        widths, said = read_allocation(asked.allocation)
        return Fixed(widths), {**said, "layers": widths}
    if asked.widths is not None:
        return Uniform(LayerFormat.parse(asked.widths)), {}
    return make_allocator(asked.chooser), {}


def _bench(asked: Request, given: Mapping[str, Any], say: Say) -> Workbench:
    """The workbench, where given widths are among the choices; layers that are held are held at theirs."""
    widths: Mapping[str, LayerFormat] = given.get("layers", {})
    uniform = [LayerFormat.parse(asked.widths)] if asked.widths is not None else []
    more = [*widths.values(), *uniform]
    bench = partial(
        make_bench, asked.task, [asked.accelerator] if asked.accelerator else [], method=asked.method, seed=asked.seed, device=asked.device,
        formats=_options(asked, more), decode=asked.decode, say=say,
    )  # fmt: skip
    made = bench()
    ends = {name: widths[name] for name in made.choices.pinned if widths.get(name, ENDS) != ENDS}
    return bench(pins=ends) if ends else made


def _options(asked: Request, given: Sequence[LayerFormat]) -> tuple[LayerFormat, ...]:
    """What is chosen from: as asked, and what was given.

    Raises:
        UsageError: formats and widths both.
    """
    if asked.formats is not None:
        if asked.weight_bits is not None or asked.activation_bits is not None:
            raise UsageError(
                '--formats lists all that may be chosen; write "int2..int8" there in place of --weight-bits and --activation-bits.'
            )
        return listed((*parse_options(asked.formats), *given))
    plain = [one for one in given if one.plain]
    weights: set[int | NumberFormat] = {*_bits(asked.weight_bits, "--weight-bits"), *(one.weight for one in plain)}
    activations: set[int | NumberFormat] = {*_bits(asked.activation_bits, "--activation-bits"), *(one.activation for one in plain)}
    return listed((*grid(weights, activations), *given))


def _bits(text: str | None, option: str) -> list[int]:
    """``"2,4,8"``; 2 to 8 where nothing is said."""
    if text is None:
        return WIDTHS
    found = [part.strip() for part in text.split(",")]
    widths = [width for part in found if (width := whole(part, 16)) is not None and width >= 2]
    if len(widths) < len(found):
        raise UsageError(f"{option} must be widths from 2 to 16 bits with commas between them, such as 2,4,8; got '{text}'.")
    return widths


def _quantisers(asked: Request, allocator: Allocator, given: Mapping[str, Any]) -> Scheme:
    """As asked; else those that given widths were measured with; else the allocator's own."""
    said = asked.quantizers or given.get("scheme")
    return Scheme.parse(said) if isinstance(said, str) else allocator.scheme


def _elsewhere(given: Mapping[str, Any], bench: Workbench) -> tuple[str, ...]:
    """What must be said of widths from a file."""
    graph = given.get("graph")
    if graph in (None, bench.graph.fingerprint):
        return ()
    return (f"the widths were found for another network (graph {graph}, here {bench.graph.fingerprint})",)


def _recipe(bench: Workbench, asked: Request) -> Recipe:
    recipe = recipes_of(bench.task).finetune.at(asked.epochs, adaptive=asked.rounding == "adaptive")
    return recipe if asked.distillation is None else replace(recipe, distillation=asked.distillation)


def _judged(problem: Problem, solution: Solution) -> Solution:
    """The same widths, by the loss table of the problem.

    Who re-solves while the network trains does so with sensitivities of the moment, whose losses, bound and prices compare with no other.
    """
    loss = problem.loss_of(solution.allocation)
    if solution.status == "OPTIMAL" and np.isclose(loss, solution.loss, rtol=1e-12, atol=0):  # it was solved with this very table
        return solution
    try:
        best = solve(problem)
    except SolverError:  # not in time
        return replace(solution, status="FEASIBLE", loss=loss, bound=-np.inf, shadow_prices={}, binding=None)
    status: Status = "OPTIMAL" if best.status == "OPTIMAL" and loss <= best.loss * (1 + 1e-9) else "FEASIBLE"
    return replace(solution, status=status, loss=loss, bound=best.bound, shadow_prices=best.shadow_prices, binding=best.binding)


def _about(
    asked: Request,
    bench: Workbench,
    problem: Problem,
    solution: Solution,
    scheme: Scheme,
    recipe: Recipe,
    notes: Sequence[str],
    score: tuple[float, float] | None,
    more: More | None,
) -> dict[str, Any]:
    """What the allocation's file says besides the widths. ``score``: the network's, and FP32's. ``more``: of the limits."""
    metric = bench.task.metric
    return {
        "task": bench.task.name,
        "graph": bench.graph.fingerprint,
        "weights": bench.weights_fingerprint,
        "accelerator": next(iter(bench.targets), None),
        "decode": asked.decode,
        "allocator": None if asked.given else asked.chooser,
        "scheme": str(scheme),
        "notes": list(notes),
        "epochs": asked.epochs,
        "rounding": recipe.rounding,
        "bias_correction": recipe.bias_correction,
        "distillation": recipe.distillation,
        "seed": asked.seed,
        "status": solution.status,
        "expected_loss": solution.loss,
        "bound": solution.bound,
        "costs": dict(solution.costs),
        "budget": {str(c): {"text": c.text, "limit": c.limit, **stands(problem, solution, c)} for c in problem.budget},
        "binding": solution.binding,
        "shadow_prices": dict(solution.shadow_prices),
        "next_steps": {} if more is None else more.to_dict(),
        "score": None if score is None else {"metric": metric.key, "split": "validation", "value": score[0], "fp32": score[1]},
    }


def _scheme(scheme: Scheme, bench: Workbench, target: str | None, epochs: int) -> tuple[Scheme, tuple[str, ...]]:
    """The quantisers, where the device and the regime can take them, and what must be said of them.

    Raises:
        UsageError: the device runs none of their formats.
    """
    plain = bench.choices_for(scheme) is bench.choices
    if not plain and (unable := bench.cannot_run(scheme, target)):
        if isinstance(scheme.formats(ENDS).weight.element, Codebook):
            raise UsageError(
                f"{scheme} stores weights as indices into a codebook, as adq does by default, and {target} has no codebook look-up "
                "(its file says codebooks = false); use --allocator qbitopt, --quantizers lsq+lsq, or an accelerator with codebooks "
                f"({_with_codebooks()})."
            )
        raise UsageError(
            f"{scheme} holds numbers as {unable}, and {target} runs none of these; use --quantizers lsq+lsq, or let its file list them "
            "(precision.native, precision.promote)."
        )
    scheme, said = (scheme, ()) if epochs else scheme.post_training()
    return scheme, said


def _with_codebooks() -> str:
    names = [name for name in accelerator_names() if load_accelerator(name).codebooks]
    return f"shipped: {', '.join(names)}" if names else "none is shipped"


def _of_the_tables(asked: Request, bench: Workbench, problem: Problem, scheme: Scheme) -> tuple[str, ...]:
    """What must be said of the losses, of the task, and of uniform formats that some layers hold otherwise."""
    given = [] if asked.widths is None else [problem.choices.uniform_note(scheme.formats(LayerFormat.parse(asked.widths)))]
    return tuple(filter(None, [*problem.loss.said, *bench.notes, *given, *reference_notes(problem.budget, bench.choices)]))
