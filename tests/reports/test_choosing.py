"""Rules to choose by: confidences against the equation that defines them, knees against closed forms, orders of metrics by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, norm, ttest_1samp
from scipy.stats import t as t_of

from hwdse.errors import InfeasibleBudget, UnknownName, UsageError
from hwdse.metrics import Metric
from hwdse.reports import pick
from hwdse.reports.intervals import lower_bound
from hwdse.reports.knees import chord_distances


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
@pytest.mark.parametrize(("right", "samples"), [(97, 100), (400, 450), (100, 100), (1, 20)])
def test_the_lower_bound_solves_the_score_test(right, samples, confidence):
    """Wilson's bound is the share p at which the measured one lies z standard errors *of p* above it."""
    share = right / samples
    low = lower_bound(share, samples, confidence)
    assert (share - low) / math.sqrt(low * (1 - low) / samples) == pytest.approx(norm.ppf(confidence))


def test_the_lower_bound_covers_what_it_says():
    """Over all outcomes of 450 samples: the bound lies above the truth about as often as its confidence allows."""
    samples, outcomes = 450, np.arange(451)
    bounds = np.array([lower_bound(k / samples, samples, 0.95) for k in outcomes])
    for truth in (0.9, 0.95, 0.98):
        wrong = binom.pmf(outcomes[bounds > truth], samples, truth).sum()
        assert 0.03 < wrong < 0.07


def test_sure_takes_a_lower_bound_for_the_score(tiny):
    assert pick(tiny, minima=["accuracy >= 93 %"]).inside == 2
    assert pick(tiny, sure=["accuracy >= 89 %"]).trial.number == 0  # 95 of 100: above 89.97 %
    text = pick(tiny, ["latency <= 3 ms"], sure=["accuracy >= 85 %"]).explanation
    assert "meet latency@x <= 3 ms and accuracy >= 85.00 % with 95 % confidence" in text
    assert f"Its accuracy is above {100 * lower_bound(0.93, 100, 0.95):.2f} % with 95 % confidence (one-sided Wilson bound" in text
    assert f"{100 * lower_bound(0.93, 100, 1 - 0.05 / 5):.2f} % (Bonferroni)" in text


def test_more_confidence_needs_a_better_score(tiny):
    assert (
        pick(tiny, sure=["accuracy >= 88 %"], confidence="95%").inside == pick(tiny, sure=["accuracy >= 88 %"], confidence=0.95).inside == 1
    )
    with pytest.raises(InfeasibleBudget, match=r"nearest of all points is \d\d\.\d\d %, its lower bound \(#0\)"):
        pick(tiny, sure=["accuracy >= 88 %"], confidence="99.9 %")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sure": ["accuracy >= 9 %"], "confidence": "high"}, "a confidence must be a number between 50 % and 99.9999 %, got 'high'"),
        ({"sure": ["accuracy >= 9 %"], "confidence": "95"}, "a confidence must be a number between 50 % and 99.9999 %, got '95'"),
        ({"sure": ["accuracy >= 9 %"], "confidence": "100%"}, "a confidence must be a number between"),
        ({"sure": ["latency >= 3 ms"]}, "only the score is measured on samples; latency@x is worked out from tables"),
        ({"sure": ["accuracy <= 97 %"]}, "a minimum is written with"),
        ({"confidence": "95%"}, "--confidence says how sure --sure must be"),
        ({"tolerance": "1 %"}, "--tolerance says what counts as equal in --lexicographic"),
        ({"knee_of": "weights", "order": ["accuracy"]}, "--knee and --lexicographic are two rules"),
        ({"knee_of": "accuracy"}, "a knee is of the front of accuracy against a cost; give one of weights, latency@x"),
        ({"order": ["accuracy", "weights", "accuracy"]}, "takes each metric once, the most important first; got accuracy"),
        ({"order": ["accuracy", "weights"], "tolerance": "1 ms"}, "accuracy is measured in"),
        ({"order": ["accuracy", "weights"], "tolerance": "-1 %"}, "a tolerance is 0 or more"),
    ],
)
def test_what_cannot_be_asked(tiny, options, sentence):
    with pytest.raises(UsageError) as caught:
        pick(tiny, **options)
    assert sentence in str(caught.value)


def test_no_confidence_is_known_where_no_samples_are(tiny):
    perplexity = replace(tiny, score=Metric("perplexity", "", "lower"))
    trials = tuple(replace(t, measures={**t.measures, "perplexity": 3.0}) for t in perplexity.trials)
    with pytest.raises(UsageError, match=r"is known for perplexity: the run keeps no scores of single samples.* Use --max with"):
        pick(perplexity.with_trials(trials), sure=["perplexity <= 3"])
    without = tiny.with_trials(tuple(replace(t, samples=0) for t in tiny.trials))
    with pytest.raises(UsageError, match=r"not how many\. Use --min with a margin"):
        pick(without, sure=["accuracy >= 3 %"])


def test_sure_of_a_mean_that_is_better_when_lower(tiny):
    rng, samples = np.random.default_rng(0), 60
    kept = {str(t.number): rng.gamma(2.0, 0.01 * (t.number + 1), samples) for t in tiny.complete}
    error = replace(tiny, score=Metric("mse", "", "lower"), scores=kept)
    trials = tuple(replace(t, measures={**t.measures, "mse": float(kept[str(t.number)].mean())}, samples=samples) for t in tiny.complete)
    error = error.with_trials(trials)
    bounds = {t.number: ttest_1samp(kept[str(t.number)], 0).confidence_interval(0.9).high for t in trials}  # 90 % on both sides
    limit = (bounds[1] + bounds[2]) / 2
    found = pick(error, sure=[f"mse <= {float(limit)!r}"])
    assert (found.trial.number, found.inside) == (0, sum(b <= limit for b in bounds.values()))
    assert f"Its mse is below {bounds[0]:.4g} with 95 % confidence (one-sided Student's bound" in found.explanation
    together = kept["0"].mean() + t_of.ppf(1 - 0.05 / 5, samples - 1) * kept["0"].std(ddof=1) / samples**0.5
    assert f"all are below their bounds at once with that confidence where the bound is {together:.4g}" in found.explanation
    part = {number: scores for number, scores in kept.items() if number not in ("0", "3")}
    fewer = pick(replace(error, scores=part), sure=[f"mse <= {float(limit)!r}"])
    assert fewer.trial.number == 1
    assert "2 of 5 measured points cannot be held with a confidence, and are left out" in fewer.explanation
    assert "cannot be held" not in found.explanation
    with pytest.raises(UsageError, match="got '>='; mse is better when lower"):
        pick(error, sure=["mse >= 3"])
    with pytest.raises(InfeasibleBudget, match="its upper bound"):
        pick(error, sure=["mse <= 1e-9"])
    with pytest.raises(UsageError, match=r"mse is better when lower.* limit it with --max"):
        pick(error, minima=["mse = 0.03"])


def test_unknown_metrics_are_said_before_limits_that_nothing_meets(tiny):
    for options in ({"knee_of": "latencie"}, {"order": ["latencie"]}):
        with pytest.raises(UnknownName, match="did you mean 'latency@x'"):
            pick(tiny, ["latency = 1 ns"], **options)


@pytest.mark.parametrize(
    ("curve", "at"),
    [(np.sqrt, 0.25), (lambda x: 1 - (1 - x) ** 2, 0.5), (lambda x: np.log1p(99 * x) / np.log(100), 1 / np.log(100) - 1 / 99)],
)
def test_the_knee_is_where_the_slope_is_that_of_the_chord(curve, at):
    """f(x) - x is largest where f'(x) = 1; units and offsets of either axis play no part."""
    x = np.linspace(0, 1, 2001)
    for scale, offset in ((1.0, 0.0), (3e-4, 7.0)):
        found = chord_distances(offset + scale * x, 5 - 2 * curve(x))
        assert x[int(np.argmax(found))] == pytest.approx(at, abs=6e-4)
        assert found.max() == pytest.approx(curve(np.array(at)) - at, abs=1e-6)


def test_a_front_without_a_bend_has_distances_of_zero():
    assert chord_distances([1, 2, 3], [3, 2, 1]) == pytest.approx([0, 0, 0])
    assert list(chord_distances([1, 1], [2, 3])) == list(chord_distances([1, 2], [2, 2])) == [0, 0]


def _with(tiny, points):
    """Trials of these (latency in ms, accuracy), no two with the same widths."""
    by_number = {t.number: t for t in tiny.trials}
    made = [replace(by_number[n], measures={"latency@x": ms * 1e-3, "accuracy": a, "weights": 1.0}) for n, (ms, a) in points.items()]
    return tiny.with_trials(tuple(made))


def test_knee_of_a_run(tiny):
    run = _with(tiny, {0: (1, 0.1), 1: (2, 0.7), 2: (3, 0.85), 3: (5, 0.9), 5: (4, 0.2)})
    found = pick(run, knee_of="latency")  # at x = 1/4 of the way y is 3/4 of the way
    assert (found.trial.number, found.runner_up.number, found.rule, found.cost.key) == (1, 2, "knee", "latency@x")
    assert "is the knee of the front of accuracy against latency@x, with accuracy 70.00 %" in found.explanation
    assert "both axes scaled to 0..1: 0.50 of 1 (the front has 4 points; its ends are #0 and #3)" in found.explanation
    assert (
        "Given up against the best accuracy inside the limits, #3 adaqat: it is 20.00 percentage points worse than its 90.00 %, and its "
        "latency@x is 3 ms better than that one's 5 ms."
    ) in found.explanation


def test_fronts_without_a_knee(tiny):
    with pytest.raises(UsageError, match=r"has no knee: none of its 3 points .* its ends, #0 and #2"):
        pick(_with(tiny, {0: (1, 0.1), 1: (2, 0.2), 2: (3, 0.9)}), knee_of="latency")
    with pytest.raises(UsageError, match="inside the limits there are 2"):
        pick(_with(tiny, {0: (1, 0.1), 1: (2, 0.2), 2: (3, 0.9)}), ["latency <= 2 ms"], knee_of="latency")


def test_an_order_of_metrics(tiny):
    run = _with(tiny, {0: (4, 0.95), 1: (3, 0.94), 2: (2, 0.93), 3: (1, 0.60)})
    by_noise = pick(run, order=["accuracy", "latency@x"])  # intervals of 100 samples: 0.93 overlaps with 0.95, 0.60 does not
    assert (by_noise.trial.number, by_noise.runner_up.number, by_noise.rule) == (2, 1, "lexicographic")
    assert (
        "By accuracy, #0 has the best of 4, 95.00 %; 3 points are as good (within chance of the best by their 95 % intervals)."
        in by_noise.explanation
    )
    assert "By latency@x, #2 has the best of 3, 2 ms." in by_noise.explanation
    assert pick(run, order=["accuracy", "latency@x"], tolerance="1 %").trial.number == 1  # percentage points
    assert pick(run, order=["accuracy", "latency@x"], tolerance="0 %").trial.number == 0
    assert pick(run, order=["latency@x", "accuracy"]).trial.number == 3
    assert pick(run, order=["latency@x", "accuracy"], tolerance="1 ms").trial.number == 2
    assert "So accuracy had nothing to decide." in pick(run, order=["latency@x", "accuracy"]).explanation
    assert pick(run, order=["accuracy"]).trial.number == 0  # the last metric keeps its best, whatever the noise


def test_an_order_leaves_out_what_a_device_cannot_run(tiny):
    found = pick(tiny, order=["accuracy", "latency@x", "weights"])
    assert found.trial.number != 5
    assert "1 point without one of the metrics took no part." in found.explanation


def test_a_cheaper_neighbour_outside_the_limits_is_said_to_be(tiny):
    assert "; it breaks accuracy >= 90.00 %" in pick(tiny, ["latency=3ms"], ["accuracy=90%"]).explanation.split("next cheaper")[1]


@pytest.mark.parametrize("text", ["99.9999%", "99.9999 %", "0.999999", "50%"])
def test_the_ends_of_what_a_confidence_may_be(tiny, text):
    assert pick(tiny, sure=["accuracy >= 9 %"], confidence=text).limits[0].confidence == pytest.approx(
        float(text.rstrip("% ")) / (100 if "%" in text else 1)
    )
