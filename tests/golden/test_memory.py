"""Published and recomputed memory figures."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from models import MobileNetV2, ResNet20, resnet18, resnet50
from torch import nn

from hwdse.costmodels import ActivationMemory, WeightMemory, kv_cache_bytes
from hwdse.formats import LayerFormat, grid
from hwdse.graph import LayerGraph
from hwdse.trace import trace

W8A8 = LayerFormat.of(8, 8)
SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "hawq"


def graph(model: nn.Module, size: int) -> LayerGraph:
    return trace(model.to("meta").eval(), (torch.zeros(1, 3, size, size, device="meta"),))


@pytest.mark.parametrize(
    ("model", "size", "options", "expected"),
    [
        (MobileNetV2, 224, {}, 1_505_280),
        (MobileNetV2, 224, {"level": "layer"}, 1_505_280),
        (MobileNetV2, 224, {"depthwise": True}, 1_404_928),
        (resnet18, 224, {}, 1_003_520),
        (ResNet20, 32, {}, 49_152),
    ],
)
def test_peak_activations_at_int8(model: type[nn.Module], size: int, options: dict[str, object], expected: int) -> None:
    table = ActivationMemory(**options).tabulate(graph(model(), size), grid([8], [8]))  # type: ignore[arg-type]
    assert table.total(dict.fromkeys(table.layers, W8A8)) == expected


def test_a_residual_is_what_liveness_adds() -> None:
    traced = graph(ResNet20(), 32)
    layer = ActivationMemory("layer", add=False).tabulate(traced, grid([8], [8]))
    peak = ActivationMemory(add=False).tabulate(traced, grid([8], [8]))
    every = dict.fromkeys(layer.layers, W8A8)
    # 3 x 16 x 32 x 32 at the sum itself, whose operands and result are three tensors either way
    assert layer.total(every) == peak.total(every) == 49_152
    convolutions = [r for r, name in enumerate(layer.row_names) if "conv2" in name]
    assert max(layer.row_totals(np.zeros((1, 20), int))[0][convolutions]) == 2 * 16_384


def hawq_layer(name: str) -> str:
    stage, unit, operation = name.split(".")
    return f"layer{stage[5:]}.{int(unit[4:]) - 1}.{'downsample.0' if 'identity' in operation else 'conv' + operation[-1]}"


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the published bit configurations in {SHARED}")
@pytest.mark.parametrize("network", ["resnet18", "resnet50"])
def test_sizes_of_every_published_configuration(network: str) -> None:
    traced = graph(resnet18() if network == "resnet18" else resnet50(v1=True), 224)
    table = WeightMemory(scale_bits=0, bias_bits=0).tabulate(traced, grid([4, 8], [4, 8]))
    with (SHARED / f"{network}_published_bit_configs.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (SHARED / "published_configs_summary.csv").open() as file:
        sizes = {r["config"]: float(r["size_MiB_recomputed_incl_first_last_8b"]) for r in csv.DictReader(file)}
    configs = {row["config"] for row in rows}
    for config in configs:
        chosen = {hawq_layer(r["layer"]): LayerFormat.of(int(r["w_bits"]), int(r["a_bits"])) for r in rows if r["config"] == config}
        allocation = {name: chosen.get(name, W8A8) for name in table.layers}
        assert table.total(allocation) / 2**20 == pytest.approx(sizes[config], abs=5e-4), config
    assert len(configs) == 11


def test_kv_cache_of_a_llama() -> None:
    # Llama-3.1-8B: 32 layers, 8 key-value heads of 128, 8192 tokens at 16 bits: 1 GiB
    assert kv_cache_bytes(32, 8, 128, 8192, 1, 16) == 2**30
    assert kv_cache_bytes(32, 8, 128, 8192, 1, 4, group=32, scale_bits=16) == 2**28 + 2**29 // 32 * 2
