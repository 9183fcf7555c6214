"""Facts of every section against values computed by hand, without a figure."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from hwdse.formats import Allocation, LayerFormat
from hwdse.metrics import Metric
from hwdse.reports.intervals import wilson
from hwdse.reports.sections.breakdown import Breakdown, cost_part
from hwdse.reports.sections.budgets import Budgets
from hwdse.reports.sections.explorer import Explorer
from hwdse.reports.sections.failures import Failures
from hwdse.reports.sections.fronts import Fronts
from hwdse.reports.sections.provenance import Provenance
from hwdse.reports.sections.proxy import Proxy, spearman
from hwdse.reports.sections.sensitivity import Sensitivity
from hwdse.reports.sections.summary import Summary
from hwdse.reports.sections.widths import MOST, Widths


def test_summary(tiny):
    facts = Summary().facts(tiny)
    assert (facts.trials, facts.measured, facts.failed, facts.interrupted) == (8, 5, 2, 1)
    assert facts.unsupported == {"x": 1}
    assert (facts.best.number, facts.best.score) == (0, 0.95)
    assert facts.best.interval == wilson(0.95, 100)
    assert (facts.fp32.score, facts.fp32.interval, facts.fp32.test) == (0.96, wilson(0.96, 100), 0.955)


def test_summary_in_sentences(tiny):
    text = " ".join(p for p in Summary().draw(Summary().facts(tiny)).parts)
    assert "The sweep ran 8 trials: 5 measured, 2 failed, 1 interrupted. 1 measured point cannot run on x." in text
    assert "best measured point of all is #0 uniform w8a8 with 95.00 %" in text
    assert "1.00 percentage points worse than FP32 (within chance by intervals)" in text
    assert "is #2 qbitopt with 93.00 %" in text
    assert "92.00 % on test, using 3 ms of 3 ms latency@x; 3.00 percentage points worse than FP32 (within chance by intervals)." in text
    gap = "13.00 percentage points better than the best uniform allocation inside, w4a4 (#1)"
    assert f"{gap} (beyond chance by intervals on the split that chose it)" in text
    assert (
        "The wider limit buys 13.00 percentage points over latency@x &lt;= 2 ms (beyond chance by intervals on the split that chose it)."
        in text
    )
    assert "latency@x &lt;= 1 ms</strong>: no measured point is inside (3 trials ran under it)." in text


def test_fronts(tiny):
    facts = Fronts().facts(tiny)
    weights, latency = facts.panels
    assert [p.number for p in weights.front] == [5, 2, 0]
    assert [p.number for p in weights.dominated] == [1, 3]
    assert weights.limits == (300.0,)
    assert [p.number for p in latency.front] == [1, 2, 0]
    assert [p.number for p in latency.dominated] == [3]
    assert latency.unsupported == 1
    assert latency.limits == pytest.approx((1e-3, 2e-3, 3e-3))
    assert facts.allocators == ("adaqat", "adq", "qbitopt", "uniform")


def test_one_broken_trial_does_not_press_the_others_into_a_line(tiny):
    scores = [0.97, 0.96, 0.965, 0.95, 0.955, 0.95, 0.96, 0.95, 0.96, 0.95, 0.95, 0.10]
    trials = tuple(replace(tiny.trials[0], number=i, measures={**tiny.trials[0].measures, "accuracy": s}) for i, s in enumerate(scores))
    panel = Fronts().facts(tiny.with_trials(trials)).panels[0]
    assert panel.low == pytest.approx(0.97 - 2 * 0.02)  # twice as far as the worst quarter begins
    assert panel.below == 1
    assert Fronts().facts(tiny).panels[0].low is None


def test_budgets_are_the_shared_results(tiny):
    facts = Budgets().facts(tiny)
    assert [b.best.number if b.best else None for b in facts.budgets] == [2, 1, 2, None]


def test_widths_of_the_first_limited_front(tiny):
    facts = Widths().facts(tiny)
    assert facts.cost.key == "latency@x"
    assert (facts.layers, [p.number for p in facts.points]) == (("a", "b"), [1, 2, 0])
    assert [[one and one.bits for one in row] for row in facts.weights] == [[4, 8, 8], [4, 4, 8]]
    assert [[one and one.bits for one in row] for row in facts.activations] == [[4, 8, 8], [4, 4, 8]]
    assert (facts.left_out, facts.settled) == (0, ())


def test_widths_thin_a_long_front_and_keep_the_budgets_best(tiny):
    start = tiny.trials[0]
    trials = tuple(
        replace(start, number=i, measures={"weights": 100.0 + i, "latency@x": 1e-3 * (1 + i), "accuracy": 0.5 + 0.004 * i})
        for i in range(100)
    )
    long = replace(tiny, trials=trials, budgets=(("latency@x <= 37.5 ms",), ("latency@x <= 38.5 ms",)))
    facts = Widths().facts(long)
    numbers = [p.number for p in facts.points]
    assert len(numbers) <= MOST + 2
    assert {0, 36, 37, 99} <= set(numbers)
    assert facts.left_out == 100 - len(numbers)
    assert facts.settled == (("a", "w8a8"), ("b", "w8a8"))


def test_sensitivity(tiny):
    facts = Sensitivity().facts(tiny)
    a, b = facts.layers
    assert [(f.bits, v) for f, v in a.weights] == [(f.bits, v) for f, v in a.activations] == [(2, 0.4), (4, 0.2), (8, 0.1)]
    assert (a.worst, b.worst) == (0.4, 0.1)
    assert facts.holding == ("a",)
    assert facts.convention == "rule of loss"
    assert Sensitivity().facts(replace(tiny, tables={})).layers == ()


def test_breakdown_by_layer_and_source(tiny):
    model, x = Breakdown().facts(tiny).parts
    assert (model.accelerator, model.point.number, x.accelerator, x.point.number) == ("", 2, "x", 2)
    assert x.reason == "the best point inside latency@x <= 3 ms"
    (latency,) = x.costs
    assert (latency.total, latency.fixed) == (pytest.approx(3e-3), 1e-3)
    assert latency.layers == pytest.approx((1.5e-3, 0.5e-3))
    assert latency.sources == ("exact", "exact")
    assert latency.shares == pytest.approx({"exact": 2 / 3, "fixed": 1 / 3})
    assert model.costs[0].layers == (100.0, 150.0)


def test_breakdown_names_the_largest_row(record):
    widths = Allocation(dict.fromkeys(record.tables["activations"].layers, LayerFormat.of(8, 8)))
    part = cost_part(record.tables["activations"], widths)
    assert part.total == sum(part.layers) == 2 * 16 * 32 * 32
    assert part.row == "after features.1.conv"
    assert [i for i, source in enumerate(part.sources) if source] == [1, 2]


def test_breakdown_without_a_point_says_why(tiny):
    parts = Breakdown().facts(tiny.with_trials(tiny.trials[5:6])).parts
    assert parts[0].point.number == 5
    assert (parts[1].point, parts[1].reason) == (None, "No measured point has a finite cost on x.")


def test_failures_are_grouped_by_their_words(tiny):
    facts = Failures().facts(tiny)
    assert (facts.failed, facts.interrupted, facts.unscored) == (2, 1, ())
    first, second = facts.groups
    assert (first.error, first.numbers, first.alike) == ("TrainingDiverged: loss is nan at step 7", (4, 7), True)
    assert first.what == (("adq under latency@x <= 1 ms", 2),)
    assert (second.state, second.numbers, second.alike) == ("interrupted", (6,), False)


def test_complete_trials_without_a_score_are_named(tiny):
    broken = replace(tiny.trials[0], measures={**tiny.trials[0].measures, "accuracy": math.inf})
    assert Failures().facts(tiny.with_trials((broken,))).unscored == (0,)


def test_provenance(tiny):
    facts = Provenance().facts(tiny)
    assert facts.covered == pytest.approx(0.75)
    assert facts.left_out == (("attention", "no rule"),)
    said = {c.key: c for c in facts.conventions}
    assert (said["weights"].convention, said["weights"].notes) == ("packed", ("no scales",))
    assert (said["latency@x"].convention, said["latency@x"].accelerator) == ("rule of latency@x", "x")
    assert dict(facts.provenance) == {"versions.hwdse": "0.1.0", "seeds": "0", "accelerators.x": "x", "graph fingerprint": "f00d"}


def test_proxy_compares_different_allocations(tiny):
    facts = Proxy().facts(tiny)
    assert (facts.proxies, facts.costs, facts.allocations) == (("weights",), ("latency@x",), ((4,),))
    # weights 400, 200, 250, 350 and latencies 4, 2, 3, 3 ms: ranks 4 1 2 3 and 4 1 2.5 2.5
    assert facts.correlation[0][0] == pytest.approx(4.5 / math.sqrt(5 * 4.5))


def test_spearman_closed_form_and_second_implementation():
    x, y = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 1, 4, 3, 5])
    assert spearman(x, y) == pytest.approx(1 - 6 * 4 / (5 * 24))
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, 40).astype(float), rng.integers(0, 6, 40).astype(float)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert math.isnan(spearman(x, np.ones(5)))


def test_explorer_rows(tiny):
    facts = Explorer().facts(tiny)
    row = facts.rows[2]
    assert (row.point.number, row.weight_bits, row.activation_bits) == (2, 5.0, 6.0)
    assert row.fronts == ("weights", "latency@x")
    assert (row.target, row.budget, row.knobs) == ("x", "weights <= 75% of w8a8", "epochs=1, seed=0, seeded=no")
    assert facts.units == ((1.0, "B"), (1e-3, "ms"))


def test_limits_far_from_the_points_do_not_press_them_together(tiny):
    far = replace(tiny, budgets=(("latency@x <= 40 ms",), ("latency@x <= 4.5 ms",)))
    panel = Fronts().facts(far).panels[1]  # points from 2 to 4 ms
    assert (panel.limits, panel.far) == (pytest.approx((4.5e-3,)), pytest.approx((40e-3,)))


def test_the_score_axis_is_cut_for_scores_that_are_better_when_lower(tiny, tmp_path):
    score = Metric("perplexity", "", "lower")
    trials = tuple(
        replace(tiny.trials[0], number=i, measures={**tiny.trials[0].measures, "perplexity": s, "weights": 100.0 + i})
        for i, s in enumerate([6.0, 5.9, 5.8, 5.7, 5.6, 5.5, 5.4, 5.3, 5.2, 5.1, 5.0, 900.0])
    )
    record = replace(tiny, score=score, trials=trials, reference={"validation": 4.9})
    section = Fronts()
    facts = section.facts(record)
    assert facts.panels[0].low == pytest.approx(5.0 + 2 * 0.9)  # three quarters reach 5.9
    axes = section.draw(facts).drawings[0].figure.axes[0]
    bottom, top = axes.get_ylim()
    assert (bottom, top) == (pytest.approx(6.8), pytest.approx(4.9 - 0.05 * 1.9))  # worse is down


def test_an_empty_budget_says_the_error_it_met_most(tiny):
    text = str(Summary().draw(Summary().facts(tiny)).parts[2])
    assert "(3 trials ran under it). The most frequent error: TrainingDiverged: loss is nan at step 7" in text


def test_a_front_is_drawn_once_for_costs_in_proportion(tiny):
    energy = Metric("energy", "J", on="x")
    trials = tuple(
        replace(t, measures={**t.measures, "energy@x": 2e-3 * t.measures["latency@x"]}) if t.state == "complete" else t for t in tiny.trials
    )
    both = replace(tiny, costs=(*tiny.costs, energy), trials=trials)
    facts = Fronts().facts(both)
    assert [p.alike and p.alike.key for p in facts.panels] == [None, None, "latency@x"]
    drawn = Fronts().draw(facts)
    assert [d.name for d in drawn.drawings] == ["front-weights", "front-latency@x"]
    assert "energy@x is in proportion to latency@x" in " ".join(p for p in drawn.parts if isinstance(p, str))
    changed = (replace(trials[0], measures={**trials[0].measures, "energy@x": 1.0}), *trials[1:])
    assert Fronts().facts(replace(both, trials=changed)).panels[2].alike is None
