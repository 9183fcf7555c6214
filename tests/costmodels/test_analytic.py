"""Closed forms of the analytic models."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwdse.costmodels.analytic.bit_fusion import BitFusion
from hwdse.costmodels.analytic.bit_serial import BitSerial
from hwdse.costmodels.analytic.energy import Horowitz45nm, Level, Moved, Stated, add_pj, multiply_pj, sram_pj_per_bit
from hwdse.costmodels.analytic.macs_per_cycle import MacsPerCycle
from hwdse.costmodels.analytic.pipelined import Pipelined
from hwdse.costmodels.analytic.power import ConstantPower
from hwdse.costmodels.analytic.rates import Rates
from hwdse.costmodels.analytic.roofline import Roofline
from hwdse.costmodels.analytic.systolic import Systolic
from hwdse.costmodels.analytic.tiling import Buffers
from hwdse.costmodels.analytic.traffic import Interface
from hwdse.costmodels.signature import OpWork, Work, work_of_layer
from hwdse.errors import UsageError
from hwdse.formats import LayerFormat, grid

W8A8, W4A8, W4A4 = LayerFormat.of(8, 8), LayerFormat.of(4, 8), LayerFormat.of(4, 4)


@given(st.integers(1, 64), st.integers(1, 64), st.integers(3, 32), st.floats(1e6, 1e12), st.floats(1e6, 1e12))
def test_roofline_is_the_longer_of_two(build, inputs: int, outputs: int, size: int, rate: float, bandwidth: float) -> None:
    layer = build.conv("c", inputs, outputs, size)
    model = Roofline(Rates({W8A8: rate}), Interface("dram", bandwidth, 16), {"conv": 0.5})
    elements = outputs * inputs * 9, inputs * size**2, outputs * size**2
    compute = layer.macs / (0.5 * rate)
    traffic = (elements[0] * 4 + elements[1] * 8 + elements[2] * 16) / 8 / bandwidth
    assert model.estimate(Work.of([work_of_layer(layer)]), [W4A8]).seconds[0, 0] == pytest.approx(max(compute, traffic), rel=1e-12)


def test_efficiency_is_by_operation_with_a_default(build) -> None:
    work = Work.of([work_of_layer(build.conv("c", 4, 4, groups=4)), work_of_layer(build.linear("l", 4, 4))])
    full = Roofline(Rates({W8A8: 1.0}), Interface("dram", 1e12, 8)).estimate(work, [W8A8]).seconds
    part = Roofline(Rates({W8A8: 1.0}), Interface("dram", 1e12, 8), {"default": 0.5, "depthwise": 0.1}).estimate(work, [W8A8]).seconds
    assert (part / full)[:, 0].tolist() == pytest.approx([10, 2])


def test_a_pair_without_a_rate_runs_at_the_next_wider_one() -> None:
    rates = Rates({W4A4: 4.0, W8A8: 1.0})
    assert rates.of([LayerFormat.of(3, 4), W4A8, W8A8]).tolist() == [4, 1, 1]
    assert np.isnan(rates.of([LayerFormat.of(9, 9)])[0])


def test_operands_wider_than_a_unit_have_no_answer(build) -> None:
    work = Work.of([work_of_layer(build.conv("c", 4, 4))])
    array = BitFusion(16, 32, 8, 2, 1.0, 1.0, Buffers(1e6, 1e6, 1e6))
    assert np.isnan(array.estimate(work, [LayerFormat.of(16, 8)]).seconds[0, 0])


@pytest.mark.parametrize("text", ["mxfp4:mxfp8", "fp8e4m3", "int4.c", "w4a8"])
def test_formulas_that_count_bits_answer_for_integer_widths_alone(build, text: str) -> None:
    work, pair = Work.of([work_of_layer(build.conv("c", 4, 4))]), LayerFormat.parse(text)
    fusion = BitFusion(16, 32, 8, 2, 1.0, 1.0, Buffers(1e6, 1e6, 1e6)).estimate(work, [pair])
    serial = BitSerial(4, 8, 16, 1.0, Interface("dram", 1e12, 8)).estimate(work, [pair])
    answers = [fusion.seconds[0, 0], fusion.peak[0], serial.seconds[0, 0], Horowitz45nm(32).pj([pair])[0]]
    assert np.isnan(answers).tolist() == [not pair.plain] * 4


def test_a_buffer_too_small_for_any_tile_has_no_answer_rather_than_a_cheap_one(build) -> None:
    work = Work.of([work_of_layer(build.conv("c", 4, 4))])
    array = BitFusion(16, 32, 8, 2, 1.0, 1.0, Buffers(16, 16, 16))
    assert np.isnan(array.estimate(work, [W8A8]).seconds[0, 0])


def slow_search(op: OpWork, w: int, a: int, rows: int, columns: int, buffers: Buffers, bandwidth: float) -> tuple[float, float]:
    """(cycles, bits), one order and one tile at a time."""
    half = {"weights": buffers.weights * 4, "inputs": buffers.inputs * 4, "outputs": buffers.outputs * 4}
    depends = {"weights": "io", "inputs": "bxyi", "outputs": "bxyo"}

    def steps(extent: int, unit: int = 1) -> list[int]:
        found = [unit]
        while found[-1] < extent:
            found.append(2 * found[-1])
        return [min(f, extent) for f in found]

    best = (math.inf, math.inf)
    for b, size, ic, oc in itertools.product(
        steps(int(op.batch)), steps(int(op.out_h)), steps(int(op.in_channels_per_group)), steps(int(op.out_channels), columns)
    ):
        trips = {
            "b": -(-op.batch // b), "x": -(-op.out_w // size), "y": -(-op.out_h // size), "i": -(-op.in_channels_per_group // ic),
            "o": -(-op.out_channels // oc),
        }  # fmt: skip
        k, s = int(op.kernel_h), int(op.stride_h)
        tile = {
            "weights": -(-k * k * ic // rows) * rows * oc * w,
            "inputs": (k + (size - 1) * s) ** 2 * ic * b * a,
            "outputs": size * size * -(-oc // columns) * columns * b * 32,
        }
        if any(tile[t] > half[t] for t in tile):
            continue
        compute = math.prod(trips.values()) * b * size * size * -(-oc // columns) * k * k * -(-ic // rows)
        for order in itertools.permutations("bxyio"):
            moved, kept, fits = dict(tile), dict(tile), dict.fromkeys(tile, True)
            for loop in order:
                for t in tile:
                    if not fits[t]:
                        moved[t] *= trips[loop]
                    elif loop in depends[t]:
                        moved[t] *= trips[loop]
                        fits[t] = moved[t] <= half[t]
                        kept[t] = moved[t] if fits[t] else kept[t]
            total, first, last = sum(moved.values()) + moved["outputs"], sum(kept.values()), kept["outputs"]
            stalled = max(0, -(-(total - first - last) // bandwidth) - compute) + -(-first // bandwidth) + -(-last // bandwidth)
            best = min(best, (compute + stalled, total))
    return best


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 20), st.integers(1, 70), st.sampled_from([1, 4, 7]), st.sampled_from([1, 3]), st.integers(1, 2),
    st.sampled_from([2, 4, 8]), st.sampled_from([2, 4, 8]), st.sampled_from([512, 2048, 65536]),
)  # fmt: skip
def test_the_search_over_tiles_equals_a_slow_one(batch, ic, oc, size, kernel, stride, w, a, buffer) -> None:
    op = OpWork("conv", 1.0, 1, 1, 1, batch, size, size, oc, ic, 1, kernel, kernel, stride, stride)
    buffers = Buffers(buffer, buffer, buffer)
    array = BitFusion(4, 8, 8, 2, 1.0, 24, buffers, unrolled=0)
    found, expected = array.cycles(op, LayerFormat.of(w, a)), slow_search(op, w, a, 4 * array.fuse(LayerFormat.of(w, a)), 8, buffers, 24)
    assert (math.inf, math.inf) if found is None else (found.compute + found.stalled, found.bits) == expected


def test_an_array_that_is_never_short_of_data_takes_the_compute_formula(build) -> None:
    layer, roomy = build.conv("c", 20, 70, 7), Buffers(1e9, 1e9, 1e9)
    array = BitFusion(4, 8, 8, 2, 1.0, 1e12, roomy)
    found = array.cycles(work_of_layer(layer), W4A8)
    assert found is not None
    assert found.compute == 49 * 9 * math.ceil(70 / 8) * math.ceil(20 / 8)
    assert found.stalled == 2  # the first word in, the last one out


def test_a_first_layer_is_unrolled(build) -> None:
    array = BitFusion(16, 32, 8, 2, 1.0, 1e12, Buffers(1e9, 1e9, 1e9))
    found = array.cycles(work_of_layer(build.conv("c", 3, 70, 7)), W8A8)
    assert found is not None
    assert found.compute == 49 * math.ceil(70 / 32) * math.ceil(27 / 16)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.sampled_from([2, 3, 8]), st.sampled_from([2, 3, 8]))
def test_bit_serial_time_is_proportional_to_both_widths(build, inputs: int, outputs: int, rows: int, w: int, a: int) -> None:
    work = Work.of([work_of_layer(build.linear("l", inputs, outputs, rows))])
    array = BitSerial(4, 8, 16, 1.0, Interface("dram", 1e12, 8))
    blocks = math.ceil(rows / 4) * math.ceil(outputs / 8) * math.ceil(inputs / 16)
    assert array.estimate(work, [LayerFormat.of(w, a)]).seconds[0, 0] == w * a * blocks


def test_groups_run_one_after_the_other_on_an_array(build) -> None:
    together, apart = build.conv("c", 8, 8, 4, groups=4), build.conv("c", 2, 2, 4)
    work = Work.of([work_of_layer(together), work_of_layer(apart)])
    for model in (
        Systolic(4, 4, "weight_stationary", 1.0, Rates({W8A8: 1.0}), Interface("dram", 1e12, 8)),
        BitSerial(4, 4, 4, 1.0, Interface("dram", 1e12, 8)),
    ):
        seconds = model.estimate(work, [W8A8]).compute[:, 0]
        assert seconds[0] == 4 * seconds[1] > 0


def test_narrow_operands_share_a_unit(build) -> None:
    work = Work.of([work_of_layer(build.linear("l", 64, 8, 8))])
    array = Systolic(4, 8, "output_stationary", 1.0, Rates({W8A8: 1.0, W4A4: 2.0}), Interface("dram", 1e12, 8))
    found = array.estimate(work, [W8A8, W4A4])
    assert found.seconds[0].tolist() == [2 * (4 + 8 + 64 - 2), 2 * (4 + 8 + 32 - 2)]
    assert found.peak.tolist() == [32, 64]


def test_a_pipeline_folds_rows_and_columns(build) -> None:
    layers = build.conv("c", 6, 10, 5), build.conv("d", 6, 6, 5, groups=6)
    model = Pipelined({"default": (4, 9), "depthwise": (4, 9)}, 2.0, Rates({W8A8: 1.0, W4A4: 2.0}))
    seconds = model.estimate(Work.of([work_of_layer(x) for x in layers]), [W8A8, W4A4]).seconds
    assert seconds[0].tolist() == [3 * 6 * 25 / 2, 3 * 3 * 25 / 2]
    assert seconds[1].tolist() == [2 * 25 / 2, 2 * 25 / 2]  # 6 channels, 4 at a time


def test_what_is_bound_by_what(build) -> None:
    work = Work.of([work_of_layer(build.conv("c", 64, 64, 8)), work_of_layer(build.linear("l", 512, 512))])
    found = Roofline(Rates({W8A8: 1e3}), Interface("dram", 1e3, 8)).estimate(work, [W8A8, W4A4])
    assert found.bound[:, 0].tolist() == ["compute", "dram"]
    used = found.utilisation(work)
    assert used[0, 0] == 1
    assert used[1, 0] == pytest.approx(512 * 512 / (512 * 512 + 1024))
    assert found.bits["dram"][1, 0] == 8 * (512 * 512 + 1024)


def test_scales_of_groups_travel_with_the_weights(build) -> None:
    work = Work.of([work_of_layer(build.linear("l", 512, 512))])
    plain, grouped = (Interface("dram", 1.0, 8, beside).bits(work, [W4A8])[0, 0] for beside in (0.0, 16 / 32))
    assert grouped - plain == 512 * 512 / 2


def test_energy_adds_arithmetic_and_every_level(build) -> None:
    layer = build.linear("l", 10, 20)
    model = Moved(Horowitz45nm(32), (Level("near", 2.0, reuse=4.0), Level("far", 20.0)), 8)
    expected = 200 * (multiply_pj(4, 8) + add_pj(32))
    expected += 2.0 * (200 * 12 / 4 + 160) + 20.0 * (200 * 4 + 10 * 8 + 20 * 8)
    assert model.joules(Work.of([work_of_layer(layer)]), [W4A8])[0, 0] == pytest.approx(expected * 1e-12)


@given(st.sampled_from(grid(range(1, 9), range(1, 9))), st.sampled_from(grid(range(1, 9), range(1, 9))))
def test_more_bits_never_cost_less_energy(build, one: LayerFormat, two: LayerFormat) -> None:
    low = LayerFormat.of(min(one.weight.bits, two.weight.bits), min(one.activation.bits, two.activation.bits))
    model = Moved(Horowitz45nm(32), (Level("dram", 20.0),), 8)
    energy = model.joules(Work.of([work_of_layer(build.conv("c", 3, 5))]), [low, one])[0]
    assert energy[0] <= energy[1]


def test_energy_takes_the_traffic_of_the_model_of_time(build) -> None:
    work = Work.of([work_of_layer(build.conv("c", 64, 64, 28))])
    time = BitFusion(16, 32, 8, 2, 1.0, 192, Buffers(8192, 8192, 8192))
    model = Moved(Stated(Rates({W8A8: 0.5})), (Level("dram", 20.0),), 8, time)
    expected = 0.5 * work.macs[0] + 20.0 * time.estimate(work, [W4A4]).bits["dram"][0, 0]
    assert model.joules(work, [W4A4])[0, 0] == pytest.approx(expected * 1e-12)


def test_constant_power(build) -> None:
    work = Work.of([work_of_layer(build.linear("l", 10, 20))])
    time = MacsPerCycle(Rates({W8A8: 2.0}), 100.0)
    assert time.estimate(work, [W8A8]).seconds[0, 0] == 1.0
    assert ConstantPower(3.0, time).joules(work, [W8A8])[0, 0] == 3.0


@pytest.mark.parametrize("size", [0, 4096, 2**21])
def test_the_sram_fit_ends_where_its_data_ends(size: int) -> None:
    with pytest.raises(UsageError, match="the 45 nm SRAM fit covers 8 KiB to 1 MiB"):
        sram_pj_per_bit(size)
