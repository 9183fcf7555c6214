"""What codebook indices cost: the format says what is stored and what multiplies, so no cost model's name does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from hwdse.costmodels import ActivationMemory, AverageBits, BitOps, WeightMemory, accelerator_names, load_accelerator
from hwdse.costs import CostTable
from hwdse.formats import LayerFormat
from hwdse.graph import LayerGraph
from hwdse.metrics import Metric
from hwdse.testing import small_graph

CODED, INDICES, CODES = LayerFormat.parse("cb2:int8"), LayerFormat.of(2, 8), LayerFormat.of(8, 8)


class Cycles:
    """A plug-in: each layer takes the product of what its multiplier sees."""

    metric = Metric("cycles", "")

    def tabulate(self, graph: LayerGraph, options: Sequence[LayerFormat]) -> CostTable:
        names = [layer.name for layer in graph.quantisable]
        products = [float(o.weight.operand.bits * o.activation.operand.bits) for o in options]
        return CostTable.one_row(self.metric, names, options, np.tile(products, (len(names), 1)))


def test_a_plug_in_charges_the_codes_whatever_it_is_called() -> None:
    assert (Cycles().tabulate(small_graph(), [CODED]).cells == 8 * 8).all()


def test_memory_holds_indices_and_the_table_of_codes() -> None:
    table = WeightMemory().tabulate(small_graph(), [CODED, INDICES])
    stored = table.cells[:, 1] > 0
    assert (table.cells[stored, 0] == table.cells[stored, 1] + 3).all()  # three codes of a byte each
    assert (table.cells[~stored, 0] == 0).all()  # a shared weight is stored once


def test_arithmetic_is_that_of_the_codes_and_averages_that_of_the_indices() -> None:
    graph = small_graph()
    np.testing.assert_array_equal(BitOps().tabulate(graph, [CODED]).cells, BitOps().tabulate(graph, [CODES]).cells)
    for model in (ActivationMemory(), AverageBits()):
        np.testing.assert_array_equal(model.tabulate(graph, [CODED]).cells, model.tabulate(graph, [INDICES]).cells)


@pytest.mark.parametrize("name", accelerator_names())
def test_devices_look_codes_up_or_cannot_run_them(name: str) -> None:
    accelerator, graph = load_accelerator(name), small_graph()
    for model in accelerator.cost_models():
        coded = model.tabulate(graph, [CODED, CODES])
        if not accelerator.codebooks:
            assert np.isinf(coded.cells[:, 0]).all()
        elif model.metric.name != "weights":
            np.testing.assert_array_equal(coded.cells[:, 0], coded.cells[:, 1])
