"""Every step of the look-up order, each with the earlier ones out of reach."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hwdse.costmodels import Answer, load_accelerator
from hwdse.costs import SOURCES
from hwdse.errors import MissingCost, UnknownName
from hwdse.formats import LayerFormat, grid
from hwdse.graph import Layer

HEAD = (
    "op,batch,in_channels,out_channels,in_h,in_w,kernel_h,kernel_w,stride_h,stride_w,pad_h,pad_w,groups,"
    "w_bits,a_bits,o_bits,fused,instance,latency_s,latency_std_s,source\n"
)
ROOFLINE = """
[compute]
model = "roofline"
memory = "dram"
macs_per_s = {w8a8 = 1e6, w4a4 = 2e6}
[[memory]]
name = "dram"
bytes_per_s = 1e12
"""


def row(inputs=16, outputs=16, size=8, pair="8,8", o="", fused="", instance="", cost="", std="", source="", op="conv", groups=1) -> str:
    return f"{op},1,{inputs},{outputs},{size},{size},3,3,1,1,1,1,{groups},{pair},{o},{fused},{instance},{cost},{std},{source}\n"


@pytest.fixture
def ask(write, build):
    """The answer for one layer on an accelerator with these rows."""

    def make(
        rows: str, layer: Layer, pair: str, extra: str = "", top: str = "", network: str | None = None, base: dict[str, str] | None = None
    ) -> Answer:
        path = write(extra, HEAD + rows if rows else None, top=top)
        for old, new in (base or {}).items():
            path.write_text(path.read_text().replace(old, new))
        latency = load_accelerator(path).cost_models(network)[0]
        widths = LayerFormat.parse(pair)
        answer = latency.explain(build.loose(layer), layer.name, widths)
        table = latency.tabulate(build.loose(layer), [widths])
        assert table.cells[0, 0] == answer.value
        assert SOURCES[table.sources[0, 0]] == answer.source
        return answer

    return make


def test_1_exact_instance(ask, build) -> None:
    rows = row(instance="a", cost=3, std=0.3) + row(cost=5)
    answer = ask(rows, build.conv("a", 16, 16), "w8a8")
    assert (answer.value, answer.source, answer.error) == (3, "exact", pytest.approx(0.1))
    assert ask(rows, build.conv("b", 16, 16), "w8a8").value == 5


def test_1_instances_of_a_network(ask, build) -> None:
    rows = row(instance="net:a", cost=3) + row(cost=5)
    assert ask(rows, build.conv("a", 16, 16), "w8a8", network="net").source == "exact"
    assert ask(rows, build.conv("a", 16, 16), "w8a8").source == "signature"


def test_1_a_name_with_another_shape_is_another_layer(ask, build) -> None:
    assert ask(row(instance="a", cost=3) + row(outputs=32, cost=5), build.conv("a", 16, 32), "w8a8").source == "signature"


def test_2_signature_prefers_plain_rows_else_the_median(ask, build) -> None:
    layer = build.conv("x", 16, 16)
    instances = row(instance="a", cost=3) + row(instance="b", cost=4) + row(instance="c", cost=9)
    answer = ask(instances, layer, "w8a8")
    assert (answer.value, answer.source, answer.error) == (4, "signature", pytest.approx(6 / 8))
    assert ask(instances + row(cost=7), layer, "w8a8").value == 7
    assert ask(row(fused="relu", cost=6) + row(cost=7), layer, "w8a8").value == 7
    assert ask(row(o=8, cost=6) + row(o=32, cost=7), layer, "w8a8").value == 6


@pytest.mark.parametrize("semantics", ["native", "fusion", "storage_only"])
def test_3_bits_are_rounded_up_and_never_interpolated(ask, build, semantics: str) -> None:
    rows = row(cost=5) + row(pair="4,4", cost=3)
    base = (
        {'"native"': f'"{semantics}"', "weights = [4, 8]": "weights = [4, 6, 8]"}
        if semantics == "fusion"
        else {'"native"': f'"{semantics}"'}
    )
    answer = ask(rows, build.conv("x", 16, 16), "w7a5", base=base)
    assert (answer.value, answer.source) == (5, "rounded")
    assert "w7a5 runs as w8a8" in answer.detail
    assert ask(rows, build.conv("x", 16, 16), "w3a4", base=base).value == 3


def test_3_bit_serial_devices_interpolate(ask, build) -> None:
    rows = row(cost=8) + row(pair="4,8", cost=4)
    answer = ask(rows, build.conv("x", 16, 16), "w6a8", base={'"native"': '"bit_serial"'})
    assert (answer.value, answer.source, answer.error) == (6, "interpolated", pytest.approx(4 / 12))
    assert "between weight widths 4 and 8" in answer.detail


def test_3_bit_serial_devices_interpolate_between_widths_that_were_all_measured_wider_and_narrower(ask, build) -> None:
    """Time proportional to both widths, measured at even widths only: w3a5 costs 15, between 8 and 32."""
    rows = "".join(row(pair=f"{w},{a}", cost=w * a) for w in (2, 4, 6, 8) for a in (2, 4, 6, 8))
    answer = ask(rows, build.conv("x", 16, 16), "w3a5", base={'"native"': '"bit_serial"', "[4, 8]": "[2, 4, 6, 8]"})
    assert (answer.value, answer.source) == (pytest.approx(15), "interpolated")
    assert answer.error == pytest.approx((24 - 8) / 2 / 15)
    assert "between w2a4, w4a4, w2a6 and w4a6" in answer.detail


def test_3_bit_serial_devices_interpolate_between_a_row_and_what_lies_between_rows(ask, build) -> None:
    rows = row(pair="3,4", cost=12) + row(pair="2,8", cost=16) + row(pair="4,8", cost=32)
    answer = ask(rows, build.conv("x", 16, 16), "w3a6", base={'"native"': '"bit_serial"', "[4, 8]": "[2, 4, 8]"})
    assert (answer.value, answer.source) == (pytest.approx(18), "interpolated")


def test_3_bit_serial_devices_never_extrapolate(ask, build) -> None:
    rows = row(pair="2,4", cost=8) + row(pair="4,4", cost=16)
    with pytest.raises(MissingCost, match="at w3a5; measured there: w2a4, w4a4"):
        ask(rows, build.conv("x", 16, 16), "w3a5", base={'"native"': '"bit_serial"', "[4, 8]": "[2, 4, 8]"})


def test_4_one_dimension_inside_the_range(ask, build) -> None:
    rows = row(outputs=8, cost=2) + row(outputs=24, cost=4) + row(outputs=64, cost=9)
    answer = ask(rows, build.conv("x", 16, 16), "w8a8")
    assert (answer.value, answer.source, answer.error) == (3, "interpolated", pytest.approx(2 / 6))
    assert "between out_channels 8 and 24" in answer.detail


def test_4_the_tightest_neighbours_win(ask, build) -> None:
    rows = row(outputs=8, cost=2) + row(outputs=64, cost=4) + row(size=6, cost=30) + row(size=10, cost=40)
    assert ask(rows, build.conv("x", 16, 16), "w8a8").value == 35


def test_4_depthwise_channels_move_together(ask, build) -> None:
    rows = "".join(row(c, c, groups=c, op="depthwise", cost=c) for c in (8, 32))
    answer = ask(rows, build.conv("x", 16, 16, groups=16), "w8a8")
    assert (answer.value, answer.source) == (16, "interpolated")


def test_4_never_extrapolated(ask, build) -> None:
    rows = row(outputs=8, cost=2) + row(outputs=12, cost=3)
    with pytest.raises(MissingCost, match=r"no latency for layer 'x' .conv 16->16 3x3 .* at w8a8; no row has this shape"):
        ask(rows, build.conv("x", 16, 16), "w8a8")


def test_5_the_model_times_the_median_ratio(ask, build) -> None:
    def macs(outputs: int) -> float:
        return outputs * 16 * 9 * 64 / 1e6

    rows = "".join(row(outputs=n, cost=macs(n) * ratio) for n, ratio in ((4, 2.0), (8, 3.0), (12, 5.0)))
    answer = ask(rows, build.conv("x", 16, 16), "w8a8", ROOFLINE)
    assert answer.value == pytest.approx(3 * macs(16))
    assert answer.source == "analytic"
    assert "median of 3 conv shapes at w8a8" in answer.detail


def test_6_error_names_layer_shape_widths_and_file(ask, build) -> None:
    with pytest.raises(
        MissingCost, match=r"dev \(.*dev\.toml\) has no latency for layer 'fc' \(linear 4->4, batch 1, 1 tokens\) at w8a8"
    ) as caught:
        ask(row(cost=1), build.linear("fc", 4, 4), "w8a8", ROOFLINE)
    assert 'set missing = "analytic"' in str(caught.value)


def test_6_analytic_takes_the_nearest_ratio(ask, build) -> None:
    rows = row(cost=16 * 16 * 9 * 64 / 1e6 * 7)
    answer = ask(rows, build.linear("fc", 4, 4), "w8a8", ROOFLINE, top='missing = "analytic"')
    assert answer.value == pytest.approx(7 * 16 / 1e6)
    assert (answer.source, answer.error) == ("analytic", None)
    assert "for want of measured linear at w8a8" in answer.detail
    other = ask(rows, build.conv("c", 16, 16), "w4a4", ROOFLINE, top='missing = "analytic"')
    assert other.value == pytest.approx(7 * 16 * 16 * 9 * 64 / 2e6)


def test_6_a_model_without_a_table_needs_no_permission(ask, build) -> None:
    assert ask("", build.linear("fc", 4, 4), "w8a8", ROOFLINE).value == pytest.approx(16 / 1e6)


def test_6_never_zero(ask, build) -> None:
    """An operation that the model has no time for is missing, not free."""
    fast = ROOFLINE.replace("roofline", "macs_per_cycle").replace('memory = "dram"\n', "").replace("macs_per_s", "macs_per_cycle")
    embedding = Layer("e", "embedding", 0, (1, 6), (1, 6, 4), "w", (10, 4), 0, "e")
    with pytest.raises(MissingCost, match="no latency for layer 'e'"):
        ask("", embedding, "w8a8", fast + "[clock]\nhz = 1e9")


def test_estimates_do_not_go_below_the_least_time(ask, build) -> None:
    answer = ask("", build.linear("fc", 4, 4), "w8a8", ROOFLINE + "[overheads]\nleast_s = 0.5")
    assert (answer.value, answer.error) == (0.5, None)
    assert "raised to the least time" in answer.detail


def test_unsupported_is_infinite_and_not_missing(ask, build) -> None:
    rows = row(cost=5) + row(pair="4,4", source="unsupported")
    for pair in ("w4a4", "w3a3"):
        assert ask(rows, build.conv("x", 16, 16), pair) == Answer(math.inf, "unsupported", None, "the device cannot run it")
    assert ask(rows, build.conv("x", 16, 16), "w16a8").source == "unsupported"
    assert ask(rows, build.conv("x", 16, 16), "w7a7", base={"[precision]": '[precision]\nunsupported = "error"'}).source == "unsupported"


def test_exceptions_by_operation(ask, build) -> None:
    rule = '\n[[precision.cannot_run]]\nop = "conv"\nkernel = [3]\nactivations = [4]\n'
    rows = row(cost=5) + row(pair="4,4", cost=3)
    assert ask(rows, build.conv("x", 16, 16), "w4a4", rule).source == "unsupported"
    assert ask(rows, build.conv("x", 16, 16), "w8a8", rule).value == 5


def test_bit_fusion_cannot_run_any_seven_by_seven_depthwise_with_narrow_inputs(build) -> None:
    latency = load_accelerator("bitfusion").cost_models()[0]
    graph = build.loose(build.conv("never-simulated", 50, 50, 20, 7, groups=50), build.conv("p", 50, 50, 20, 1))
    table = latency.tabulate(graph, grid([4, 8], [3, 4, 5]))
    assert np.isinf(table.cells[0]).tolist() == [True, True, False] * 2
    assert np.isfinite(table.cells[1]).all()


def test_overheads_calibration_and_layers_without_a_choice(write, build) -> None:
    extra = (
        ROOFLINE
        + "[overheads]\nlayer_s = 0.1\nnetwork_s = 0.7\n[calibration]\noffset_s = 2.0\nscale = 3.0\nnote = 'two networks'\nerror = 0.02"
    )
    graph = build.loose(build.linear("a", 10, 10), build.attention("qk", 4, 5))
    table = load_accelerator(write(extra)).cost_models()[0].tabulate(graph, grid([8], [8]))
    assert table.cells[0, 0] == pytest.approx(3 * (100e-6 + 0.1))
    assert table.fixed[0] == pytest.approx(2 + 3 * (0.7 + 160e-6 + 0.1))
    assert "layers that no widths are chosen for are fixed at w8a8 (analytic): qk." in table.notes
    assert "calibration: two networks (leave-one-out error 2.00%)" in table.notes


def test_the_notes_say_where_the_numbers_come_from(write, build) -> None:
    path = write(ROOFLINE, HEAD + row(cost=1).replace("conv,1", "conv,8"), top='missing = "analytic"')
    graph = build.loose(build.conv("c", 16, 16), build.linear("fc", 3, 3))
    notes = load_accelerator(path).cost_models()[0].tabulate(graph, grid([3, 8], [8])).notes
    assert "cells by source: analytic 100%." in notes
    assert "the tables were measured at batch 8; the model was traced at 1." in notes
    assert "estimated with an unknown error, the least certain numbers here: c, fc." in notes
    assert any("1 of 2 pairs are not native" in note for note in notes)
    assert any("states no SHA-256 for dev.csv" in note for note in notes)


def test_what_is_stored_is_what_runs(write, build) -> None:
    graph = build.loose(build.linear("a", 10, 8))
    equal = '\npairs = "equal"'
    storage = ROOFLINE + "[storage]\nscale_bits = 0\n"
    table = load_accelerator(write(equal + storage)).cost_models()[-1].tabulate(graph, grid([4, 16], [4, 8]))
    assert table.cells[0].tolist() == [40, 80, math.inf, math.inf]
    chosen = load_accelerator(write(equal + storage + 'widths = "chosen"')).cost_models()[-1].tabulate(graph, grid([4, 16], [4, 8]))
    assert chosen.cells[0].tolist() == [40, 40, math.inf, math.inf]


def test_a_fixed_layer_that_cannot_run_is_an_error(write, build) -> None:
    path = write(ROOFLINE + '[[precision.cannot_run]]\nop = "attention"\n')
    with pytest.raises(MissingCost, match="dev cannot run qk at w8a8, its width for layers that none is chosen for"):
        load_accelerator(path).cost_models()[0].tabulate(build.loose(build.linear("a", 2, 2), build.attention("qk", 2, 2)), grid([8], [8]))


def test_explain_knows_its_layers(build) -> None:
    with pytest.raises(UnknownName, match="unknown layer 'b'"):
        load_accelerator("npu").cost_models()[0].explain(build.loose(build.linear("a", 2, 2)), "b", LayerFormat.of(8, 8))
