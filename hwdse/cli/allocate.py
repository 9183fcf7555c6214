"""``hwdse allocate``: one allocation inside the budget, and what stands behind it."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hwdse.allocators import make_allocator
from hwdse.constraints import Budget, Constraint
from hwdse.costmodels import accelerator_names, load_accelerator
from hwdse.errors import SolverError, UsageError
from hwdse.evaluation import evaluate
from hwdse.margins import standing
from hwdse.problem import Problem, Solution, loss_table
from hwdse.quantizers import Scheme
from hwdse.solvers import solve
from hwdse.solvers.infeasible import feasible
from hwdse.storage import write
from hwdse.task import recipes_of
from hwdse.training import train_quantized
from hwdse.workbench import Workbench

from .setup import file_name, make_bench, writable
from .show import plain, print_json, print_table, print_text, telling


def run(
    task: str,
    budget: list[str],
    accelerator: str | None,
    allocator: str,
    epochs: int,
    method: str,
    quantizers: str | None,
    rounding: str,
    distillation: float | None,
    measure: bool,
    output: Path | None,
    decode: int | None,
    device: str,
    seed: int,
    json: bool,
) -> None:
    """Prints the allocation and writes its file."""
    chosen = make_allocator(allocator)
    if distillation and not epochs:
        raise UsageError("--distillation needs training: give --epochs too.")
    with telling(json) as say:
        bench = make_bench(task, [accelerator] if accelerator else [], method=method, seed=seed, device=device, decode=decode, say=say)
        target = next(iter(bench.targets), None)
        scheme, notes = _scheme(Scheme.parse(quantizers) if quantizers else chosen.scheme, bench, target, epochs)
        path = output or Path(f"{file_name(bench.task.name)}-allocation.json")
        writable(path)
        partial = path.with_name(f"{path.name}.partial") if epochs else None
        _reachable(bench, budget, target, scheme)
        problem = bench.problem(*budget, target=target, scheme=scheme)
        torch.manual_seed(seed)
        model = bench.quantized(scheme)
        recipe = recipes_of(bench.task).finetune.at(epochs, adaptive=rounding == "adaptive")
        recipe = recipe if distillation is None else replace(recipe, distillation=distillation)
        trained = train_quantized(
            model,
            bench.task,
            problem,
            chosen,
            recipe,
            seed=seed,
            progress=lambda done, total: say(f"{'training' if epochs else 'quantising'} with {allocator}", done, total),
            checkpoint=partial,
            teacher=bench.network() if recipe.distillation else None,
        )
        notes = (*notes, *trained.notes)
        score = evaluate(model.network, bench.task, "validation").mean if measure else None
        reference = bench.reference["validation"] if measure else None
    solution = trained.solution
    metric = bench.task.metric
    about: dict[str, Any] = {
        "task": bench.task.name,
        "graph": bench.graph.fingerprint,
        "weights": bench.weights_fingerprint,
        "accelerator": target,
        "decode": decode,
        "allocator": allocator,
        "scheme": str(scheme),
        "notes": list(notes),
        "epochs": epochs,
        "rounding": recipe.rounding,
        "bias_correction": recipe.bias_correction,
        "distillation": recipe.distillation,
        "seed": seed,
        "status": solution.status,
        "expected_loss": solution.loss,
        "bound": solution.bound,
        "costs": dict(solution.costs),
        "budget": {str(c): {"text": c.text, "limit": c.limit, **_stands(problem, solution, c)} for c in problem.budget},
        "binding": solution.binding,
        "shadow_prices": dict(solution.shadow_prices),
        "score": None if score is None else {"metric": metric.key, "split": "validation", "value": score, "fp32": reference},
    }
    write(path, solution.allocation.to_json(**plain(about)))
    if partial is not None:
        partial.unlink(missing_ok=True)
    if json:
        print_json({"layers": solution.allocation.to_dict(), **about, "file": str(path)})
        return
    _print(bench, problem, solution, score, reference, recipe.rounding if not epochs else "", path)
    for said in notes:
        print_text(f"Note: {said}.")


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


def _reachable(bench: Workbench, budget: list[str], target: str | None, scheme: Scheme) -> None:
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


def _print(
    bench: Workbench, problem: Problem, solution: Solution, score: float | None, reference: float | None, rounding: str, path: Path
) -> None:
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
    if score is not None and reference is not None:
        metric = bench.task.metric
        print_text(
            f"Measured {metric.name} on the validation split: {metric.format(score)} (FP32: {metric.format(reference)})", style="bold"
        )
    gap = solution.loss - solution.bound
    if solution.status == "OPTIMAL":
        proof = "proven smallest"
    else:
        proof = f"at most {gap:.2g} above the smallest possible" if gap < 1e300 else "no bound known"
    print_text(f"Expected loss increase: {solution.loss:.4g} nats, {proof}. By {problem.loss.convention or 'the loss table'}.")
    for said in _warnings(problem, solution):
        print_text(said, style="bold")
    if solution.binding is not None:
        print_text(f"Binding: {solution.binding}. {_price(problem, solution)}")
    elif len(problem.budget):
        free = solve(problem.with_budget(Budget())).loss
        if solution.loss > free + 1e-9 * abs(free):
            print_text(f"A little more of any limit changes nothing: widths come in steps. Without limits: {free:.4g} nats.")
        else:
            print_text("No limit binds: every layer has the widths of the smallest expected loss.")
    else:
        print_text('No budget was given: every layer has its widest choice. Give one with -b "latency <= 60% of w8a8".')
    if rounding and score is not None:
        print_text(f"Post-training ({rounding} rounding): no weight was trained. --epochs 5 fine-tunes at these widths.")
    print_text(f"Wrote {path}")


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


def _price(problem: Problem, solution: Solution) -> str:
    """ "One more ms lowers the expected loss by ..."; per tenth of the limit where a whole unit is more than that."""
    constraint = next(c for c in problem.budget if str(c) == solution.binding)
    price = solution.shadow_prices.get(str(constraint), 0.0)
    factor, symbol = constraint.metric.scale(constraint.limit)
    if factor <= 0.1 * constraint.limit:
        return f"One more {symbol or 'unit'} lowers the expected loss by about {price * factor:.3g} nats."
    tenth = 0.1 * constraint.limit
    return f"One more {constraint.metric.format(tenth)} lowers the expected loss by about {price * tenth:.3g} nats."
