"""Corners of the cost models: layers that look alike and are not, devices of few widths, calibrated and codebook costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwdse.costmodels import load_accelerator
from hwdse.costmodels.signature import signature_of
from hwdse.costmodels.starting_file import new_accelerator
from hwdse.errors import UsageError
from hwdse.formats import LayerFormat
from hwdse.graph import Layer
from hwdse.margins import standing

W8A8 = LayerFormat.of(8, 8)


def attention(name: str, keys: int) -> Layer:
    return Layer(name, "attention", 2 * 16 * keys * 32, (1, 1, 16, 32), (1, 1, 16, 32), other_shape=(1, 1, keys, 32))


def test_attentions_over_few_and_many_keys_cost_what_each_costs_alone(build) -> None:
    short, long = attention("short", 16), attention("long", 512)
    assert signature_of(short) != signature_of(long)
    resolver = load_accelerator("npu").latency.resolver
    together = [row[0].value for row in resolver.resolve([short, long], [W8A8])]
    alone = [resolver.resolve([layer], [W8A8])[0][0].value for layer in (short, long)]
    assert together == alone
    assert alone[1] > 10 * alone[0]


POWER = """
[overheads]
network_s = 1e-3
[calibration]
scale = 1.5
[energy]
model = "power"
watts = 2.0
[compute]
model = "roofline"
memory = "dram"
macs_per_s = {w8a8 = 1e15}
[[memory]]
name = "dram"
bytes_per_s = 1e15
"""


def test_energy_by_power_is_power_times_the_latency_that_is_charged(build, write) -> None:
    graph = build.loose(build.linear("a", 4, 4), build.linear("b", 8, 4))
    rows = "op,batch,in_channels,out_channels,w_bits,a_bits,latency_ms\nlinear,1,4,4,8,8,1\nlinear,1,8,4,8,8,1\n"
    models = {m.metric.name: m.tabulate(graph, [W8A8]) for m in load_accelerator(write(POWER, table=rows)).cost_models()}
    at = {"a": W8A8, "b": W8A8}
    assert models["latency"].total(at) == pytest.approx(4.5e-3)
    assert models["energy"].total(at) == pytest.approx(9e-3)


def test_an_estimate_of_a_layer_without_a_choice_leaves_the_error_unknown(build, write) -> None:
    rows = "op,batch,in_channels,out_channels,w_bits,a_bits,latency_ms\nlinear,1,4,4,8,8,1\n"
    extra = POWER.replace("scale = 1.5", "scale = 1.0")
    accelerator = load_accelerator(write(extra, table=rows, top='missing = "analytic"'))
    table = accelerator.latency.tabulate(build.loose(build.linear("a", 4, 4), attention("x", 64)), [W8A8])
    assert standing(1e-9, table.error(np.array([0]))) == "error unknown"
    alone = accelerator.latency.tabulate(build.loose(build.linear("a", 4, 4)), [W8A8])
    assert alone.error(np.array([0])) == 0


def test_the_interval_has_neither_the_offset_nor_the_error_of_a_calibration_and_codebooks_cost_their_codes(build, tmp_path: Path) -> None:
    path = new_accelerator("mine", "dataflow", tmp_path)[0]
    path.write_text(
        path.read_text().replace("[precision]", "[calibration]\noffset_s = 1e-3\nerror = 0.1\nnote = 'x'\n[precision]\ncodebooks = true", 1)
    )
    graph = build.loose(build.conv("c", 16, 16, 8), build.linear("l", 64, 64))
    models = {m.metric.name: m for m in load_accelerator(path).cost_models()}
    w2 = LayerFormat.of(2, 2)
    interval = models["interval"].tabulate(graph, [w2, W8A8])
    assert interval.total({"c": W8A8, "l": W8A8}) == pytest.approx(64 * 9 / 200e6)
    assert interval.whole_error is None
    assert models["latency"].tabulate(graph, [W8A8]).whole_error == 0.1
    coded = models["interval"].tabulate(graph, [LayerFormat.parse("cb2:int2")])
    wide = models["interval"].tabulate(graph, [LayerFormat.of(8, 2)])
    assert coded.cells.tolist() == wide.cells.tolist()


def test_a_depthwise_layer_uses_all_outputs_at_a_time(build) -> None:
    accelerator = load_accelerator("dataflow")
    layer = build.conv("d", 64, 64, 16, groups=64)
    table = accelerator.latency.tabulate(build.loose(layer), [W8A8])
    assert table.cells[0, 0] * 200e6 == pytest.approx(64 / 16 * 256)


def test_a_bit_serial_device_runs_every_width_between_its_ends(write) -> None:
    base = (
        'schema = "hwdse.accelerator/1"\nname = "dev"\n[provenance]\nkind = "measured"\nsource = "here"\n[precision]\n'
        'semantics = "bit_serial"\nweights = [1, 8]\nactivations = [1, 8]\nunsupported = "error"\n'
        '[clock]\nhz = 1e9\n[compute]\nmodel = "bit_serial"\nrows = 1\ncolumns = 1\ndepth = 1\nmemory = "m"\n'
        '[[memory]]\nname = "m"\nbytes_per_s = 1e9\n'
    )
    precision = load_accelerator(write(base=base)).precision
    assert precision.executed(LayerFormat.of(4, 3)) == LayerFormat.of(4, 3)
    assert precision.executed(LayerFormat.of(9, 3)) is None


def test_new_refuses_shipped_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="comes with the package"):
        new_accelerator("npu", "mpic", tmp_path)
