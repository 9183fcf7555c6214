"""How long a table takes to cost many allocations: one gather and one sum, no loop over layers.

python benchmarks/costing.py [--save]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

from hwdse.costs import CostTable
from hwdse.formats import grid
from hwdse.metrics import ACTIVATIONS, BITOPS

RESULT = Path(__file__).parent / "results" / "costing.json"
OPTIONS = grid(range(2, 9), range(2, 9))


def table(layers: int, rows: int) -> CostTable:
    """One row over all layers, or ``rows`` rows of three neighbouring layers each."""
    rng = np.random.default_rng(0)
    names = tuple(f"l{i}" for i in range(layers))
    if rows == 1:
        return CostTable.one_row(BITOPS, names, OPTIONS, rng.random((layers, len(OPTIONS))))
    row = np.repeat(np.arange(rows), 3)
    layer = (np.arange(rows)[:, None] + np.arange(3)).ravel() % layers
    cells = rng.random((len(row), len(OPTIONS)))
    return CostTable(ACTIVATIONS, names, OPTIONS, cells, row, layer, np.zeros(rows), np.zeros(cells.shape, np.int8))


def main() -> dict[str, Any]:
    rng, rows = np.random.default_rng(1), []
    for count, layers, lines in ((10**6, 50, 1), (10**6, 20, 1), (10**5, 50, 48), (10**4, 1000, 1), (10**4, 1000, 998)):
        one = table(layers, lines)
        chosen = rng.integers(0, len(OPTIONS), (count, layers))
        seconds = []
        for _ in range(3):
            begin = time.perf_counter()
            one.totals(chosen)
            seconds.append(time.perf_counter() - begin)
        rows.append({"allocations": count, "layers": layers, "rows": lines, "seconds": round(min(seconds), 3)})
        print("{allocations:>8} allocations of {layers:>4} layers, {rows:>3} rows: {seconds:.3f} s".format(**rows[-1]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    about = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
    return {"machine": about, "peak_memory_mib": round(peak), "costing": rows}


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    save = arguments.parse_args().save
    result = main()
    if save:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
