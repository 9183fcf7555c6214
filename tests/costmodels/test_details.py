"""What bounds a layer agrees with the time that is charged for it."""

from __future__ import annotations

import pytest

from hwdse.costmodels import load_accelerator
from hwdse.costmodels.details import details
from hwdse.errors import UsageError
from hwdse.formats import LayerFormat

W4A4 = LayerFormat.of(4, 4)


def test_times_are_those_of_the_table(build) -> None:
    graph = build.loose(build.conv("c", 64, 64, 28), build.linear("l", 512, 512))
    npu = load_accelerator("npu")
    rows = details(npu, graph.layers, W4A4)
    table = npu.latency.tabulate(graph, [W4A4])
    assert [d.time.value + npu.keys.overheads.layer_s for d in rows] == pytest.approx(table.cells[:, 0].tolist())
    for d in rows:
        assert d.memory is not None
        assert d.compute is not None
        assert d.time.value == pytest.approx(max(d.compute, d.memory["dram"]))
        assert d.bound == ("compute" if d.compute > d.memory["dram"] else "dram")
    assert rows[1].bound == "dram"
    conv = rows[0]
    assert conv.utilisation == pytest.approx(graph.layers[0].macs / 4.096e12 / conv.time.value)


def test_a_layer_of_a_table_has_the_time_of_the_table_and_the_traffic_of_the_model(build) -> None:
    t4 = load_accelerator("t4")
    layer = build.conv("c", 64, 64, 56, batch=8)
    (row,) = details(t4, [layer], W4A4)
    assert row.time.source == "signature"
    assert row.bits is not None
    assert row.bits["gddr6"] > 0
    assert row.utilisation is not None
    assert 0 < row.utilisation < 1


def test_layers_without_a_choice_run_at_the_other_widths(build) -> None:
    (row,) = details(load_accelerator("npu"), [build.attention("a", 16, 32)], W4A4)
    assert row.runs == LayerFormat.of(8, 8)


def test_a_device_without_time_has_no_details(write) -> None:
    path = write('[energy]\nmodel = "horowitz_45nm"\n[[memory]]\nname = "m"\npj_per_bit = 1.0\n', table=ENERGY)
    with pytest.raises(UsageError, match="says nothing of time"):
        details(load_accelerator(path), [], W4A4)


ENERGY = "op,batch,in_channels,out_channels,w_bits,a_bits,energy_j\nlinear,1,3,5,8,8,1e-6\n"
