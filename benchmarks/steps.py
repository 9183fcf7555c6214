"""Training steps on the embedded task: what quantisation and each allocator add to an FP32 step. Ratios, interleaved, median of 30."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from hwdse.allocators import make_allocator
from hwdse.bits import BitWidths
from hwdse.cli.setup import make_bench
from hwdse.sensitivity import fit
from hwdse.task import batches_of
from hwdse.training import Step

ROUNDS = 30


def main() -> None:
    bench = make_bench("digits")
    task = bench.task
    inputs, target = next(iter(batches_of(task, "train", 0)))
    cases: dict[str, Callable[[], None]] = {}

    def step_of(network: torch.nn.Module) -> Callable[[], None]:
        optimizer = torch.optim.SGD(network.parameters(), lr=0.0)

        def step() -> None:
            network.train()
            network.zero_grad(set_to_none=True)
            task.loss(network(*inputs), target).backward()
            optimizer.step()

        return step

    cases["fp32 step"] = step_of(bench.network())
    for name in ("uniform", "qbitopt", "adq", "adaqat"):
        allocator = make_allocator(name)
        problem = bench.problem("weights <= 50% of w8a8", scheme=allocator.scheme)
        model = bench.quantized(allocator.scheme)
        model.observe(batches_of(task, "calibration"))
        model.set(allocator.start(model, problem), calibrate=True)
        plain = step_of(model.network)

        def whole(model=model, allocator=allocator, plain=plain) -> None:  # type: ignore[no-untyped-def]  # bound here
            plain()

            def probe(allocation: object) -> float:
                before = model.allocation
                model.set(allocation)
                with torch.no_grad():
                    value = float(task.loss(model.network(*inputs), target))
                model.set(before)
                return value

            allocator.observe(Step(0, 100_000, 1.0, len(target), model, probe))

        cases[f"{name} step ({allocator.scheme})"] = whole
    other = bench.quantized()
    data = list(batches_of(task, "calibration"))
    other.observe(data)

    def forward_backward() -> None:
        for x, y in data:
            other.network.zero_grad(set_to_none=True)
            task.loss(other.network(*x), y).backward()

    cases["calibration forward + backward"] = forward_backward

    def whole_fit() -> None:
        fit(other, task, bench.choices)

    def another() -> None:
        other.set(uniform[1])
        other.set(uniform[0])

    cases["FIT, all widths"] = whole_fit
    uniform = [bench.choices.uniform(BitWidths(b, b)) for b in (4, 6)]
    other.set(uniform[0], calibrate=True)
    cases["another allocation set, twice"] = another

    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, case in cases.items():
            began = time.perf_counter()
            case()
            times[name].append(time.perf_counter() - began)
    milliseconds = {name: round(1e3 * statistics.median(found), 2) for name, found in times.items()}
    result = {
        "machine": f"{os.cpu_count()} cores, 1 thread, Python {platform.python_version()}, torch {torch.__version__}",
        "batch": len(target),
        "ms (median of 30, interleaved)": milliseconds,
        "over the fp32 step": {n: round(v / milliseconds["fp32 step"], 2) for n, v in milliseconds.items() if "step" in n},
        "FIT over forward + backward": round(milliseconds["FIT, all widths"] / milliseconds["calibration forward + backward"], 2),
    }
    path = Path(__file__).parent / "results" / "steps.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()
