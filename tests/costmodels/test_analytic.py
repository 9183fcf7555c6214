"""Closed forms of the analytic models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse.bits import BitWidths, grid
from hwdse.costmodels.analytic.bit_fusion import BitFusion
from hwdse.costmodels.analytic.energy import Horowitz45nm, Level, add_pj, multiply_pj, sram_pj_per_bit
from hwdse.costmodels.analytic.macs_per_cycle import MacsPerCycle
from hwdse.costmodels.analytic.power import ConstantPower
from hwdse.costmodels.analytic.rates import Rates
from hwdse.costmodels.analytic.roofline import Roofline
from hwdse.costmodels.signature import Work, work_of_layer
from hwdse.errors import UsageError

W8A8, W4A8, W4A4 = BitWidths(8, 8), BitWidths(4, 8), BitWidths(4, 4)


@given(st.integers(1, 64), st.integers(1, 64), st.integers(3, 32), st.floats(1e6, 1e12), st.floats(1e6, 1e12))
def test_roofline_is_the_longer_of_two(build, inputs: int, outputs: int, size: int, rate: float, bandwidth: float) -> None:
    layer = build.conv("c", inputs, outputs, size)
    model = Roofline(Rates({W8A8: rate}), bandwidth, 16, {"conv": 0.5})
    elements = outputs * inputs * 9, inputs * size**2, outputs * size**2
    compute = layer.macs / (0.5 * rate)
    traffic = (elements[0] * 4 + elements[1] * 8 + elements[2] * 16) / 8 / bandwidth
    assert model.seconds(Work.of([work_of_layer(layer)]), [W4A8])[0, 0] == pytest.approx(max(compute, traffic), rel=1e-12)


def test_efficiency_is_by_operation_with_a_default(build) -> None:
    work = Work.of([work_of_layer(build.conv("c", 4, 4, groups=4)), work_of_layer(build.linear("l", 4, 4))])
    full = Roofline(Rates({W8A8: 1.0}), 1e12, 8).seconds(work, [W8A8])
    part = Roofline(Rates({W8A8: 1.0}), 1e12, 8, {"default": 0.5, "depthwise": 0.1}).seconds(work, [W8A8])
    assert (part / full)[:, 0].tolist() == pytest.approx([10, 2])


def test_a_pair_without_a_rate_runs_at_the_next_wider_one() -> None:
    rates = Rates({W4A4: 4.0, W8A8: 1.0})
    assert rates.of([BitWidths(3, 4), W4A8, W8A8]).tolist() == [4, 1, 1]
    assert np.isnan(rates.of([BitWidths(9, 9)])[0])


@given(st.integers(1, 100), st.integers(1, 100), st.integers(3, 20), st.sampled_from([2, 4, 6, 8]), st.sampled_from([2, 4, 6, 8]))
def test_bit_fusion_cycles(build, inputs: int, outputs: int, size: int, w: int, a: int) -> None:
    layer = build.conv("c", inputs, outputs, size)
    fuse = (8 // a) * (8 // w)
    expected = -(-outputs // 32) * size**2 * 9 * -(-inputs // (16 * fuse))
    array = BitFusion(16, 32, 8, 2, 500e6, 192, 32)
    work = Work.of([work_of_layer(layer)])
    assert array.cycles(work, [BitWidths(w, a)])[0, 0] == expected
    bits = inputs * outputs * 9 * w + inputs * size**2 * a + outputs * size**2 * 32
    assert array.seconds(work, [BitWidths(w, a)])[0, 0] == pytest.approx(max(expected, bits / 192) / 500e6)


def test_operands_wider_than_a_unit_have_no_answer(build) -> None:
    work = Work.of([work_of_layer(build.conv("c", 4, 4))])
    assert np.isnan(BitFusion(16, 32, 8, 2, 1.0, 1.0, 8).seconds(work, [BitWidths(16, 8)])[0, 0])


def test_energy_adds_arithmetic_and_every_level(build) -> None:
    layer = build.linear("l", 10, 20)
    model = Horowitz45nm((Level("near", 2.0, reuse=4.0), Level("far", 20.0)), 8, 32)
    expected = 200 * (multiply_pj(4, 8) + add_pj(32))
    expected += 2.0 * (200 * 12 / 4 + 160) + 20.0 * (200 * 4 + 10 * 8 + 20 * 8)
    assert model.joules(Work.of([work_of_layer(layer)]), [W4A8])[0, 0] == pytest.approx(expected * 1e-12)


@given(st.sampled_from(grid(range(1, 9), range(1, 9))), st.sampled_from(grid(range(1, 9), range(1, 9))))
def test_more_bits_never_cost_less_energy(build, one: BitWidths, two: BitWidths) -> None:
    low = BitWidths(min(one.weight, two.weight), min(one.activation, two.activation))
    model = Horowitz45nm((Level("dram", 20.0),), 8, 32)
    energy = model.joules(Work.of([work_of_layer(build.conv("c", 3, 5))]), [low, one])[0]
    assert energy[0] <= energy[1]


def test_constant_power(build) -> None:
    work = Work.of([work_of_layer(build.linear("l", 10, 20))])
    time = MacsPerCycle(Rates({W8A8: 2.0}), 100.0)
    assert time.seconds(work, [W8A8])[0, 0] == 1.0
    assert ConstantPower(3.0, time).joules(work, [W8A8])[0, 0] == 3.0


@pytest.mark.parametrize("size", [0, 4096, 2**21])
def test_the_sram_fit_ends_where_its_data_ends(size: int) -> None:
    with pytest.raises(UsageError, match="the 45 nm SRAM fit covers 8 KiB to 1 MiB"):
        sram_pj_per_bit(size)
