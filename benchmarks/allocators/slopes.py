"""Which of the two sums of AdaQAT's expansion puts tensors in the order of the measured differences, over training seeds and networks.

    OMP_NUM_THREADS=1 python benchmarks/allocators/slopes.py

Each seed initialises and trains a network of its own. It is set to 3, 4 and 5 bits everywhere (the ends stay at 8), with AdaQAT's
quantisers, and looked at twice: calibrated, and after an epoch of fine-tuning at these widths. At each look the two sums of
:class:`~hwdse.allocators.loss_slopes.ExpandedSlopes` are averaged over 12 training batches, as training averages them, and correlated
over the tensors with the mean of L(one tensor a bit narrower) - L on the same batches. Results: benchmarks/allocators/results/slopes.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from hwdse import __version__
from hwdse.allocators import AdaQAT, Uniform
from hwdse.allocators.cost_slopes import Moves
from hwdse.allocators.loss_slopes import ExpandedSlopes
from hwdse.allocators.width_groups import WidthGroups
from hwdse.costmodels import cost_model
from hwdse.costs import FloatArray
from hwdse.formats import LayerFormat
from hwdse.quantized import QuantizedModel
from hwdse.task import Recipe, Recipes, Task, batches_of, recipes_of
from hwdse.tasks.digits import Digits
from hwdse.tasks.digits_vit import DigitsViT
from hwdse.training import train_quantized
from hwdse.workbench import Workbench

RESULT = Path(__file__).parent / "results" / "slopes.json"
BITS, BATCHES, EPOCHS = (3, 4, 5), 12, (0, 1)
SUMS = ("first order", "curvature", "both")


class ShortViT(DigitsViT):
    """A sixth of the epochs."""

    name = "digits_vit, 40 epochs"
    recipes = Recipes(scratch=replace(DigitsViT.recipes.scratch, epochs=40), finetune=DigitsViT.recipes.finetune)


class Plain(Digits):
    """Four convolutions without norms or shortcuts, and a hidden linear layer."""

    name = "digits, plain"
    recipes = Recipes(scratch=Recipe(epochs=20, lr=0.05, weight_decay=1e-3, warmup=0.1), finetune=Recipe(lr=0.005))

    def model(self) -> nn.Module:
        """(N, 1, 8, 8) -> (N, 10) logits."""
        sizes = ((1, 16, 1), (16, 24, 2), (24, 32, 1), (32, 32, 2))
        layers: list[nn.Module] = []
        for inputs, outputs, stride in sizes:
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.ReLU()]
        network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 48), nn.ReLU(), nn.Linear(48, 10))
        for module in network:
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)
        return network


TASKS: dict[str, Callable[[], Task]] = {"digits": Digits, ShortViT.name: ShortViT, Plain.name: Plain}


def batches(task: Task) -> Iterator[tuple[tuple[Tensor, ...], Any]]:
    passes = (batches_of(task, "train", seed) for seed in itertools.count(1))
    return itertools.islice(itertools.chain.from_iterable(passes), BATCHES)


def averages(model: QuantizedModel, groups: WidthGroups, task: Task, bits: int) -> tuple[FloatArray, FloatArray]:
    """(2, G) the two sums, and (G,) the measured differences, of the tensors that may be narrower."""
    free = groups.levels[:, 0] != groups.levels[:, -1]
    widths = np.where(free, bits, groups.levels[:, -1])
    slopes = ExpandedSlopes(model, groups)
    slopes.aim(widths, Moves(widths - free, np.arange(groups.count), free.astype(float), np.ones((groups.count, 1))))
    here = groups.problem.choices.allocation(groups.indices(widths))
    there = [groups.problem.choices.allocation(groups.indices(widths - (np.arange(groups.count) == g))) for g in np.flatnonzero(free)]
    model.network.eval()
    sums, before = [], []
    for inputs, target in batches(task):
        model.network.zero_grad()
        with slopes.watching():
            loss = task.loss(model.network(*inputs), target)
            loss.backward()  # type: ignore[no-untyped-call]  # torch's stub
        sums.append(slopes.differences(len(inputs[0]))[:, free])
        before.append(float(loss.detach()))
    differences = []
    with torch.no_grad():
        for allocation in there:
            model.set(allocation)
            after = [float(task.loss(model.network(*inputs), target)) for inputs, target in batches(task)]
            differences.append(np.mean(after) - np.mean(before))
        model.set(here)
    return np.mean(sums, axis=0), np.array(differences)


def measured(task: Task, seed: int) -> list[dict[str, Any]]:
    bench = Workbench(task, [], [cost_model("average_bits", of="both")], seed=seed)
    rows = []
    for bits, epochs in itertools.product(BITS, EPOCHS):
        torch.manual_seed(seed)
        model = bench.quantized(AdaQAT.scheme)
        problem = bench.problem(f"average_bits <= 100% of w{bits}a{bits}", scheme=AdaQAT.scheme)
        recipe = replace(recipes_of(task).finetune, epochs=epochs, quantizer_lr=1e-2)
        train_quantized(model, task, problem, Uniform(), recipe, seed=seed)
        if model.allocation != bench.choices.uniform(LayerFormat.of(bits, bits)):
            raise SystemExit(f"{task.name}: {model.allocation} is not w{bits}a{bits}.")
        (first, curvature), true = averages(model, WidthGroups.layer(problem), task, bits)
        row: dict[str, Any] = {"network": task.name, "seed": seed, "bits": bits, "epochs": epochs, "tensors": len(true)}
        for name, guess in zip(SUMS, (first, curvature, first + curvature), strict=True):
            row[name] = {
                "pearson": round(float(np.corrcoef(guess, true)[0, 1]), 3),
                "spearman": round(float(spearmanr(guess, true).statistic), 3),
            }
        rows.append(row)
    print(f"{task.name} {seed}: validation {bench.reference['validation']:.3f}", *(_short(row) for row in rows), sep="\n  ", flush=True)
    return rows


def _short(row: dict[str, Any]) -> str:
    return f"{row['bits']} bits, {row['epochs']} epochs: " + ", ".join(f"{name} {row[name]['spearman']:.2f}" for name in SUMS)


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Summaries of each network and look, over seeds and widths: median and range of each correlation, and which sum ranks better."""
    found = []
    for network, epochs in dict.fromkeys((row["network"], row["epochs"]) for row in rows):
        mine = [row for row in rows if (row["network"], row["epochs"]) == (network, epochs)]
        line: dict[str, Any] = {"network": network, "epochs": epochs, "cases": len(mine)}
        for kind, name in itertools.product(("pearson", "spearman"), SUMS):
            values = [row[name][kind] for row in mine]
            line[f"{name}, {kind}"] = [round(float(q), 2) for q in np.quantile(values, (0, 0.25, 0.5, 0.75, 1))]
        line["cases in which the curvature ranks better than the first order"] = sum(
            row["curvature"]["spearman"] > row["first order"]["spearman"] for row in mine
        )
        found.append(line)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8, help="networks of each kind (default: 8)")
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    rows = [row for seed in range(options.seeds) for name in options.tasks for row in measured(TASKS[name](), seed)]
    result = {
        "command": "OMP_NUM_THREADS=1 python benchmarks/allocators/slopes.py",
        "seeds": options.seeds,
        "batches": BATCHES,
        "quantisers": str(AdaQAT.scheme),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} shared cores, 1 thread",
        "versions": {"hwdse": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "processor seconds": round(time.process_time() - began),
        "quantiles are": [0, 0.25, 0.5, 0.75, 1],
        "summary": summary(rows),
        "rows": rows,
    }
    options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
