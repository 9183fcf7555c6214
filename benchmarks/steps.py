"""What quantisation and each allocator add to an FP32 training step, on the embedded task and on ResNet-20 with batches of 128.

    OMP_NUM_THREADS=1 python benchmarks/steps.py [--rounds 30]

Ratios of medians, interleaved. The data are random for ResNet-20: no download, and time does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from hwdse.allocators import ADQ, AdaQAT, QBitOpt, Uniform
from hwdse.costmodels import cost_model
from hwdse.formats import LayerFormat
from hwdse.loop import Loop
from hwdse.objective import Objective
from hwdse.quantizers import Scheme
from hwdse.sensitivity import FisherTraces, FitLosses
from hwdse.solvers import solve
from hwdse.task import Recipe, Split, Task, batches_of
from hwdse.tasks import load_task
from hwdse.tasks.cifar10 import Cifar10
from hwdse.training import Allocator, Step, _probe
from hwdse.workbench import Workbench

RECIPE = Recipe(epochs=1000, lr=1e-9)
TAU = 250


class RandomImages(Cifar10):
    """ResNet-20 on noise: as many images as two batches."""

    trained = True

    def __init__(self) -> None:
        super().__init__(folder="random")
        self.trained = True

    @cached_property
    def _splits(self) -> dict[Split, tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (256, 3, 32, 32), generator=generator, dtype=torch.uint8)
        labels = torch.randint(0, 10, (256,), generator=generator)
        part = images[:64], labels[:64]
        return {"train": (images, labels), "calibration": part, "validation": part, "test": part}


class Case:
    """One training set up as :func:`hwdse.training.train_quantized` does, stepped by hand."""

    def __init__(self, bench: Workbench, allocator: Allocator | None, scheme: Scheme | None = None, budget: str = "") -> None:
        self.allocator, task = allocator, bench.task
        self.network = bench.network()
        parameters = list(self.network.parameters()), list[torch.nn.Parameter]()
        if allocator is not None:
            scheme = scheme or allocator.scheme
            self.model = bench.quantized(scheme)
            self.network, parameters = self.model.network, self.model.parameters()
            self.model.observe(batches_of(task, "calibration"))
            problem = bench.problem(*([budget] if budget else []), scheme=scheme)
            self.model.set(allocator.start(self.model, problem), calibrate=True)
        self.loop = Loop(Objective(self.network, task, RECIPE), "train", 0, parameters)
        self.batch = next(iter(batches_of(task, "train")))
        self.network.train()

    def step(self) -> None:
        group = [self.batch]
        states = self.loop.backward(group)
        if self.allocator is not None:
            probe = _probe(self.model, self.loop.objective, group, states)
            self.allocator.observe(Step(5, 10_000_000, self.loop.losses[-1], len(self.batch[1]), self.model, probe))
        self.loop.update()
        if self.allocator is not None:
            for weight, quantizer, bits in self.model.distinct_weights():
                quantizer.adapt(weight, bits)

    def forward(self) -> None:
        with torch.no_grad():
            self.loop.objective(self.batch)


def measured(task: Task, rounds: int) -> dict[str, object]:
    bench = Workbench(task, (), [cost_model("bitops"), cost_model("weights")], cache=None)
    four = lambda: Uniform(LayerFormat.of(4, 4))  # noqa: E731  # a maker, three times
    budget = "bitops <= 25% of w8a8"
    cases = {
        "fp32": Case(bench, None),
        "lsq": Case(bench, four()),
        "lsq per channel": Case(bench, four(), Scheme("lsq_channel")),
        "dorefa+pact": Case(bench, four(), Scheme("dorefa", "pact")),
        "codebook+n2uq": Case(bench, four(), Scheme("codebook", "n2uq")),
        "qbitopt": Case(bench, QBitOpt(tau=10**9), budget=budget),
        "adq": Case(bench, ADQ(tau=10**9)),
        "adaqat, network": Case(bench, AdaQAT(), budget=budget),
        "adaqat, layer": Case(bench, AdaQAT(granularity="layer"), budget=budget),
    }
    forward = cases["dorefa+pact"]
    problem = bench.problem(budget)
    traces = FisherTraces(cases["lsq"].model)

    def reallocation() -> None:
        losses = FitLosses(cases["lsq"].model, bench.choices)
        solve(problem.with_loss(losses.table(traces)))

    actions: dict[str, Callable[[], None]] = {name: case.step for name, case in cases.items()}
    actions |= {"forward, dorefa+pact": forward.forward, "re-allocation": reallocation}
    times: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(rounds + 2):
        for name, action in actions.items():
            began = time.perf_counter()
            action()
            if number >= 2:
                times[name].append(time.perf_counter() - began)
    found = {name: statistics.median(values) for name, values in times.items()}
    step, two = found["dorefa+pact"], 2 * found["forward, dorefa+pact"]
    return {
        "batch": len(forward.batch[1]),
        "ms": {name: round(1e3 * seconds, 2) for name, seconds in found.items()},
        "over the fp32 step": {name: round(found[name] / found["fp32"], 2) for name in cases if name != "fp32"},
        "adaqat's step over a training step and two forwards": round(found["adaqat, network"] / (step + two), 3),
        "per-layer adaqat's step over a training step": round(found["adaqat, layer"] / step, 3),
        f"a re-allocation over {TAU} steps": round(found["re-allocation"] / (TAU * found["qbitopt"]), 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    result = {
        "machine": f"{os.cpu_count()} cores, 1 thread, Python {platform.python_version()}, torch {torch.__version__}",
        "rounds": rounds,
        "digits": measured(load_task("digits"), rounds),
        "resnet20": measured(RandomImages(), rounds),
    }
    path = Path(__file__).parent / "results" / "steps.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()
