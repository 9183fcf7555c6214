"""Budgets: limits read and read back, the best inside, what a wider one buys."""

from dataclasses import replace

import pytest

from hwdse.metrics import WEIGHTS
from hwdse.reports.budgets import budget_results
from hwdse.reports.limits import Limit, budget_limits, budget_of


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


def test_limits_resolved_in_the_record_come_first(tiny):
    resolved = replace(tiny, limits={"weights <= 75% of w8a8": 260.0, "latency@x <= 3 ms": 3e-3})
    assert budget_limits(resolved, ("weights <= 75% of w8a8", "latency@x <= 4 ms")) == (
        Limit(WEIGHTS, 260.0),
        Limit(tiny.costs[1], 4e-3),
    )


def test_a_tightened_trial_counts_for_its_budget_but_does_not_say_its_limit(tiny):
    knobs = {**tiny.trials[2].knobs, "budget": ["weights <= 75% of w8a8 x 0.9"]}
    tight = tiny.with_trials((tiny.trials[0], replace(tiny.trials[2], knobs=knobs)))
    assert budget_of(tight.trials[1]) == ("weights <= 75% of w8a8",)
    result = budget_results(tight)[2]
    assert (result.tried, result.limits) == (1, None)


@pytest.mark.parametrize("text", ["nonsense", "energy <= 3 mJ", "weights <= 3 parsecs"])
def test_a_budget_that_cannot_be_read_is_unresolved_not_an_error(tiny, text):
    assert budget_results(replace(tiny, budgets=((text,),)))[0].limits is None
