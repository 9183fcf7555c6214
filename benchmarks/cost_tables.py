"""Processor time to tabulate 1,000 layers of different shapes at 49 width pairs, per cost model.

python benchmarks/cost_tables.py [--save]
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

from hwdse.costmodels import COST_MODELS, accelerator_names, cost_model, load_accelerator
from hwdse.costs import CostModel
from hwdse.formats import grid
from hwdse.graph import Layer, LayerGraph, Step, Tensor

RESULT = Path(__file__).parent / "results" / "cost_tables.json"


def network(count: int) -> LayerGraph:
    """A chain of convolutions, norms and activations with residual additions; no two layers have one shape."""
    layers, tensors, steps = [], {"x": Tensor("x", 64 * 14 * 14)}, []
    before = residual = "x"
    for i in range(count):
        inputs, outputs = 64 + i, 65 + i
        shape = (1, inputs, 14, 14), (1, outputs, 14, 14)
        weight = (outputs, inputs, 3, 3)
        layers.append(Layer(f"l{i}", "conv", outputs * inputs * 9 * 196, *shape, f"l{i}.w", weight, 0, f"l{i}", (1, 1), (1, 1), (1, 1)))
        for op in ("layer", "norm", "activation", *(["add"] if i % 3 == 2 else [])):
            name = f"{op}{i}"
            tensors[name] = Tensor(name, outputs * 196)
            reads = (before, residual) if op == "add" else (before,)
            steps.append(Step(name, op, reads, (name,), f"l{i}" if op == "layer" else None))
            before = name
        if i % 3 == 2:
            residual = before
    return LayerGraph(tuple(layers), tensors, tuple(steps), ("x",), (before,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    save = parser.parse_args().save
    options = grid(range(2, 9), range(2, 9))
    models: list[CostModel] = [cost_model(name) for name in COST_MODELS]
    for name in accelerator_names():
        models += load_accelerator(name).cost_models()
    found = {}
    for model in models:
        graph = network(1000)  # fresh: nothing cached on it
        begin = time.process_time()
        table = model.tabulate(graph, options)
        found[model.metric.key] = {"cpu_seconds": round(time.process_time() - begin, 4), "rows": table.rows, "entries": len(table.cells)}
        print(f"{model.metric.key:22} {found[model.metric.key]['cpu_seconds']:8.3f} s, {table.rows} rows, {len(table.cells)} entries")
    if save:
        about = {"layers": 1000, "options": len(options), "python": platform.python_version(), "machine": platform.machine()}
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps({**about, "models": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
