"""Number formats: signal to noise, what tables and sensitivities cost with many of them, and throughput against torchao.

python benchmarks/formats.py [--save]

Processor time of one thread. Ratios are of pairs run by turns. torchao rounds to the same values; it is left out where it is absent.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from cost_tables import network

from hwdse.choices import Choices
from hwdse.costmodels import cost_model
from hwdse.formats import LayerFormat, NumberFormat, grid
from hwdse.quantized import QuantizedModel
from hwdse.quantizers.number_rounding import in_format
from hwdse.sensitivity import fit
from hwdse.trace import trace

RESULT = Path(__file__).parent / "results" / "formats.json"
NAMES = (
    "mxfp4", "mxfp4.even", "mxfp4.ceil", "mxfp4.rceil", "nvfp4", "mxfp6", "mxfp6.rceil", "mxfp6e3m2", "mxfp6e3m2.rceil", "mxfp8",
    "mxfp8.rceil", "mxfp8e5m2", "mxfp8e5m2.rceil", "mxint8", "fp8e4m3", "fp8e5m2", "int8.c", "int4.g16", "int4.g32", "int4.g64",
    "int4.g128", "int4.g256", "uint4.g16", "uint4.g32", "uint4.g128", "int2.g32", "int3.g32", "int6.g32", "fp4.c", "fp6e2m3.c",
)  # fmt: skip
ROUNDS = 5


def signal_to_noise() -> dict[str, float]:
    """Decibel, on 2^20 samples of a normal distribution."""
    x = torch.randn(512, 2048, generator=torch.Generator().manual_seed(0))
    found = {}
    for name in NAMES:
        noise = (in_format(x, NumberFormat.parse(name)) - x).double().square().mean()
        found[name] = round(10 * math.log10(float(x.double().square().mean() / noise)), 2)
    return found


def cpu(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def ratio(one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float, float]:
    """Medians of both, in seconds, and of their ratio; run by turns."""
    one(), other()
    pairs = [(cpu(one), cpu(other)) for _ in range(ROUNDS)]
    return tuple(statistics.median(column) for column in ([a for a, _ in pairs], [b for _, b in pairs], [a / b for a, b in pairs]))  # type: ignore[return-value]


def tables() -> dict[str, Any]:
    """1,000 layers at 60 formats, and at 49 pairs of integers."""
    many = tuple(dict.fromkeys([*(LayerFormat(w, w) for w in map(NumberFormat.parse, NAMES)), *grid(range(2, 9), range(3, 9))]))[:60]
    found = {}
    for name in ("bitops", "weights", "activations"):
        model = cost_model(name)
        mine, plain, times = ratio(
            lambda model=model: model.tabulate(network(1000), many),
            lambda model=model: model.tabulate(network(1000), grid(range(2, 9), range(2, 9))),
        )
        found[name] = {"seconds": round(mine, 3), "seconds_of_49_integers": round(plain, 3), "ratio": round(times, 2)}
    return found


def scoring() -> dict[str, float]:
    """FIT of ResNet-20 at 30 formats of each operand, and at 7 widths."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from fit import Images

    task = Images(64)
    graph = trace(task.model(), task.example_inputs())
    numbers = [*map(NumberFormat.parse, NAMES)]
    spaces = Choices.of(graph, numbers, numbers, ends=None), Choices.of(graph, ends=None)
    many, seven = (lambda space=space: fit(QuantizedModel(task.model(), graph), task, space) for space in spaces)
    mine, plain, times = ratio(many, seven)
    return {"seconds": round(mine, 2), "seconds_of_7_widths": round(plain, 2), "ratio": round(times, 2)}


def throughput() -> dict[str, Any]:
    """Quantise and dequantise 4,096 x 4,096 numbers, against torchao."""
    if importlib.util.find_spec("torchao") is None:
        return {}
    from torchao.prototype.mx_formats.mx_tensor import MXTensor, ScaleCalculationMode

    x = torch.randn(4096, 4096, generator=torch.Generator().manual_seed(0))
    found = {}
    for name, kind in (("mxfp4", torch.float4_e2m1fn_x2), ("mxfp8", torch.float8_e4m3fn)):
        number = NumberFormat.parse(name)

        def theirs(kind: torch.dtype = kind) -> torch.Tensor:
            return MXTensor.to_mx(x, kind, 32, ScaleCalculationMode.FLOOR).dequantize(torch.float32)

        mine, other, times = ratio(lambda number=number: in_format(x, number), theirs)
        found[name] = {"seconds": round(mine, 3), "seconds_of_torchao": round(other, 3), "ratio": round(times, 2)}
    return found


def main() -> None:
    """Prints the figures; ``--save`` keeps them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    save = parser.parse_args().save
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for what, measured in {"snr_db": signal_to_noise, "tables": tables, "fit_resnet20": scoring, "rounding": throughput}.items():
        found[what] = measured()
        print(f"{what}: {json.dumps(found[what], indent=1)}")
    if save:
        about = {"python": platform.python_version(), "torch": torch.__version__, "machine": platform.machine(), "rounds": ROUNDS}
        RESULT.write_text(json.dumps({**about, **found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
