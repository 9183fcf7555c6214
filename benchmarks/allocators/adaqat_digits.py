"""AdaQAT on the embedded task: from scratch and fine-tuning, widths per network and per layer, lambda steered and fixed.

    OMP_NUM_THREADS=1 python benchmarks/allocators/adaqat_digits.py

From scratch: a network that was never trained, as many epochs as FP32 training gets, the same data order; one estimate of the batch-norm
statistics before the ranges are calibrated, as a fresh network's say nothing of its activations. Ranges learn at 1e-2 (the
recipes' 1e-3 is too slow for alpha to follow the widths down in 480 steps). Scores are accuracies on the 900 images of the validation
and the test split together: nothing is picked by either. Results: benchmarks/allocators/results/adaqat_digits.json.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hwdse import __version__
from hwdse.allocators import AdaQAT, Uniform
from hwdse.costmodels import cost_model
from hwdse.evaluation import evaluate
from hwdse.formats import plain_integer
from hwdse.norms import reestimate_norms
from hwdse.quantized import QuantizedModel
from hwdse.quantizers import DoReFa
from hwdse.task import recipes_of
from hwdse.tasks import load_task
from hwdse.training import Allocator, train_float, train_quantized
from hwdse.workbench import Workbench

RESULT = Path(__file__).parent / "results" / "adaqat_digits.json"
BUDGET = "bitops <= 100% of w3a4"  # where the paper ends up on CIFAR-10, first and last layer at 8/8
SEEDS = {"from scratch": range(3), "fine-tuning": range(5)}
RANGES = 1e-2  # learning rate of alpha
ALLOCATORS: dict[str, Callable[[], Allocator]] = {
    "network, steered": AdaQAT,
    "network, fixed lambda": lambda: AdaQAT(steer=False),
    "layer, steered": lambda: AdaQAT(granularity="layer"),
    "layer, fixed lambda": lambda: AdaQAT(granularity="layer", steer=False),
    "layer, first order": lambda: AdaQAT(granularity="layer", order=1),
    "uniform": Uniform,
}


def accuracy(network: torch.nn.Module, bench: Workbench) -> float:
    """Percent."""
    found = [evaluate(network, bench.task, split) for split in ("validation", "test")]
    return 100 * sum(f.mean * f.samples for f in found) / sum(f.samples for f in found)


def quantised(bench: Workbench, regime: str, seed: int, fan_out: bool) -> QuantizedModel:
    torch.manual_seed(seed)
    if regime == "fine-tuning":
        return bench.quantized(AdaQAT.scheme)
    network = bench.task.model()
    reestimate_norms(network, bench.task, seed)
    model = QuantizedModel(network, bench.graph, AdaQAT.scheme)
    for weight in model.weights.values():
        quantizer = weight.quantizer.of(plain_integer(8))
        assert isinstance(quantizer, DoReFa)  # AdaQAT's scheme
        quantizer.rescale = "fan_out" if fan_out else "calibrated"
    return model


def measured(bench: Workbench, regime: str, name: str, fan_out: bool = False) -> dict[str, Any]:
    recipes = recipes_of(bench.task)
    recipe = replace(recipes.scratch if regime == "from scratch" else recipes.finetune, quantizer_lr=RANGES)
    problem = bench.problem(BUDGET, scheme=AdaQAT.scheme)
    scores, costs, widths, seconds, history = [], [], [], [], []
    for seed in SEEDS[regime]:
        allocator, began = ALLOCATORS[name](), time.process_time()
        model = quantised(bench, regime, seed, fan_out)
        trained = train_quantized(model, bench.task, problem, allocator, recipe, seed=seed)
        seconds.append(time.process_time() - began)
        scores.append(accuracy(model.network, bench))
        costs.append(trained.solution.costs["bitops"] / problem.budget.constraints[0].limit)
        widths.append(" ".join(map(str, trained.solution.allocation.values())))
        history = history or list(getattr(allocator, "history", ()))
    row = {
        "regime": regime,
        "allocator": name + (", SAT's rescaling" if fan_out else ""),
        "accuracy %": [round(s, 2) for s in scores],
        "mean": round(statistics.mean(scores), 2),
        "standard deviation": round(statistics.stdev(scores), 2),
        "cost over limit": [round(c, 4) for c in costs],
        "widths": widths,
        "processor seconds": round(statistics.mean(seconds), 1),
        "first seed's path (step, mean N_w, mean N_a, lambda, cost over limit)": [
            [m.step, *(round(v, 3) for v in (statistics.mean(m.weight), statistics.mean(m.activation), m.cost_weight, m.cost))]
            for m in history[:: max(1, len(history) // 24)]
        ],
    }
    print({k: v for k, v in row.items() if "path" not in k}, flush=True)
    return row


def main() -> None:
    torch.set_num_threads(1)
    began = time.perf_counter(), time.process_time()
    bench = Workbench(load_task("digits"), [], [cost_model("bitops"), cost_model("weights")])
    floating = []
    for seed in SEEDS["from scratch"]:
        torch.manual_seed(seed)
        network = bench.task.model()
        train_float(network, bench.task, recipes_of(bench.task).scratch, seed)
        floating.append(accuracy(network, bench))
    fp32 = {"from scratch": statistics.mean(floating), "fine-tuning": accuracy(bench.network(), bench)}
    rows = [measured(bench, regime, name) for regime in SEEDS for name in ALLOCATORS]
    rows.append(measured(bench, "from scratch", "network, steered", fan_out=True))
    for row in rows:
        row["points below FP32"] = round(fp32[row["regime"]] - row["mean"], 2)
    result = {
        "command": "OMP_NUM_THREADS=1 python benchmarks/allocators/adaqat_digits.py",
        "budget": BUDGET,
        "quantisers": str(AdaQAT.scheme),
        "seeds": {regime: list(seeds) for regime, seeds in SEEDS.items()},
        "recipes": {"from scratch": repr(recipes_of(bench.task).scratch), "fine-tuning": repr(recipes_of(bench.task).finetune)},
        "learning rate of the ranges": RANGES,
        "fp32 accuracy % from scratch": [round(s, 2) for s in floating],
        "fp32 accuracy % that fine-tuning starts from": round(fp32["fine-tuning"], 2),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores shared with other work, 1 thread",
        "versions": {"hwdse": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "wall seconds": round(time.perf_counter() - began[0]),
        "processor seconds": round(time.process_time() - began[1]),
        "rows": rows,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
