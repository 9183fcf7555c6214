"""The three allocators on CIFAR-10 with ResNet-20: one training per case, all with the same recipe and data order.

    python benchmarks/allocators/cifar10.py CASE ... [--epochs 5] [--seed 0] [--precision bfloat16]

HWDSE_CIFAR10 and HWDSE_CIFAR10_WEIGHTS name the data and the trained FP32 network (see hwdse/tasks/cifar10.py). First and last layer
stay at 8/8 and count. Training uses all 50,000 training images; the test split is scored once, at the end of each case, in float32.
An interrupted case goes on from its checkpoint. Results: benchmarks/allocators/results/cifar10-CASE.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hwdse import __version__
from hwdse.allocators import ADQ, AdaQAT, QBitOpt, Uniform
from hwdse.costmodels import AverageBits, cost_model
from hwdse.evaluation import evaluate
from hwdse.formats import LayerFormat
from hwdse.quantizers import Scheme
from hwdse.task import Recipe
from hwdse.tasks.cifar10 import Cifar10
from hwdse.training import Allocator, train_float, train_quantized
from hwdse.workbench import Workbench

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Case:
    """What one training is: an allocator, its budget, the quantisers."""

    allocator: Callable[[], Allocator]
    budget: tuple[str, ...] = ()
    scheme: Scheme | None = None
    distillation: float = 0.0


def at(bits: int) -> tuple[str, ...]:
    """Average bits with the 8/8 ends counted, which uniform widths exceed, and no more BitOPs than uniform widths."""
    return (f"average_bits <= {bits}", f"bitops <= 100% of w{bits}a{bits}")


ADQ_BUDGET = ("average_bits <= 2.81",)
CASES: Mapping[str, Case | None] = {
    "fp32": None,  # the same recipe without quantisation: what training alone does to this network
    "uniform-4": Case(lambda: Uniform(LayerFormat.of(4, 4))),
    "uniform-3": Case(lambda: Uniform(LayerFormat.of(3, 3))),
    "qbitopt-4": Case(QBitOpt, at(4)),
    "qbitopt-3": Case(QBitOpt, at(3)),
    "qbitopt-3-average": Case(QBitOpt, ("average_bits <= 3",)),  # the paper's constraint alone
    "qbitopt-3-once": Case(lambda: QBitOpt(reallocate=False), ("average_bits <= 3",)),
    "adaqat-3-4": Case(AdaQAT, ("bitops <= 100% of w3a4",)),
    "adaqat-3-4-lsq": Case(AdaQAT, ("bitops <= 100% of w3a4",), Scheme("lsq", "lsq")),
    "adaqat-3-4-layer": Case(lambda: AdaQAT(granularity="layer"), ("bitops <= 100% of w3a4",)),
    "uniform-3-codebook": Case(lambda: Uniform(LayerFormat.of(3, 3)), scheme=Scheme("codebook", "n2uq")),
    "uniform-3-4-dorefa": Case(lambda: Uniform(LayerFormat.of(3, 4)), scheme=Scheme("dorefa", "pact")),
    "adq-2.81": Case(ADQ, ADQ_BUDGET),
    "adq-2.81-lsq": Case(ADQ, ADQ_BUDGET, Scheme("codebook", "lsq")),
    "adq-2.81-distilled": Case(ADQ, ADQ_BUDGET, distillation=0.5),
}


def run(name: str, epochs: int, seed: int, precision: str) -> None:
    case = CASES[name]
    task = Cifar10(whole=True)
    bench = Workbench(task, (), [cost_model("bitops"), AverageBits(of="both")], seed=seed)
    recipe = Recipe(
        epochs=epochs, lr=0.02, weight_decay=1e-4, warmup=0.05, precision=precision, distillation=case.distillation if case else 0.0
    )  # type: ignore[arg-type]  # argparse checked it
    began, told = time.perf_counter(), [time.perf_counter()]

    def progress(done: int, total: int) -> None:
        if time.perf_counter() - told[0] > 60:
            told[0] = time.perf_counter()
            print(f"{name}: step {done}/{total}, {told[0] - began:.0f} s", flush=True)

    torch.manual_seed(seed)
    partial = RESULTS / f"cifar10-{name}.partial"
    result: dict[str, object] = {"case": name, "seed": seed, "recipe": repr(recipe)}
    if case is None:
        network = bench.network()
        train_float(network, task, recipe, seed, progress)
    else:
        allocator = case.allocator()
        scheme = case.scheme or allocator.scheme
        problem = bench.problem(*case.budget, scheme=scheme)
        model = bench.quantized(scheme)
        network = model.network
        trained = train_quantized(
            model, task, problem, allocator, recipe, seed=seed, progress=progress,
            teacher=bench.network() if case.distillation else None, checkpoint=partial,
        )  # fmt: skip
        limits = {c.metric.key: c.limit for c in problem.budget}
        steps = max(1, len(trained.losses) // 100)
        result |= {
            "quantisers": str(scheme),
            "budget": [c.text for c in problem.budget],
            "limits": limits,
            "costs": dict(trained.solution.costs),
            "widths": {layer: str(b) for layer, b in trained.solution.allocation.items()},
            "trace": [[step, {k: round(v, 4) for k, v in costs.items()}] for step, costs in trained.trace],
            "violations": sum(costs[k] > limit * (1 + 1e-12) for _, costs in trained.trace for k, limit in limits.items()),
            "loss curve": [round(float(np.mean(trained.losses[i : i + steps])), 4) for i in range(0, len(trained.losses), steps)],
            "distillation": case.distillation,
        }
    score = evaluate(network, task, "test")
    spread = 1.96 * float(score.scores.std()) / score.samples**0.5
    result |= {
        "test accuracy": score.mean,
        "95 % interval": [round(score.mean - spread, 4), round(score.mean + spread, 4)],
        "seconds": round(time.perf_counter() - began),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} thread(s)",
        "versions": {"hwdse": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }
    path = RESULTS / f"cifar10-{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    partial.unlink(missing_ok=True)
    print(f"{name}: {score.mean:.2%} +- {spread:.2%}, {result.get('costs', '')}, {result['seconds']} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", choices=CASES, metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    arguments = parser.parse_args()
    for name in arguments.cases:
        run(name, arguments.epochs, arguments.seed, arguments.precision)


if __name__ == "__main__":
    main()
