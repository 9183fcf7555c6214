"""Processor time to cost ResNet-50 (batch 1, 224 x 224) at 49 width pairs on each analytic model, and to load a table of 10^5 rows.

First: nothing kept from before. Again: the same accelerator, a new graph. The bound holds for each.

python benchmarks/accelerators.py [--save]
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "accelerators.json"
BOUND = 1.0  # seconds, of each figure
ROWS = 100_000
DEVICES = ("npu", "systolic", "bitfusion", "bitserial", "mpic", "dataflow")


def spent(work: Callable[[], object]) -> float:
    """Seconds of the processor."""
    gc.collect()  # what was left behind before is not charged to this
    begin = time.process_time()
    work()
    return round(time.process_time() - begin, 4)


def table_text(count: int) -> str:
    """Convolutions and linear layers, each of its own shape, in all nine pairs of 2, 4 and 8 bits."""
    lines = [
        "op,batch,in_channels,out_channels,in_h,in_w,kernel_h,kernel_w,stride_h,stride_w,pad_h,pad_w,groups,tokens,w_bits,a_bits,instance,"
        "latency_us,latency_std_us,runs,energy_uj,source"
    ]
    for i in range(count):
        shape, pair = divmod(i, 9)
        weight, activation = 2 << pair // 3, 2 << pair % 3
        cost = f"{weight},{activation},,{10 + shape / 7 + pair:.3f},{0.1 + pair / 100:.3f},50,{3 + pair / 10:.2f},bench"
        if shape % 4:
            lines.append(f"conv,1,{16 + shape % 97},{16 + shape // 97},28,28,3,3,1,1,1,1,1,,{cost}")
        else:
            lines.append(f"linear,1,{16 + shape % 97},{16 + shape // 97},,,,,,,,,,1,{cost}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    save = parser.parse_args().save

    import torch

    sys.path.insert(0, str(HERE.parent / "tests"))
    import models

    from hwdse.costmodels import load_accelerator
    from hwdse.costmodels.table_file import read_table
    from hwdse.formats import grid
    from hwdse.trace import trace

    options = grid(range(2, 9), range(2, 9))
    graph = trace(models.resnet50(v1=False), (torch.zeros(1, 3, 224, 224),))
    found: dict[str, dict[str, float]] = {}
    for name in DEVICES:
        accelerator = replace(load_accelerator(name), rows=())  # the model alone
        fresh = [replace(graph), replace(graph)]
        times = [spent(lambda one=one, a=accelerator: a.latency.tabulate(one, options)) for one in fresh]
        found[f"{name} ({accelerator.keys.compute.model})"] = {"first": times[0], "again": times[1]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_text(table_text(ROWS))
        found[f"table of {ROWS:,} rows"] = {"first": spent(lambda: read_table(path)), "again": spent(lambda: read_table(path))}
    slow = [name for name, times in found.items() if max(times.values()) > BOUND]
    for name, times in found.items():
        print(f"{name:28} first {times['first']:7.3f} s, again {times['again']:7.3f} s{'  above the bound' if name in slow else ''}")
    if save:
        about = {"layers": len(graph.layers), "options": len(options), "python": platform.python_version(), "machine": platform.machine()}
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps({**about, "cpu_seconds": found}, indent=2) + "\n")
    if slow:
        raise SystemExit(f"more than {BOUND:g} s: {', '.join(slow)}")


if __name__ == "__main__":
    main()
