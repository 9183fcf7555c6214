"""What FIT costs beside the forward and backward passes that it rides on, all widths at once.

Processor time of one thread (the machine is shared), interleaved, medians of ratios. Traces, and the samples that ranges are searched on,
are one pass and grow with the calibration split; the ranges searched at every width, and the errors taken there, do not.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwdse.choices import Choices
from hwdse.metrics import Metric
from hwdse.quantized import QuantizedModel, evaluating
from hwdse.sensitivity import FisherTraces, fit, fit_exact
from hwdse.sensitivity.fit import errors_of, fisher_traces
from hwdse.task import Task, batches_of
from hwdse.tasks import load_task
from hwdse.trace import trace

ROUNDS = 7
HERE = Path(__file__).resolve().parent


class Images:
    """ResNet-20 on 512 random images of 3 x 32 x 32: times, not scores."""

    name = "resnet20"
    metric = Metric("accuracy", "fraction", "higher")

    def __init__(self, batch: int) -> None:
        random = torch.Generator().manual_seed(0)
        self.batch, self.x = batch, torch.rand(512, 3, 32, 32, generator=random)
        self.y = torch.randint(0, 10, (512,), generator=random)

    def model(self) -> nn.Module:
        from models import ResNet20

        return ResNet20()

    def example_inputs(self) -> tuple[Tensor, ...]:
        return (self.x[:1],)

    def batches(self, split: str, seed: int) -> list[tuple[Tensor, Tensor]]:
        return list(zip(self.x.split(self.batch), self.y.split(self.batch), strict=True))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target)

    def scores(self, output: Tensor, target: Tensor) -> Tensor:
        return (output.argmax(1) == target).float()


def cases(task: Task) -> dict[str, Callable[[], Any]]:
    torch.manual_seed(0)
    plain = task.model().eval()
    graph = trace(plain, task.example_inputs())
    torch.manual_seed(0)
    model, choices, data = QuantizedModel(task.model(), graph), Choices.of(graph), list(batches_of(task, "calibration"))

    def forward_backward() -> None:
        for inputs, target in data:
            plain.zero_grad(set_to_none=True)
            task.loss(plain(*inputs), target).backward()

    def traces_alone() -> None:
        traces = FisherTraces(model)
        with evaluating(model.network), model.in_float(), model.tapped(traces.tap):
            for inputs, target in data:
                model.network.zero_grad(set_to_none=True)
                task.loss(model.network(*inputs), target).backward()
                traces.update(len(target))

    return {
        "forward + backward": forward_backward,
        "FIT: traces": traces_alone,
        "FIT: traces and samples of the inputs": lambda: fisher_traces(model, task, data),
        "FIT: ranges and errors": lambda: (errors_of(model, choices, "weight"), errors_of(model, choices, "activation")),
        "FIT": lambda: fit(model, task, choices),
        "FIT, noise model": lambda: fit(model, task, choices, noise="model"),
        "FIT, exact": lambda: fit_exact(model, task, choices),
    }


def measure(task: Task) -> dict[str, Any]:
    """Each case right after a forward and backward pass of its own; that pass is a case too, so that its ratio shows the noise."""
    made = cases(task)
    base = made["forward + backward"]
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
    for _ in range(ROUNDS):
        for name, case in made.items():
            seconds[name].append((clocked(base), clocked(case)))
    return {
        "ms": {name: round(1e3 * statistics.median(t for _, t in found), 1) for name, found in seconds.items()},
        "over forward + backward": {name: round(statistics.median(t / b for b, t in found), 2) for name, found in seconds.items()},
    }


def clocked(case: Callable[[], Any]) -> float:
    began = time.process_time()
    case()
    return time.process_time() - began


def main() -> None:
    torch.set_num_threads(1)
    sys.path.append(str(HERE.parent / "tests"))  # its ResNet-20
    result: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, 1 thread, Python {platform.python_version()}, torch {torch.__version__}",
        "what": f"processor time, median of {ROUNDS}, each beside a pass of its own; weights and inputs at 2 to 8 bits; bound of FIT: 1.2",
    }
    result["digits, 97 images by 8"] = measure(load_task("digits"))
    for batch in (8, 64):
        result[f"ResNet-20, 512 images by {batch}"] = measure(Images(batch))
    path = HERE / "results" / "fit.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()
