"""What the studies share: the command line, one measured case, and the table.

Each seed initialises, trains and fine-tunes a network of its own. The score is that of the validation and the test split together: a
study picks nothing by either.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from hwdse.costmodels import cost_model, load_accelerator
from hwdse.evaluation import evaluate
from hwdse.quantized import evaluating
from hwdse.quantizers import Scheme
from hwdse.task import Task, batches_of, recipes_of
from hwdse.tasks import load_task
from hwdse.training import Allocator, train_quantized
from hwdse.workbench import Workbench


@dataclass(frozen=True)
class Case:
    """One row of a study.

    Attributes:
        allocator: makes a fresh one.
        budget: limits that hold together.
        scheme: quantisers; None takes the allocator's own.
        method: sensitivities that the first allocation is solved with.
        epochs: of fine-tuning; None takes the command line's.
        distillation: the FP32 network's share of the loss.
    """

    allocator: Callable[[], Allocator]
    budget: tuple[str, ...] = ()
    scheme: Scheme | None = None
    method: str = "fit"
    epochs: int | None = None
    distillation: float = 0.0


def arguments(about: str | None, epochs: int) -> argparse.Namespace:
    """TASK, --seeds, --epochs, --accelerator, --output. ``about``: the study's docstring; ``epochs``: its default."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", default="digits", help="built-in task or my_package.my_module:MyTask (default: digits)")
    parser.add_argument("--seeds", type=int, default=3, help="networks trained and quantised per case (default: 3)")
    parser.add_argument("--epochs", type=int, default=epochs, help=f"of fine-tuning (default: {epochs})")
    parser.add_argument("--accelerator", default="npu", help="of latencies (default: npu)")
    parser.add_argument("--output", type=Path, help="CSV file for every single result")
    return parser.parse_args()


@functools.cache
def bench(task: str, accelerator: str, seed: int, method: str) -> Workbench:
    """Trains and traces once per seed and method; what takes time is also kept on disk."""
    torch.set_num_threads(1)  # these networks are too small to share between threads
    models = [cost_model(name) for name in ("bitops", "weights", "activations", "largest_bits")]
    both = cost_model("average_bits", of="both")
    return Workbench(load_task(task), [load_accelerator(accelerator)], [*models, both], method=method, seed=seed)


def measure(case: Case, options: argparse.Namespace, seed: int) -> dict[str, float]:
    """Score, loss and every cost of one quantised network, by metric key."""
    made = bench(options.task, options.accelerator, seed, case.method)
    allocator = case.allocator()
    epochs = options.epochs if case.epochs is None else case.epochs
    recipe = replace(recipes_of(made.task).finetune, epochs=epochs, distillation=case.distillation)
    scheme = case.scheme or allocator.scheme
    scheme = scheme if epochs else scheme.post_training()[0]
    problem = made.problem(*case.budget, scheme=scheme)
    torch.manual_seed(seed)
    model = made.quantized(scheme)
    teacher = made.network() if case.distillation else None
    trained = train_quantized(model, made.task, problem, allocator, recipe, seed=seed, teacher=teacher)
    scores = np.concatenate([evaluate(model.network, made.task, split).scores for split in ("validation", "test")])
    return {
        made.task.metric.key: float(scores.mean()),
        "loss": loss_of(model.network, made.task),
        "changes": len(trained.trace) - 1,
        **trained.solution.costs,
    }


def loss_of(network: nn.Module, task: Task) -> float:
    """Mean loss over the same samples as the score: it moves where the score no longer does."""
    with torch.no_grad(), evaluating(network):
        batches = [batch for split in ("validation", "test") for batch in batches_of(task, split)]
        losses = [float(task.loss(network(*inputs), target)) for inputs, target in batches]
    return float(np.average(losses, weights=[len(inputs[0]) for inputs, _ in batches]))


def study(cases: Mapping[str, Case], options: argparse.Namespace) -> None:
    """Measures every case with every seed; prints mean and standard deviation over the seeds, and the costs that limits are on."""
    rows = []
    for seed in range(options.seeds):
        for name, case in cases.items():
            rows.append({"case": name, "seed": seed, **measure(case, options, seed)})
            print(f"seed {seed}: {name}", file=sys.stderr)
    found = pd.DataFrame(rows)
    if options.output is not None:
        found.to_csv(options.output, index=False)
    made = bench(options.task, options.accelerator, 0, next(iter(cases.values())).method)
    score = made.task.metric
    limited = {c.metric.key: c.metric for case in cases.values() for c in made.budget(*case.budget)}
    grouped = found.groupby("case", sort=False)
    shown = pd.DataFrame(
        {
            score.key: grouped[score.key].apply(spread, score.format),
            "loss": grouped["loss"].apply(spread, "{:.4f}".format),
            **{key: grouped[key].mean().map(metric.format) for key, metric in limited.items()},
        }
    )
    print(f"{made.task.name}, {options.epochs} epochs, mean and standard deviation over {options.seeds} seeds")
    reference = [bench(options.task, options.accelerator, seed, "fit").reference for seed in range(options.seeds)]
    print(f"FP32 {score.name}: {score.format(float(np.mean([r[s] for r in reference for s in ('validation', 'test')])))}")
    print(shown.rename_axis(None).to_string())


def spread(values: pd.Series, show: Callable[[float], str]) -> str:
    """Mean and standard deviation; the mean alone of a single seed."""
    return show(values.mean()) + (f" ± {show(values.std())}" if len(values) > 1 else "")
