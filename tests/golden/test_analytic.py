"""Published figures of the analytic models."""

from __future__ import annotations

import pytest

from hwdse.bits import BitWidths
from hwdse.costmodels import load_accelerator
from hwdse.costmodels.analytic.bit_fusion import BitFusion
from hwdse.costmodels.analytic.energy import DRAM_PJ_PER_BIT, add_pj, multiply_pj, sram_pj_per_bit
from hwdse.graph import Layer, LayerGraph

CONV = Layer(
    "conv", "conv", 64 * 64 * 9 * 256, (1, 64, 16, 16), (1, 64, 16, 16), "conv.weight", (64, 64, 3, 3), 0, "conv", (1, 1), (1, 1), (1, 1)
)
GRAPH = LayerGraph((CONV,), {}, (), (), (), data_flow=False)


@pytest.mark.parametrize(("pair", "cycles"), [("w8a8", 4_493_897), ("w4a4", 2_696_338), ("w2a2", 1_451_874)])
def test_mpic_cycles(pair: str, cycles: int) -> None:
    latency = load_accelerator("mpic").cost_models()[0]
    widths = BitWidths.parse(pair)
    assert latency.tabulate(GRAPH, [widths]).total({"conv": widths}) * 250e6 == pytest.approx(cycles, abs=1)


def test_horowitz_energies() -> None:
    assert multiply_pj(8, 8) == pytest.approx(0.2, abs=1e-6)
    assert multiply_pj(32, 32) == pytest.approx(3.1, abs=1e-6)
    assert add_pj(32) == pytest.approx(0.1)
    assert [64 * sram_pj_per_bit(size * 1024) for size in (8, 32, 1024)] == pytest.approx([10, 20, 100], rel=1e-6)
    assert 64 * DRAM_PJ_PER_BIT == 1300


@pytest.mark.parametrize(("pair", "fused"), [("w8a8", 1), ("w4a8", 2), ("w8a4", 2), ("w4a4", 4), ("w2a2", 16), ("w6a6", 1)])
def test_fusion(pair: str, fused: int) -> None:
    assert BitFusion(16, 32, 8, 2, 500e6, 192, 8).fuse(BitWidths.parse(pair)) == fused
