"""What codebook indices cost, by what a cost is about and never by what it is called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from hwdse.bits import BitWidths
from hwdse.codebook_costs import charge_of, tabulate_codebook
from hwdse.costmodels import ActivationMemory, AverageBits, BitOps, WeightMemory, accelerator_names, load_accelerator
from hwdse.costmodels.largest_bits import LargestBits
from hwdse.costs import CostTable
from hwdse.errors import UsageError
from hwdse.graph import LayerGraph
from hwdse.metrics import ACTIVATIONS, WEIGHTS, Metric
from hwdse.testing import small_graph

W2 = BitWidths(2, 8)


class Proportional:
    """Each layer costs the product of its widths."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric

    def tabulate(self, graph: LayerGraph, options: Sequence[BitWidths]) -> CostTable:
        names = [layer.name for layer in graph.quantisable]
        return CostTable.one_row(self.metric, names, options, np.tile([float(o.weight * o.activation) for o in options], (len(names), 1)))


class Said(Proportional):
    def __init__(self, metric: Metric, codebooks: str) -> None:
        super().__init__(metric)
        self.codebooks = codebooks


@pytest.mark.parametrize("metric", [Metric("npu_time", "s"), Metric("dsp_energy", "J", on="x"), Metric("multiplications", "bitop")])
def test_arithmetic_under_any_name_costs_the_codes(metric: Metric) -> None:
    assert (tabulate_codebook(Proportional(metric), small_graph(), [W2]).cells == 8 * 8).all()


@pytest.mark.parametrize("metric", [Metric("cycles", ""), Metric("traffic", "B"), Metric("wires", "bit"), Metric("latency", "")])
def test_what_is_not_known_is_refused_and_what_to_do_is_said(metric: Metric) -> None:
    with pytest.raises(UsageError, match=rf"the cost model of {metric.name} \(Proportional\) does not say what .* attribute codebooks"):
        tabulate_codebook(Proportional(metric), small_graph(), [W2])


def test_what_the_model_says_counts() -> None:
    metric = Metric("cycles", "")
    assert (tabulate_codebook(Said(metric, "codes"), small_graph(), [W2]).cells == 64).all()
    assert (tabulate_codebook(Said(metric, "indices"), small_graph(), [W2]).cells == 16).all()
    flash = tabulate_codebook(Said(Metric("flash", "B"), "memory"), small_graph(), [W2])
    assert (flash.cells == 16 + 3).all()  # three codes of a byte each
    with pytest.raises(UsageError, match="has codebooks = 'cods', which does not say"):
        charge_of(Said(metric, "cods"))


def test_every_shipped_model_says_it() -> None:
    models = [BitOps(), WeightMemory(), ActivationMemory(), AverageBits(), LargestBits()]
    models += [model for name in accelerator_names() for model in load_accelerator(name).cost_models()]
    charges = {model.metric.name: charge_of(model) for model in models}
    assert charges.pop(WEIGHTS.name) == "memory"
    assert {charges.pop(name) for name in (ACTIVATIONS.name, "average_bits", "largest_bits")} == {"indices"}
    assert set(charges.values()) == {"codes"}
