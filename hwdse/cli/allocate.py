"""``hwdse allocate``: one allocation inside the budget, and what stands behind it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hwdse.allocators import make_allocator
from hwdse.errors import UsageError
from hwdse.problem import Problem, Solution
from hwdse.quantizers import Scheme
from hwdse.storage import write
from hwdse.task import recipes_of
from hwdse.training import Allocator, evaluate, train_quantized
from hwdse.workbench import Workbench

from .setup import make_bench
from .show import out, plain, print_json, print_table, telling


def run(
    task: str,
    budget: list[str],
    accelerator: str | None,
    allocator: str,
    epochs: int,
    method: str,
    measure: bool,
    output: Path | None,
    seed: int,
    json: bool,
) -> None:
    """Prints the allocation and writes its file."""
    chosen = make_allocator(allocator)
    with telling(json) as say:
        bench = make_bench(task, [accelerator] if accelerator else [], method=method, seed=seed, say=say)
        target = next(iter(bench.targets), None)
        scheme = _scheme(chosen, bench, target, epochs)
        problem = bench.problem(*budget, target=target, scheme=scheme)
        torch.manual_seed(seed)
        model = bench.quantized(scheme)
        recipe = replace(recipes_of(bench.task).finetune, epochs=epochs)
        trained = train_quantized(
            model,
            bench.task,
            problem,
            chosen,
            recipe,
            seed=seed,
            progress=lambda done, total: say(f"training with {allocator}", done, total),
        )
        score = evaluate(model.network, bench.task, "validation").mean if measure else None
        reference = bench.reference["validation"] if measure else None
    solution = trained.solution
    path = output or Path(f"{bench.task.name}-allocation.json")
    metric = bench.task.metric
    about: dict[str, Any] = {
        "task": bench.task.name,
        "graph": bench.graph.fingerprint,
        "weights": bench.weights_fingerprint,
        "accelerator": target,
        "allocator": allocator,
        "scheme": str(scheme),
        "epochs": epochs,
        "seed": seed,
        "status": solution.status,
        "expected_loss": solution.loss,
        "bound": solution.bound,
        "costs": dict(solution.costs),
        "budget": {str(c): {"text": c.text, "limit": c.limit, "slack": solution.slack[str(c)]} for c in problem.budget},
        "binding": solution.binding,
        "shadow_prices": dict(solution.shadow_prices),
        "score": None if score is None else {"metric": metric.key, "split": "validation", "value": score, "fp32": reference},
    }
    write(path, solution.allocation.to_json(**plain(about)))
    if json:
        print_json({"layers": solution.allocation.to_dict(), **about, "file": str(path)})
        return
    _print(bench, problem, solution, score, reference, path)


def _scheme(allocator: Allocator, bench: Workbench, target: str | None, epochs: int) -> Scheme:
    """The allocator's own quantisers, where the device and the regime can take them.

    Raises:
        UsageError: codebooks on a device without look-up.
    """
    scheme = allocator.scheme
    if scheme.weight == "codebook" and target is not None and not bench.targets[target].codebooks:
        raise UsageError(
            f"adq stores weights as indices into a codebook, and {target} has no codebook look-up (its file says codebooks = false); "
            "use --allocator qbitopt, or an accelerator with codebooks."
        )
    return Scheme("lsq", "lsq") if scheme.weight == "dorefa" and not epochs else scheme


def _print(bench: Workbench, problem: Problem, solution: Solution, score: float | None, reference: float | None, path: Path) -> None:
    graph = bench.graph
    print_table(
        ["layer", "weights", "inputs", "MACs share"],
        [[n, f"{w.weight} bit", f"{w.activation} bit", f"{graph[n].macs / graph.macs:.1%}"] for n, w in solution.allocation.items()],
        title=f"{bench.task.name}: {solution.status.lower()} by {solution.solver}, {solution.seconds * 1e3:.0f} ms",
    )
    out.print()
    limits = {c.metric.key: c for c in problem.budget}
    rows = []
    for key, table in problem.table.items():
        m, cost = table.metric, solution.costs[key]
        mine = [c for c in problem.budget if c.metric.key == key]
        tight = min(mine, key=lambda c: c.limit) if key in limits else None
        shares = table.by_source(problem.choices.indices(solution.allocation))
        rows.append(
            [
                key,
                m.format(cost),
                m.format(tight.limit) if tight else "",
                f"{m.format(solution.slack[str(tight)], like=tight.limit)} ({solution.slack[str(tight)] / tight.limit:.1%})"
                if tight and tight.limit
                else "",
                ", ".join(f"{source} {share:.0%}" for source, share in shares.items() if share >= 0.005),
            ]
        )
    print_table(["cost", "value", "limit", "slack", "where the number comes from "], rows)
    out.print()
    if score is not None and reference is not None:
        metric = bench.task.metric
        out.print(f"Measured {metric.name} on the validation split: [bold]{metric.format(score)}[/bold] (FP32: {metric.format(reference)})")
    gap = solution.loss - solution.bound
    proof = (
        "proven smallest"
        if solution.status == "OPTIMAL"
        else f"at most {gap:.2g} above the smallest possible"
        if gap < 1e300
        else "no bound known"
    )
    out.print(f"Expected loss increase: {solution.loss:.4g} nats ({proof} for the {problem.loss.convention or 'loss table'})")
    if solution.binding is not None:
        out.print(f"Binding: {solution.binding}. {_price(problem, solution)}")
    elif len(problem.budget):
        out.print("No limit binds: every layer has the widths of the smallest expected loss.")
    out.print(f"Wrote {path}")


def _price(problem: Problem, solution: Solution) -> str:
    """ "One more ms lowers the expected loss by ..."; per tenth of the limit where a whole unit is more than that."""
    constraint = next(c for c in problem.budget if str(c) == solution.binding)
    price = solution.shadow_prices.get(str(constraint), 0.0)
    factor, symbol = constraint.metric.scale(constraint.limit)
    if factor <= 0.1 * constraint.limit:
        return f"One more {symbol or 'unit'} lowers the expected loss by about {price * factor:.3g} nats."
    tenth = 0.1 * constraint.limit
    return f"One more {constraint.metric.format(tenth)} lowers the expected loss by about {price * tenth:.3g} nats."
