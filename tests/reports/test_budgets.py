"""Budgets: limits read and read back, the best inside, what a wider one buys."""

from dataclasses import replace

import pytest
from hwdse.reports.budgets import budget_results
from hwdse.reports.limits import Limit, budget_limits

from hwdse.metrics import WEIGHTS


def test_hand_computed(tiny):
    three, two, relative, one = budget_results(tiny)
    assert (three.best.number, three.inside, three.tried, three.uniform.number) == (2, 3, 1, 1)
    assert three.slack == pytest.approx((0.0,), abs=1e-15)
    assert (two.best.number, two.inside, two.slack) == (1, 1, pytest.approx((0.0,), abs=1e-15))
    assert relative.limits == (Limit(WEIGHTS, 300.0),)
    assert (relative.best.number, relative.inside, relative.slack, relative.tightest) == (2, 3, (50.0,), 0)
    assert (one.best, one.inside, one.tried) == (None, 0, 3)


def test_gain_is_against_the_tighter_budget_on_the_same_metric(tiny):
    three, two, relative, _ = budget_results(tiny)
    assert three.gained == pytest.approx(0.13)
    assert (three.over, three.rival.number) == (("latency@x <= 2 ms",), 1)
    assert two.gained is None
    assert relative.gained is None


def test_a_relative_limit_that_no_trial_resolved_stays_unknown(tiny):
    alone = replace(tiny, trials=tuple(t for t in tiny.trials if t.number != 2))
    assert budget_limits(alone, ("weights <= 75% of w8a8",)) is None
    assert budget_results(alone)[2].limits is None


def test_tightest_is_by_share_of_the_limit(tiny):
    both = replace(tiny, budgets=(("weights <= 260 B", "latency@x <= 4 ms"),))
    result = budget_results(both)[0]
    assert result.best.number == 2
    assert result.slack == pytest.approx((10.0, 1e-3))
    assert result.tightest == 0


def test_no_limit_takes_the_best_of_all(tiny):
    result = budget_results(replace(tiny, budgets=((),)))[0]
    assert (result.best.number, result.tightest, result.name) == (0, None, "no limit")
