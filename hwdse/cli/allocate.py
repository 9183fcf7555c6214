"""``hwdse allocate``: one allocation inside the budget, and what stands behind it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hwdse.allocation_files import read_allocation, replaceable
from hwdse.allocators import Fixed, Uniform, make_allocator
from hwdse.bits import BitWidths
from hwdse.constraints import Budget, Constraint
from hwdse.costmodels import accelerator_names, load_accelerator
from hwdse.errors import SolverError, UsageError
from hwdse.evaluation import evaluate
from hwdse.margins import standing
from hwdse.problem import Problem, Solution, Status, loss_table
from hwdse.quantized import QuantizedModel
from hwdse.quantizers import Scheme
from hwdse.records import learnt_nothing
from hwdse.solvers import solve
from hwdse.solvers.infeasible import feasible
from hwdse.storage import write
from hwdse.task import Recipe, recipes_of
from hwdse.training import Allocator, Trained, train_quantized
from hwdse.workbench import Say, Workbench

from .setup import file_name, make_bench, writable
from .show import plain, print_json, print_table, print_text, telling
from .what_if import run as suppose

DEFAULT_BITS = range(2, 9)


@dataclass(frozen=True)
class Request:
    """What the command line asks for: limits, who chooses the widths or which they are, and how the network is made and measured."""

    task: str
    budget: Sequence[str] = ()
    accelerator: str | None = None
    allocator: str | None = None
    widths: str | None = None
    allocation: Path | None = None
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
        path = asked.output or Path(f"{file_name(bench.task.name)}-allocation.json")
        writable(path)
        replaceable(path)
        _reachable(bench, asked.budget, target, scheme)
        problem = bench.problem(*asked.budget, target=target, scheme=scheme)
        recipe = _recipe(bench, asked)
        partial = path.with_name(f"{path.name}.partial") if asked.epochs else None
        model, trained = _trained(asked, bench, problem, allocator, scheme, recipe, partial, say)
        measured = evaluate(model.network, bench.task, "validation").mean if asked.measure else None
        score = None if measured is None else (measured, bench.reference["validation"])
        doubt = learnt_nothing(bench.task.metric, bench.reference) if asked.measure else ""
    notes = (*filter(None, [doubt]), *_elsewhere(given, bench), *notes, *trained.notes)
    solution = trained.solution if asked.given else _judged(problem, trained.solution)
    about = _about(asked, bench, problem, solution, scheme, recipe, notes, score)
    write(path, solution.allocation.to_json(**plain(about)))
    if partial is not None:
        partial.unlink(missing_ok=True)
    if json:
        print_json({"layers": solution.allocation.to_dict(), **about, "file": str(path)})
        return
    _print(asked, bench, problem, solution, score, path)
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
        return Uniform(BitWidths.parse(asked.widths)), {}
    return make_allocator(asked.chooser), {}


def _bench(asked: Request, given: Mapping[str, Any], say: Say) -> Workbench:
    """The workbench, where given widths are among the choices: the first and the last layer are held at theirs."""
    widths: Mapping[str, BitWidths] = given.get("layers", {})
    uniform = [BitWidths.parse(asked.widths)] if asked.widths is not None else []
    more = [*widths.values(), *uniform]
    return make_bench(
        asked.task, [asked.accelerator] if asked.accelerator else [], method=asked.method, seed=asked.seed, device=asked.device,
        weights={*_bits(asked.weight_bits, "--weight-bits"), *(w.weight for w in more)},
        activations={*_bits(asked.activation_bits, "--activation-bits"), *(w.activation for w in more)},
        pins={name: widths[name] for name in (next(iter(widths)), next(reversed(list(widths))))} if widths else None,
        decode=asked.decode, say=say,
    )  # fmt: skip


def _bits(text: str | None, option: str) -> list[int]:
    """``"2,4,8"``; 2 to 8 where nothing is said."""
    if text is None:
        return list(DEFAULT_BITS)
    found = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 2 <= int(part) <= 16 for part in found):
        raise UsageError(f"{option} must be widths from 2 to 16 bits with commas between them, such as 2,4,8; got '{text}'.")
    return [int(part) for part in found]


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


def _trained(
    asked: Request, bench: Workbench, problem: Problem, allocator: Allocator, scheme: Scheme, recipe: Recipe, partial: Path | None, say: Say
) -> tuple[QuantizedModel, Trained]:
    torch.manual_seed(asked.seed)
    model = bench.quantized(scheme)
    what = f"{'training' if asked.epochs else 'quantising'} {'at given widths' if asked.given else f'with {asked.chooser}'}"
    trained = train_quantized(
        model,
        bench.task,
        problem,
        allocator,
        recipe,
        seed=asked.seed,
        progress=lambda done, total: say(what, done, total),
        checkpoint=partial,
        teacher=bench.network() if recipe.distillation else None,
    )
    return model, trained


def _judged(problem: Problem, solution: Solution) -> Solution:
    """The same widths, by the loss table of the problem.

    Who re-solves while the network trains does so with sensitivities of the moment, whose losses, bound and prices compare with no other.
    """
    loss = problem.loss_of(solution.allocation)
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
) -> dict[str, Any]:
    """What the allocation's file says besides the widths. ``score``: the network's, and FP32's."""
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
        "budget": {str(c): {"text": c.text, "limit": c.limit, **_stands(problem, solution, c)} for c in problem.budget},
        "binding": solution.binding,
        "shadow_prices": dict(solution.shadow_prices),
        "score": None if score is None else {"metric": metric.key, "split": "validation", "value": score[0], "fp32": score[1]},
    }


def _scheme(scheme: Scheme, bench: Workbench, target: str | None, epochs: int) -> tuple[Scheme, tuple[str, ...]]:
    """The quantisers, where the device and the regime can take them, and what must be said of them.

    Raises:
        UsageError: codebooks on a device without look-up.
    """
    if scheme.codebook and target is not None and not bench.targets[target].codebooks:
        raise UsageError(
            f"{scheme} stores weights as indices into a codebook, as adq does by default, and {target} has no codebook look-up "
            "(its file says codebooks = false); use --allocator qbitopt, --quantizers lsq+lsq, or an accelerator with codebooks "
            f"({_with_codebooks()})."
        )
    scheme, said = (scheme, ()) if epochs else scheme.post_training()
    return scheme, (*said, *scheme.asks)


def _with_codebooks() -> str:
    names = [name for name in accelerator_names() if load_accelerator(name).codebooks]
    return f"shipped: {', '.join(names)}" if names else "none is shipped"


def _reachable(bench: Workbench, budget: Sequence[str], target: str | None, scheme: Scheme) -> None:
    """Says that a budget cannot be met before anything is trained for it.

    Raises:
        InfeasibleBudget: no widths meet it.
    """
    if not budget:
        return
    tables, choices = bench.tables_for(target, scheme), bench.choices
    nothing = loss_table(choices, np.zeros((len(choices.layers), len(choices.options))), "")
    with contextlib.suppress(SolverError):  # none found in time: the allocator has the last word
        feasible(Problem(choices, nothing, tables, bench.budget(*budget, target=target)), time_limit=5)


def _print(asked: Request, bench: Workbench, problem: Problem, solution: Solution, score: tuple[float, float] | None, path: Path) -> None:
    graph = bench.graph
    print_table(
        ["layer", "weights", "inputs", "MACs share"],
        [[n, f"{w.weight} bit", f"{w.activation} bit", f"{graph[n].macs / graph.macs:.1%}"] for n, w in solution.allocation.items()],
        title=f"{bench.task.name}: {solution.status.lower()} by {solution.solver}, {solution.seconds * 1e3:.0f} ms",
    )
    print_text()
    limits = {c.metric.key: c for c in problem.budget}
    rows = []
    for key, table in problem.table.items():
        m, cost = table.metric, solution.costs[key]
        mine = [c for c in problem.budget if c.metric.key == key]
        tight = min(mine, key=lambda c: c.limit) if key in limits else None
        indices = problem.choices.indices(solution.allocation)
        shares, error = table.by_source(indices), table.error(indices)
        rows.append(
            [
                key,
                m.format(cost),
                m.format(tight.limit) if tight else "",
                f"{m.format(solution.slack[str(tight)], like=tight.limit)} ({solution.slack[str(tight)] / tight.limit:.1%})"
                if tight and tight.limit
                else "",
                standing(solution.slack[str(tight)], error) if tight else "",
                "unknown" if np.isnan(error) else f"{error / cost:.1%}" if error and cost else "",
                ", ".join(f"{source} {share:.0%}" for source, share in shares.items() if share >= 0.005),
            ]
        )
    print_table(["cost", "value", "limit", "slack", "limit is ", "may be off", "where the number comes from "], rows)
    print_text()
    if score is not None:
        metric, (found, reference) = bench.task.metric, score
        print_text(
            f"Measured {metric.name} on the validation split: {metric.format(found)} (FP32: {metric.format(reference)})", style="bold"
        )
    if asked.given:
        print_text(f"Expected loss increase: {solution.loss:.4g} nats. By {problem.loss.convention or 'the loss table'}.")
        print_text("The widths were given: nothing was chosen.")
    else:
        _print_choice(problem, solution)
    for said in _warnings(problem, solution):
        print_text(said, style="bold")
    if not asked.epochs and score is not None:
        print_text(f"Post-training ({asked.rounding} rounding): no weight was trained. --epochs 5 fine-tunes at these widths.")
    print_text(f"Wrote {path}")


def _print_choice(problem: Problem, solution: Solution) -> None:
    """How good the choice is, and what limits it."""
    gap = solution.loss - solution.bound
    if solution.status == "OPTIMAL":
        proof = "proven smallest"
    else:
        proof = f"at most {gap:.2g} above the smallest possible" if gap < 1e300 else "no bound known"
    print_text(f"Expected loss increase: {solution.loss:.4g} nats, {proof}. By {problem.loss.convention or 'the loss table'}.")
    if solution.binding is not None:
        print_text(f"Binding: {solution.binding}. {_price(problem, solution.binding)}")
    elif len(problem.budget):
        free = solve(problem.with_budget(Budget())).loss
        if solution.loss > free + 1e-9 * abs(free):
            print_text(f"A little more of any limit changes nothing: widths come in steps. Without limits: {free:.4g} nats.")
        else:
            print_text("No limit binds: every layer has the widths of the smallest expected loss.")
    else:
        print_text('No budget was given: every layer has its widest choice. Give one with -b "latency <= 60% of w8a8".')


def _warnings(problem: Problem, solution: Solution) -> list[str]:
    """What must be said of limits that may not hold on the device."""
    found = []
    for limit in problem.budget:
        stands, m = _stands(problem, solution, limit), limit.metric
        if stands["standing"] == "at risk":
            calibrated = problem.table[m.key].whole_error is not None
            found.append(
                f"At risk: {limit}. The cost may be off by {m.format(stands['error'], like=limit.limit)}, more than the room of "
                f"{m.format(stands['slack'], like=limit.limit)}: "
                f"{'measure this allocation' if calibrated else 'calibrate the accelerator'}, or tighten the limit."
            )
        elif stands["standing"] == "error unknown":
            found.append(f"{limit} is met by an estimate whose error nobody knows: measure whole networks and calibrate the accelerator.")
    return found


def _stands(problem: Problem, solution: Solution, limit: Constraint) -> dict[str, Any]:
    error = problem.table[limit.metric.key].error(problem.choices.indices(solution.allocation))
    slack = solution.slack[str(limit)]
    return {"slack": slack, "error": error, "standing": standing(slack, error)}


def _price(problem: Problem, binding: str) -> str:
    """What more of a limit would buy, solved anew: one unit, or a tenth of the limit where a whole unit is more than that; and as widths
    come in steps, twice that and twice again until something changes."""
    limit = next(c for c in problem.budget if str(c) == binding)
    factor, symbol = limit.metric.scale(limit.limit)
    whole = factor <= 0.1 * limit.limit
    first = step = factor if whole else 0.1 * limit.limit
    one = f"One more {symbol or 'unit'}" if whole else f"{limit.metric.format(step)} more"
    try:
        now = solve(problem).loss
        while step <= max(first, limit.limit):
            wider = Budget(tuple(replace(c, limit=c.limit + step) if c is limit else c for c in problem.budget))
            then = solve(problem.with_budget(wider)).loss
            if now - then > 1e-9 * abs(now):
                more = one if step == first else f"{one} changes nothing, as widths come in steps; {limit.metric.format(step)} more"
                return f"{more} lowers the smallest expected loss by {now - then:.3g} nats, to {then:.4g}."
            step *= 2
    except SolverError:
        return "What more of it would buy could not be solved in time."
    return "Not even twice the limit changes anything."
