"""Time and memory of tracing: ResNet-18 at 224, and a decoder of 7 billion parameters on the meta device.

Run by hand, ``python benchmarks/trace.py``; writes ``benchmarks/results/trace.json``. Each case runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIMITS = {"resnet18": 4.0, "decoder_7b": 20.0}


def run(case: str) -> None:
    import torch

    sys.path.insert(0, str(HERE.parent / "tests"))
    import models

    from hwdse.trace import trace

    if case == "resnet18":
        model, inputs = models.resnet18(), (torch.zeros(1, 3, 224, 224),)
    else:
        with torch.device("meta"):
            model = models.Llama(vocabulary=32000, width=4096, heads=32, kv_heads=8, hidden=14336, depth=32)
        inputs = (torch.zeros(1, 2048, dtype=torch.long),)
    start = time.perf_counter()
    graph = trace(model, inputs)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "layers": len(graph.layers),
        "steps": len(graph.steps),
        "macs": graph.macs,
        "seconds": round(seconds, 2),
        "limit_seconds": LIMITS[case],
        "peak_process_mib": round(peak),
    }
    print(json.dumps(found))


def main() -> None:
    import torch

    results = {}
    for case in LIMITS:
        output = subprocess.run([sys.executable, __file__, case], check=True, capture_output=True, text=True).stdout
        results[case] = json.loads(output.splitlines()[-1])
        print(case, results[case])
    machine = {
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    target = HERE / "results" / "trace.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")
    late = [case for case, found in results.items() if found["seconds"] > found["limit_seconds"]]
    if late:
        raise SystemExit(f"slower than the limit: {', '.join(late)}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(sys.argv[1])
    else:
        main()
