"""Published figures of the analytic models."""

from __future__ import annotations

import pytest

from hwdse.costmodels import load_accelerator
from hwdse.costmodels.analytic.bit_fusion import BitFusion
from hwdse.costmodels.analytic.energy import DRAM_PJ_PER_BIT, add_pj, multiply_pj, sram_pj_per_bit
from hwdse.costmodels.analytic.rates import Rates
from hwdse.costmodels.analytic.systolic import Dataflow, Systolic
from hwdse.costmodels.analytic.tiling import Buffers
from hwdse.costmodels.analytic.traffic import Interface
from hwdse.costmodels.signature import OpWork, Work
from hwdse.formats import LayerFormat
from hwdse.graph import Layer, LayerGraph

CONV = Layer(
    "conv", "conv", 64 * 64 * 9 * 256, (1, 64, 16, 16), (1, 64, 16, 16), "conv.weight", (64, 64, 3, 3), 0, "conv", (1, 1), (1, 1), (1, 1)
)
GRAPH = LayerGraph((CONV,), {}, (), (), (), data_flow=False)


@pytest.mark.parametrize(("pair", "cycles"), [("w8a8", 4_493_897), ("w4a4", 2_696_338), ("w2a2", 1_451_874)])
def test_mpic_cycles(pair: str, cycles: int) -> None:
    latency = load_accelerator("mpic").cost_models()[0]
    widths = LayerFormat.parse(pair)
    assert latency.tabulate(GRAPH, [widths]).total({"conv": widths}) * 250e6 == pytest.approx(cycles, abs=1)


def test_horowitz_energies() -> None:
    assert multiply_pj(8, 8) == pytest.approx(0.2, abs=1e-6)
    assert multiply_pj(32, 32) == pytest.approx(3.1, abs=1e-6)
    assert add_pj(32) == pytest.approx(0.1)
    assert [64 * sram_pj_per_bit(size * 1024) for size in (8, 32, 1024)] == pytest.approx([10, 20, 100], rel=1e-6)
    assert 64 * DRAM_PJ_PER_BIT == 1300


BUFFERS = Buffers(64 * 1024, 32 * 1024, 16 * 1024)
ARRAY = BitFusion(16, 32, 8, 2, 500e6, 192, BUFFERS)
W4A4 = LayerFormat.of(4, 4)


@pytest.mark.parametrize(("pair", "fused"), [("w8a8", 1), ("w4a8", 2), ("w8a4", 2), ("w4a4", 4), ("w2a2", 16), ("w6a6", 1)])
def test_fusion(pair: str, fused: int) -> None:
    assert ARRAY.fuse(LayerFormat.parse(pair)) == fused


@pytest.mark.parametrize(
    ("op", "cycles", "stalled"),
    [
        (OpWork("linear", 1, 1, 1, 1, 16, out_channels=3600, in_channels_per_group=3600), 337_175, 231_383),  # the LSTM
        (OpWork("conv", 1, 1, 1, 1, 16, 56, 56, 128, 128, 1, 3, 3), 3_613_708, 1_036),  # of the wide ResNet-18
    ],
)
def test_bit_fusion_cycles_of_the_published_simulator(op: OpWork, cycles: int, stalled: int) -> None:
    found = ARRAY.cycles(op, W4A4)
    assert found is not None
    assert (found.compute + found.stalled, found.stalled) == (cycles, stalled)


@pytest.mark.parametrize(("dataflow", "cycles"), [("weight_stationary", 4830), ("input_stationary", 5720), ("output_stationary", 4508)])
def test_systolic_cycles_of_scale_sim_which_reports_one_less(dataflow: Dataflow, cycles: int) -> None:
    m, n, k = 100, 50, 70
    array = Systolic(16, 8, dataflow, 1.0, Rates({LayerFormat.of(32, 32): 1.0}), Interface("dram", 1e12, 8))
    work = Work.of([OpWork("linear", m * n * k, n * k, m * k, m * n, m, out_channels=n, in_channels_per_group=k)])
    assert array.estimate(work, [W4A4]).compute[0, 0] == cycles
