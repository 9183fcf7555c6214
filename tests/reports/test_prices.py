"""Shadow prices of the measured front, contests of allocators, and the search's progress: against closed forms and by hand."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse.metrics import Metric
from hwdse.records import SweepRecord, TrialResult
from hwdse.reports.contest import contest
from hwdse.reports.points import Point
from hwdse.reports.prices import limited, prices
from hwdse.reports.sections.contest import Allocators
from hwdse.reports.sections.prices import ShadowPrices, joined, sentence
from hwdse.reports.sections.search import Search
from hwdse.reports.wording import chance, chance_text

from .conftest import ACCURACY, LATENCY_X, make_tiny

WEIGHTS = Metric("weights", "B")


def run(points: list[tuple[float, float]], samples: int = 0, **more: object) -> SweepRecord:
    """Measured points (weights in bytes, accuracy)."""
    trials = [
        TrialResult(i, {"allocator": "adq"}, "complete", None, {"weights": cost, "accuracy": score}, samples=samples)
        for i, (cost, score) in enumerate(points)
    ]
    return replace(make_tiny(), trials=tuple(trials), costs=(WEIGHTS,), budgets=(), tables={}, **more)  # type: ignore[arg-type]


def test_prices_of_a_concave_curve_are_its_slopes() -> None:
    costs = np.linspace(100, 900, 9)
    found = prices(run([(c, math.sqrt(c) / 40) for c in costs]), WEIGHTS)
    assert found is not None
    assert len(found.steps) == 8
    for step in found.steps:
        a, b = step.low.costs["weights"], step.high.costs["weights"]
        assert step.price == pytest.approx(1 / (40 * (math.sqrt(a) + math.sqrt(b))))  # (sqrt b - sqrt a) / (b - a)
        assert 1 / (80 * math.sqrt(b)) < step.price < 1 / (80 * math.sqrt(a))  # between the derivatives at its ends
        assert step.chance is None
    assert found.best.costs["weights"] == 900
    assert found.enough is None


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=12))
def test_the_envelope_lies_above_every_point_and_its_prices_fall(points: list[tuple[int, int]]) -> None:
    found = prices(run([(float(c), s / 40) for c, s in points]), WEIGHTS)
    assert found is not None
    slopes = [s.price for s in found.steps]
    assert all(s > 0 for s in slopes)
    assert all(a > b for a, b in itertools.pairwise(slopes))
    corners = [found.steps[0].low, *(s.high for s in found.steps)] if found.steps else [found.best]
    x, y = [p.costs["weights"] for p in corners], [p.score for p in corners]
    for cost, score in points:
        if x[0] <= cost <= x[-1]:
            assert score / 40 <= np.interp(cost, x, y) + 1e-12
        assert score / 40 <= y[-1] + 1e-12
    if found.steps:
        assert sum(s.gain for s in found.steps) == pytest.approx(y[-1] - y[0])
        short = joined(found)
        assert (short[0].low, short[-1].high) == (found.steps[0].low, found.best)
        assert sum(s.gain for s in short) == pytest.approx(y[-1] - y[0])


def test_sentences_say_what_a_unit_buys_and_where_it_buys_nothing() -> None:
    found = prices(run([(900, 0.80), (2000, 0.84), (2001, 0.84), (6000, 0.86), (7000, 0.85)], samples=10_000), WEIGHTS)
    assert found is not None
    said = sentence(ACCURACY, found)
    assert "from 900 B to 1.953 KiB 1 KiB more buys 3.72 points" in said  # 4 points over 1,100 B
    assert "from 1.953 KiB to 5.859 KiB 1 KiB more buys 0.51 points" in said
    assert "beyond 5.859 KiB (#3 adq) nothing measured is better" in said
    assert "within chance" not in said
    few = prices(run([(1000, 0.80), (2000, 0.84), (6000, 0.86)], samples=100), WEIGHTS)
    assert few is not None
    assert "(within chance)" in sentence(ACCURACY, few)
    assert "From 1,000 B on (#0 adq) no gain is beyond chance." in sentence(ACCURACY, few)
    assert "the cheapest point is also the best" in sentence(ACCURACY, prices(run([(5, 0.9), (6, 0.8)]), WEIGHTS))  # type: ignore[arg-type]
    assert prices(run([(math.inf, 0.9)]), WEIGHTS) is None


def test_the_knee_is_named() -> None:
    points = [(100, 0.5), (200, 0.8), (300, 0.85), (500, 0.9)]  # 1 - x - y: 0, 0.5, 0.375, 0 of the chord
    found = prices(run(points), WEIGHTS)
    assert found is not None
    assert found.knee is not None
    assert found.knee.number == 1
    assert "The front's knee is #1 adq at 200 B." in sentence(ACCURACY, found)
    straight = prices(run([(1, 0.1), (2, 0.2), (3, 0.3)]), WEIGHTS)
    assert straight is not None
    assert straight.knee is None


def test_scores_that_are_better_when_lower() -> None:
    error = Metric("error", "", "lower")
    trials = tuple(
        TrialResult(i, {}, "complete", None, {"weights": c, "error": e}) for i, (c, e) in enumerate([(10.0, 8.0), (20.0, 4.0), (40.0, 2.0)])
    )
    found = prices(replace(run([]), score=error, trials=trials), WEIGHTS)
    assert found is not None
    assert [s.price for s in found.steps] == pytest.approx([0.4, 0.1])


def test_limited_costs_come_first(tiny: SweepRecord) -> None:
    assert [m.key for m in limited(tiny)] == ["latency@x", "weights"]
    assert limited(replace(tiny, budgets=())) == tiny.costs


def test_a_contest_by_hand(tiny: SweepRecord) -> None:
    groups = {name: [t for t in tiny.complete if t.knobs["allocator"] == name] for name in ("uniform", "qbitopt", "adaqat", "adq")}
    found = contest(groups, LATENCY_X, ACCURACY)
    assert found is not None
    # adq has w2a2, which x cannot run; uniform: (4 ms, 0.95), (2 ms, 0.80); the mixed two cost 3 ms
    assert list(found.fronts) == ["uniform", "qbitopt", "adaqat"]
    assert found.reference == (pytest.approx(4e-3), 0.80)
    box = 2e-3 * 0.15
    assert found.volumes["uniform"] == pytest.approx(0.0)  # its points lie on the edges of the box
    assert found.volumes["qbitopt"] == pytest.approx(1e-3 * 0.13 / box)
    assert found.volumes["adaqat"] == pytest.approx(1e-3 * 0.10 / box)
    assert found.wins("qbitopt", "uniform") == pytest.approx((0.5, 0.0, 0.5))  # at 3 ms better; at 4 ms 0.93 against 0.95
    assert found.wins("uniform", "qbitopt") == pytest.approx((0.5, 0.0, 0.5))
    assert found.wins("qbitopt", "adaqat") == (1.0, 0.0, 0.0)
    assert contest({"none": []}, LATENCY_X, ACCURACY) is None


def test_allocators_in_the_report(tiny: SweepRecord) -> None:
    facts = Allocators().facts(tiny)
    assert facts.trials == {"adaqat": (1, 1), "adq": (1, 1), "qbitopt": (1, 1), "uniform": (2, 2)}
    text = str(Allocators().draw(facts).parts[0])
    assert "latency@x: qbitopt has the largest hypervolume (0.433)" in text
    nothing = Allocators().draw(Allocators().facts(tiny.with_trials(())))
    assert "nothing to compare" in str(nothing.parts[0])


def test_the_search_in_the_report(tiny: SweepRecord) -> None:
    trials = [
        replace(t, knobs={**t.knobs, "origin": "search" if t.number > 2 else "baseline"}, seconds=float(t.number)) for t in tiny.trials
    ]
    trials[3] = replace(trials[3], knobs={**trials[3].knobs, "same_as": 2})
    facts = Search().facts(replace(tiny, trials=tuple(trials)))
    assert facts.counts == tuple(range(1, 9))
    assert [m.key for m, _ in facts.curves] == ["latency@x", "weights"]
    for _, values in facts.curves:
        assert list(values) == sorted(values)
        assert values[-1] == 1.0
    baseline, search = facts.kinds
    assert (baseline.origin, baseline.trials, baseline.failed, baseline.on_front, baseline.seconds) == ("baseline", 3, 0, 3, 1.0)
    assert (search.trials, search.failed, search.known, search.seconds) == (5, 2, 1, 5.0)
    assert "no trials yet" in str(Search().draw(Search().facts(tiny.with_trials(()))).parts[0])


def test_prices_in_the_report(tiny: SweepRecord) -> None:
    drawn = ShadowPrices().draw(ShadowPrices().facts(tiny))
    assert [d.name for d in drawn.drawings] == ["price-latency@x", "price-weights"]
    assert "nothing has a price" in str(ShadowPrices().draw(ShadowPrices().facts(tiny.with_trials(()))).parts[0])


def test_the_same_samples_tell_more_than_two_intervals() -> None:
    """Eight more right and none lost is no accident, though the intervals overlap; eight more and seven lost is one."""
    base = np.r_[np.ones(80), np.zeros(20)]
    better = np.r_[np.ones(88), np.zeros(12)]
    mixed = np.r_[np.zeros(7), np.ones(81), np.zeros(12)]
    points = [(100.0, 0.80), (200.0, 0.81), (400.0, 0.88)]
    record = replace(run(points, samples=100), scores={"0": base, "1": mixed, "2": better, "fp32": better})
    one, two, three = (Point.of(record, t) for t in record.trials)
    assert (chance(one, three), chance(one, two)) == (False, True)
    assert chance_text(one, three) == " (beyond chance on the split that chose it, p = 0.008)"  # 2 x 2^-8
    assert chance_text(one, two) == " (within chance, p = 1.00)"
    found = prices(record, WEIGHTS)
    assert found is not None
    assert [s.chance for s in found.steps] == [False]
    assert found.enough == found.best
    plain = replace(record, scores={})
    assert chance(*(Point.of(plain, t) for t in (plain.trials[0], plain.trials[2]))) is True
    assert chance_text(*(Point.of(plain, t) for t in (plain.trials[0], plain.trials[2]))) == " (within chance by intervals)"
