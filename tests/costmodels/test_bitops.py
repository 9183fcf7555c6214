from __future__ import annotations

import pytest

from hwdse.costmodels import BitOps, BitOpsConvention, EndRule, cost_model
from hwdse.errors import UnknownName, UsageError
from hwdse.formats import LayerFormat, grid

OPTIONS = grid([2, 4], [2, 8])


def test_a_cell_is_macs_times_both_widths(build) -> None:
    graph = build.loose(build.conv("a", 3, 5), build.linear("b", 7, 11))
    table = BitOps().tabulate(graph, OPTIONS)
    for i, layer in enumerate(graph.layers):
        for j, option in enumerate(OPTIONS):
            assert table.cells[i, j] == layer.macs * option.weight.bits * option.activation.bits
    assert table.fixed[0] == 0


def test_layers_without_a_choice_are_fixed_at_the_stated_width(build) -> None:
    attention = build.attention("qk", 5, 8)
    graph = build.loose(build.linear("a", 4, 4), attention)
    table = BitOps(BitOpsConvention(dynamic_matmul=LayerFormat.of(16, 4))).tabulate(graph, OPTIONS)
    assert table.fixed[0] == attention.macs * 64
    assert "at w16a4" in table.convention
    assert "3.8" in table.notes[0] or "%" in table.notes[0]


def test_ends_of_a_convention(build) -> None:
    graph = build.loose(*(build.linear(n, 4, 4) for n in "abc"))
    rule = BitOpsConvention("mine", EndRule(8, "float"), EndRule("float", "chosen"), fp_bits=16)
    table = BitOps(rule).tabulate(graph, [LayerFormat.of(2, 4)])
    assert table.cells[:, 0].tolist() == [16 * 8 * 16, 16 * 2 * 4, 16 * 16 * 4]
    assert "first layer weights 8, input float, last layer weights float, input chosen" in table.convention


def test_unknown_convention_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown BitOPs convention 'hawk'; did you mean 'hawq'\\? Known: adaqat"):
        BitOps("hawk")


def test_cost_model_by_name() -> None:
    assert cost_model("bitops", convention="hawq").metric.name == "bitops"
    with pytest.raises(UnknownName, match="unknown cost model 'bitop'; did you mean 'bitops'"):
        cost_model("bitop")
    with pytest.raises(UsageError, match=r"cost model 'bitops': .*'rule'; it takes: convention"):
        cost_model("bitops", rule="hawq")
