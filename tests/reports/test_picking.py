"""Picking: the choice, its neighbours, its reasons, and the sentence of every error."""

from dataclasses import replace

import pytest

from hwdse.errors import InfeasibleBudget, UnknownName, UsageError
from hwdse.metrics import Metric
from hwdse.reports import pick


def _numbers(*trials):
    return tuple(t and t.number for t in trials)


def test_best_inside_one_limit_and_its_neighbours(tiny):
    found = pick(tiny, ["latency@x = 3 ms"])
    assert _numbers(found.trial, found.cheaper, found.better, found.runner_up) == (2, 1, 0, 3)
    assert (found.inside, found.measured, found.cost.key) == (3, 5, "latency@x")


@pytest.mark.parametrize("text", ["latency <= 3 ms", "latency ≤ 0.003 s", "latency@x=3000us"])
def test_forms_of_one_limit(tiny, text):
    assert pick(tiny, [text]).trial.number == 2


def test_several_limits_and_a_minimum(tiny):
    found = pick(tiny, ["weights <= 380 B", "latency = 3 ms"], ["accuracy = 90 %"])
    assert (found.trial.number, found.inside, found.cost.key) == (2, 2, "weights")
    assert [str(x) for x in found.limits] == ["weights <= 380 B", "latency@x <= 3 ms", "accuracy >= 90.00 %"]


def test_no_limits_picks_the_best_of_all(tiny):
    found = pick(tiny)
    assert _numbers(found.trial, found.better) == (0, None)
    assert found.explanation.startswith("#0 uniform w8a8: of 5 measured points (no limits), it has the best validation accuracy, 95.00 %")
    assert "limits" not in found.explanation.replace("(no limits)", "")


def test_an_allocation_that_the_device_cannot_run_is_never_inside(tiny):
    assert all(pick(tiny, [f"latency <= {n} s"]).trial.number != 5 for n in (1, 1000))


def test_ties_go_to_the_cheaper_on_the_first_limited_metric(tiny):
    trials = tuple(replace(t, measures={**t.measures, "accuracy": 0.9}) if t.number in (2, 3) else t for t in tiny.trials)
    tied = tiny.with_trials(trials)
    assert pick(tied, ["weights <= 360 B"]).trial.number == 2
    assert pick(tied, ["latency <= 3 ms"]).trial.number == 2  # equal there as well: the earlier


def test_the_runner_up_has_other_widths(tiny):
    again = replace(tiny.trials[2], number=8, measures={**tiny.trials[2].measures, "accuracy": 0.92})
    assert pick(tiny.with_trials((*tiny.trials, again)), ["latency = 3 ms"]).runner_up.number == 3


def test_explanation(tiny):
    text = pick(tiny, ["latency = 3 ms"]).explanation
    assert text.startswith(
        "#2 qbitopt: of 5 measured points 3 meet latency@x <= 3 ms, and it has the best validation accuracy, "
        "93.00 % (95 % interval 86.25 to 96.57 %), test 92.00 %. "
        "That is 3.00 percentage points worse than FP32 (within chance by intervals). "
        "latency@x is 3 ms, exactly the limit of 3 ms."
    )
    assert (
        "The runner-up inside the limits, #3 adaqat, is 3.00 percentage points worse than it (within chance by intervals) at 3 ms" in text
    )
    assert (
        "The next cheaper point of the front, #1 uniform w4a4, is 13.00 percentage points worse than it "
        "(beyond chance by intervals on the split that chose it)" in text
    )
    assert text.endswith(
        "The next better point of the front, #0 uniform w8a8, is 2.00 percentage points better than it (within chance by intervals) "
        "at 4 ms latency@x; it breaks latency@x <= 3 ms."
    )


@pytest.mark.parametrize(
    ("maxima", "minima", "sentence"),
    [
        (["accuracy = 94 %"], [], "accuracy is better when higher, so a maximum of it keeps the worse points .* limit it with --min"),
        ([], ["latency = 3 ms"], "latency@x is better when lower, so a minimum of it keeps the worse points .* limit it with --max"),
    ],
)
def test_a_limit_in_the_wrong_direction_is_refused(tiny, maxima, minima, sentence):
    with pytest.raises(UsageError, match=sentence):
        pick(tiny, maxima, minima)


@pytest.mark.parametrize(
    ("maxima", "minima", "sentence"),
    [
        (["latency = 3 ms"], ["accuracy = 90 %"], "accuracy is 93.00 %, 3.00 percentage points above the floor of 90.00 %."),
        (["latency = 3.5 ms"], [], "latency@x is 3 ms, with 500 us of room left under the limit of 3.5 ms."),
        (["latency = 3 ms"], ["accuracy = 93 %"], "accuracy is 93.00 %, exactly the floor of 93.00 %."),
    ],
)
def test_limits_in_words_of_their_own_side(tiny, maxima, minima, sentence):
    text = pick(tiny, maxima, minima).explanation
    assert sentence in text
    assert "than the limit" not in text


def test_a_limit_out_of_reach_names_the_nearest_value(tiny):
    with pytest.raises(InfeasibleBudget) as caught:
        pick(tiny, ["latency = 1 ms"])
    assert str(caught.value) == (
        "no measured point of 5 meets latency@x <= 1 ms. latency@x <= 1 ms: the nearest of all points is 2 ms (#1). "
        "Loosen a limit, or measure more points."
    )
    error = caught.value
    assert (error.metric, error.limit, error.reachable, error.other) == ("latency@x", 1e-3, 2e-3, None)


def test_limits_that_conflict_name_what_each_reaches_given_the_other(tiny):
    with pytest.raises(InfeasibleBudget) as caught:
        pick(tiny, ["latency = 2.5 ms"], ["accuracy = 92 %"])
    text = str(caught.value)
    assert "latency@x <= 2.5 ms: where the other limits hold, the nearest is 3 ms (#2)." in text
    assert "accuracy >= 92.00 %: where the other limits hold, the nearest is 80.00 % (#1)." in text
    error = caught.value
    assert (error.metric, error.reachable, error.other) == ("latency@x", 3e-3, "accuracy")


def test_limits_of_which_no_two_can_be_met(tiny):
    with pytest.raises(InfeasibleBudget, match=r"met by itself \(#0 has 95.00 %\), but no point meets all the other limits"):
        pick(tiny, ["latency = 2.5 ms", "weights <= 180 B"], ["accuracy = 94 %"])


def test_a_metric_that_nobody_measured(tiny):
    other = Metric("energy", "J", on="x")
    with pytest.raises(InfeasibleBudget, match="energy@x <= 1 J: no measured point has a finite energy@x"):
        pick(replace(tiny, costs=(*tiny.costs, other)), ["energy <= 1 J"])


def test_a_run_without_points(tiny):
    with pytest.raises(UsageError, match=r"no measured point to pick from: of 3 trials 2 failed and 1 were interrupted"):
        pick(tiny.with_trials(tuple(t for t in tiny.trials if t.state != "complete")), ["latency = 1 s"])


@pytest.mark.parametrize(
    ("maxima", "minima", "sentence"),
    [
        (["3 ms"], [], "'3 ms' is not a maximum; write for example \"latency <= 3 ms\""),
        ([], ["97 %"], "'97 %' is not a minimum; write for example \"accuracy >= 97 %\""),
        (["latency >= 3 ms"], [], "a maximum is written with = or <=, got '>='; latency@x is better when lower"),
        ([], ["accuracy <= 97 %"], "a minimum is written with = or >=, got '<='; accuracy is better when higher"),
        (["latency < 3 ms"], [], "a maximum is written with = or <=, got '<'"),
        (["latency = 3 J"], [], "'3 J': latency@x is measured in s, ms, us, ns; got the unit 'J'"),
        (["latency = 3"], [], "'3': latency@x is measured in s, ms, us, ns; got no unit"),
        (["weights <= 50% of w8a8"], [], "the record does not say which widths each layer may take"),
        ([], ["accuracy = 97"], "accuracy is a share between 0 % and 100 %, got 9700.00 %; write for example '97 %' or '0.97'"),
    ],
)
def test_limits_that_cannot_be_read(tiny, maxima, minima, sentence):
    with pytest.raises(UsageError) as caught:
        pick(tiny, maxima, minima)
    assert sentence in str(caught.value)


def test_names_that_are_unknown_or_mean_several(tiny, record):
    with pytest.raises(UnknownName, match="unknown metric 'latencie'; did you mean 'latency@x'"):
        pick(tiny, ["latencie = 3 ms"])
    with pytest.raises(UsageError, match="say which: latency@t4, latency@mpic, latency@npu"):
        pick(record, ["latency = 3 ms"])
