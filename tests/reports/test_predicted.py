"""The predicted front against every allocation there is."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from hwdse.choices import Choices
from hwdse.costs import CostTable
from hwdse.formats import grid
from hwdse.metrics import BITOPS, LOSS
from hwdse.reports.predicted import predicted_front

OPTIONS = grid((2, 4, 8), (4,))


def _tables(seed: int) -> tuple[CostTable, CostTable]:
    rng = np.random.default_rng(seed)
    cost = np.sort(rng.uniform(1, 10, (4, 3)), axis=1)
    loss = -np.sort(-rng.uniform(0, 1, (4, 3)), axis=1)
    loss[0, :2] = np.inf  # a pinned layer
    cost[1, 0] = np.inf  # widths that the device cannot run
    names = ("a", "b", "c", "d")
    return CostTable.one_row(BITOPS, names, OPTIONS, cost, 2.0), CostTable.one_row(LOSS, names, OPTIONS, loss, 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_corners_are_allocations_and_none_lies_below(seed):
    cost, loss = _tables(seed)
    every = np.array(list(product(range(3), repeat=4)))
    prices, losses = cost.totals(every), loss.totals(every)
    usable = np.isfinite(prices) & np.isfinite(losses)
    front = predicted_front(cost, loss)
    assert front[0, 0] == pytest.approx(prices[usable].min())
    assert front[-1, 1] == pytest.approx(losses[usable].min())
    for corner in front:
        assert np.abs(np.column_stack([prices, losses])[usable] - corner).sum(axis=1).min() < 1e-12
    bound = np.interp(prices[usable], front[:, 0], front[:, 1])
    assert (losses[usable] >= bound - 1e-12).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("part", ["weight", "activation"])
def test_layers_that_share_a_width(seed, part):
    options = grid((2, 4), (4, 8))
    rng = np.random.default_rng(seed)
    names = ("a", "b", "c", "d")
    cost = CostTable.one_row(BITOPS, names, options, rng.uniform(1, 10, (4, 4)))
    loss = CostTable.one_row(LOSS, names, options, rng.uniform(0, 1, (4, 4)))
    allowed = np.ones((4, 4), bool)
    allowed[3, 0] = False
    choices = Choices(names, options, allowed, **{f"{part}_ties": (("b", "d"),)})
    every = np.array([i for i in product(range(4), repeat=4) if choices.allowed[np.arange(4), i].all()
                      and getattr(options[i[1]], part) == getattr(options[i[3]], part)])  # fmt: skip
    prices, losses = cost.totals(every), loss.totals(every)
    front = predicted_front(cost, loss, choices)
    for corner in front:
        assert np.abs(np.column_stack([prices, losses]) - corner).sum(axis=1).min() < 1e-12
    assert (losses >= np.interp(prices, front[:, 0], front[:, 1]) - 1e-12).all()
    free = predicted_front(cost, loss)
    assert (front[:, 1] >= np.interp(front[:, 0], free[:, 0], free[:, 1]) - 1e-12).all()


def test_layers_may_stand_in_another_order():
    cost, loss = _tables(0)
    turned = CostTable.one_row(BITOPS, cost.layers[::-1], OPTIONS, cost.cells[::-1], 2.0)
    assert predicted_front(turned, loss) == pytest.approx(predicted_front(cost, loss))


def test_nothing_is_promised_where_costs_do_not_add_up(record):
    assert not len(predicted_front(record.tables["activations"], record.tables["loss"]))  # the largest of several sums
    cost, loss = _tables(0)
    assert not len(predicted_front(replace(cost, layers=("a", "b", "c", "z")), loss))
