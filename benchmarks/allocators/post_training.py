"""Post-training quantisation of ResNet-20 on CIFAR-10: 512 calibration images, activations at 8 bits, first and last layer 8/8 and counted.

    python benchmarks/allocators/post_training.py

HWDSE_CIFAR10 and HWDSE_CIFAR10_WEIGHTS name the data and the trained FP32 network (see hwdse/tasks/cifar10.py). No weight is trained and
no label is used but for the sensitivities. The test split is scored once per row.
Results: benchmarks/allocators/results/post_training.json.
"""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import replace
from pathlib import Path

import torch

from hwdse import __version__
from hwdse.allocators import QBitOpt, Uniform
from hwdse.costmodels import AverageBits
from hwdse.evaluation import evaluate
from hwdse.formats import LayerFormat
from hwdse.quantizers import Scheme
from hwdse.task import Recipe
from hwdse.tasks.cifar10 import Cifar10
from hwdse.training import Allocator, train_quantized
from hwdse.workbench import Workbench

RESULT = Path(__file__).parent / "results" / "post_training.json"
NEAREST = Recipe(epochs=0)
RECIPES = {"nearest": NEAREST, "nearest, bias": replace(NEAREST, bias_correction=True), "adaptive, bias": NEAREST.post_training()}


def main() -> None:
    bench = Workbench(Cifar10(), (), [AverageBits()], weights=range(2, 9), activations=(8,))
    rows = []
    scheme = Scheme("lsq_channel")
    for what, limit in (("mixed", 4.0), ("mixed", 3.0), ("uniform", 4), ("uniform", 3)):
        for how, recipe in RECIPES.items():
            mixed = what == "mixed"
            allocator: Allocator = QBitOpt() if mixed else Uniform(LayerFormat.of(int(limit), 8))
            problem = bench.problem(*([f"average_bits <= {limit}"] if mixed else []), scheme=scheme)
            began = time.perf_counter()
            torch.manual_seed(0)
            model = bench.quantized(scheme)
            trained = train_quantized(model, bench.task, problem, allocator, recipe, seed=0)
            seconds = time.perf_counter() - began
            score = evaluate(model.network, bench.task, "test")
            spread = 1.96 * float(score.scores.std()) / score.samples**0.5
            rows.append(
                {
                    "quantisers": str(scheme),
                    "widths": what,
                    "average weight bits": round(trained.solution.costs["average_bits"], 4),
                    "rounding": how,
                    "test accuracy": score.mean,
                    "95 % interval": [round(score.mean - spread, 4), round(score.mean + spread, 4)],
                    "seconds": round(seconds, 1),
                    "weight bits": [b.weight.bits for b in trained.solution.allocation.values()],
                }
            )
            print(rows[-1], flush=True)
    result = {
        "command": "python benchmarks/allocators/post_training.py",
        "fp32 test accuracy": bench.reference["test"],
        "seed": 0,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores shared with other work, {torch.get_num_threads()} thread(s)",
        "versions": {"hwdse": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "rows": rows,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
