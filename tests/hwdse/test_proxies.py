"""A proxy is what orders allocations as the device does; its faults are counted exactly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hwdse.choices import Choices
from hwdse.costs import CostTable
from hwdse.errors import UsageError
from hwdse.formats import LayerFormat, grid
from hwdse.metrics import BITOPS, LATENCY
from hwdse.proxies import audit_proxies, spread_allocations

OPTIONS = tuple(grid([2, 4, 8], [4, 8]))
LAYERS = ("a", "b", "c", "d")


def choices(**more: object) -> Choices:
    return Choices(LAYERS, OPTIONS, np.ones((4, len(OPTIONS)), bool), **more)  # type: ignore[arg-type]


def table(metric, of) -> CostTable:
    return CostTable.one_row(metric, LAYERS, OPTIONS, np.array([[of(o) for o in OPTIONS]] * 4))


def found(of, **more):
    tables = {"bitops": table(BITOPS, lambda o: float(o.weight.bits * o.activation.bits)), "latency": table(LATENCY, of)}
    (one,), left_out = audit_proxies(choices(), tables, ["bitops"], ["latency"], **more)
    return one, left_out


def test_a_device_that_takes_bitops_has_bitops_as_its_proxy() -> None:
    one, left_out = found(lambda o: 2.0 * o.weight.bits * o.activation.bits)
    assert one.stands_in
    assert (one.found.spearman, one.wrong, left_out) == (pytest.approx(1), pytest.approx(0, abs=0.06), 0)  # equal pairs count half
    assert one.apart <= 1.02
    assert one.sentence.startswith("bitops may stand in for latency here")


def test_a_device_that_is_bound_by_activations_has_not() -> None:
    one, _ = found(lambda o: float(o.activation.bits))
    assert not one.stands_in
    assert one.sentence.startswith("bitops must not stand in for latency here")


def test_pairs_and_ratios_are_those_of_all_pairs() -> None:
    one, _ = found(lambda o: 1.0 + (o.weight.bits * 7 + o.activation.bits * 5) % 11, count=40)
    pairs = list(itertools.combinations(range(len(one.values)), 2))
    score = sum((1 - np.sign(one.values[i] - one.values[j]) * np.sign(one.costs[i] - one.costs[j])) / 2 for i, j in pairs)
    assert one.wrong == pytest.approx(score / len(pairs))
    close = [
        (i, j) for i, j in itertools.product(range(len(one.values)), repeat=2) if one.values[i] <= one.values[j] <= 1.02 * one.values[i]
    ]
    assert one.apart >= max(one.costs[j] / one.costs[i] for i, j in close) - 1e-12


def test_what_a_device_cannot_run_is_left_out_and_counted() -> None:
    one, left_out = found(lambda o: np.inf if o == LayerFormat.of(2, 4) else 1.0 + o.weight.bits)
    assert left_out > 0
    assert np.isfinite(one.costs).all()
    with pytest.raises(UsageError, match="sampled allocations run on every device"):
        found(lambda o: 1.0 if o == LayerFormat.of(8, 8) else np.inf)


def test_one_cost_whatever_the_widths_is_said() -> None:
    one, _ = found(lambda o: 2e-3)
    assert one.sentence == "latency is 8 ms whatever the widths: there is nothing to stand in for here."


def test_allocations_cover_the_range_and_hold_ties() -> None:
    tied = choices(activation_ties=(("a", "b"),)).pin({"d": LayerFormat.of(8, 8)})
    drawn = spread_allocations(tied, 200, 0)
    assert tied.permits(drawn).all()
    bits = np.array([o.weight.bits for o in OPTIONS])[drawn[:, :3]].mean(axis=1)
    assert bits.min() < 3 < 7 < bits.max()
    assert np.array_equal(drawn, spread_allocations(tied, 200, 0))
