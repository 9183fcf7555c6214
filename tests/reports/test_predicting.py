"""Budgets that were not run: the regression against another implementation, its intervals by how often they hold, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from hwdse.choices import ENDS
from hwdse.earlier_records import with_codebook
from hwdse.errors import InfeasibleBudget, UsageError
from hwdse.formats import Allocation, LayerFormat
from hwdse.reports.explorer_data import explorer_data
from hwdse.reports.points import measured
from hwdse.reports.predicting import LEVEL, NoPrediction, fitted, predict
from hwdse.reports.supposing import fidelity_of, in_score, suppose

HERE, NEAR_FP32 = np.array([0.01]), np.array([0.0005])


def _measured(rng, count, noise=0.004):
    """Expected losses over two decades, and scores (minimised) as a concave function of them, with noise as of 500 samples."""
    loss = 10 ** rng.uniform(-3, -1, count)
    return loss, -(0.98 - 0.6 * loss**0.8) + rng.normal(0, noise, count)


def test_the_fit_is_that_of_another_implementation():
    rng = np.random.default_rng(0)
    loss, score = _measured(rng, 40)
    loss[5:9] = loss[4]  # several allocations of one expected loss
    at = np.linspace(loss.min(), loss.max(), 100)
    other = IsotonicRegression(out_of_bounds="clip").fit(loss, score)
    np.testing.assert_allclose(fitted(loss, score, at), other.predict(at), atol=1e-6)  # it keeps its knots in single precision
    assert (np.diff(fitted(loss, score, at)) >= 0).all()


@pytest.mark.parametrize("count", [12, 30])
def test_intervals_hold_what_is_measured_as_often_as_they_say(count):
    rng = np.random.default_rng(count)
    held = tried = 0
    for _ in range(300):
        loss, score = _measured(rng, count + 1)
        try:
            found = predict(loss[1:], score[1:], loss[:1])
        except NoPrediction:  # outside of the range
            continue
        tried += 1
        held += found.low <= score[0] <= found.high
        assert found.low <= found.value <= found.high
    assert tried > 200
    assert LEVEL - 0.05 < held / tried < LEVEL + 0.09  # measured: 0.98 for 12 points, 0.93 for 30


def test_noise_alone_widens_the_interval():
    widths = []
    for noise in (0.001, 0.004, 0.016):
        found = predict(*_measured(np.random.default_rng(1), 40, noise), HERE)
        widths.append(found.high - found.low)
    assert widths == sorted(widths)
    assert 3 < widths[2] / widths[0] < 30


def test_an_anchor_is_fitted_and_not_counted():
    loss, score = _measured(np.random.default_rng(4), 12)
    with pytest.raises(NoPrediction, match="11 different allocations were measured that way; a prediction needs 12"):
        predict(loss[1:], score[1:], NEAR_FP32, anchor=(0.0, -0.98))
    found = predict(loss, score, NEAR_FP32, anchor=(0.0, -0.98))
    assert found.points == 12
    assert found.correlation == predict(loss, score, np.median(loss, keepdims=True)).correlation
    low, high = np.sort(score)[[0, -1]]
    assert min(low, -0.98) - (high - low) <= found.low <= found.value <= found.high
    with pytest.raises(NoPrediction, match="below the smallest"):
        predict(loss, score, NEAR_FP32)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x, y: (x[:11], y[:11]), "11 different allocations were measured that way; a prediction needs 12"),
        (lambda x, y: (x, -y), "have -0.9. as rank correlation with the expected loss"),
        (lambda x, y: (x, np.zeros(len(x))), "have no rank correlation"),
        (lambda x, y: (x + 1, y), "the expected loss of 0.01 nats is below the smallest that was measured, 1.00"),
        (lambda x, y: (x / 1e3, y), "is above the largest that was measured, .*: nothing is extrapolated"),
    ],
)
def test_what_is_not_predicted(change, sentence):
    with pytest.raises(NoPrediction, match=sentence):
        predict(*change(*_measured(np.random.default_rng(2), 40)), HERE)


def test_several_are_predicted_as_each_is_alone_and_none_beyond_what_was_measured():
    loss, score = _measured(np.random.default_rng(5), 30)
    at = np.array([loss.min() / 2, loss.min(), 0.004, 0.02, loss.max(), 2 * loss.max()])
    found = predict(loss, score, at)
    assert np.isnan([part[[0, -1]] for part in (found.value, found.low, found.high)]).all()
    for k, each in list(enumerate(at))[1:-1]:
        alone = predict(loss, score, np.array([each]))
        assert (found.value[k], found.low[k], found.high[k]) == (alone.value[0], alone.low[0], alone.high[0])


def test_the_page_predicts_what_a_budget_at_a_corner_of_the_front_would(record):
    made = explorer_data(record, measured(record))["predictedScores"]
    front = made["fronts"]["latency@t4"]
    assert len(front) > 5
    for cost, *scores in front[:: len(front) // 4]:
        found = suppose(record, [f"latency@t4 <= {cost * (1 + 1e-7)!r} s"])  # the page rounds to 8 digits
        assert found.solution.costs["latency@t4"] == pytest.approx(cost)
        assert np.ravel(in_score(record.score, found.prediction)) == pytest.approx(scores)
    few = record.with_trials(record.trials[:9])
    assert "a prediction needs 12" in explorer_data(few, measured(few))["predictedScores"]["refused"]


def test_scores_without_any_relation_are_refused_as_often_as_said():
    rng = np.random.default_rng(3)
    made = 0
    for _ in range(200):
        try:
            predict(rng.uniform(0, 1, 20), rng.normal(0, 1, 20), np.array([0.5]))
            made += 1
        except NoPrediction:
            continue
    assert made / 200 < 0.1  # one in twenty passes a one-sided test of 5 %


def test_a_run_solves_a_budget_that_it_did_not_try(record):
    found = suppose(record, ["latency@t4 <= 1.1 ms", "weights <= 60% of w8a8"])
    solution = found.solution
    assert solution.status == "OPTIMAL"
    for limit in found.budget:
        assert record.tables[limit.metric.key].total(solution.allocation) == solution.costs[limit.metric.key] <= limit.limit
    assert solution.allocation[record.tables["loss"].layers[0]] == ENDS
    assert solution.loss == pytest.approx(record.tables["loss"].total(solution.allocation))
    inside = [t for t in record.trials if t.allocation and all(x.holds(t.measures[x.metric.key]) for x in found.budget)]
    assert inside
    assert all(record.tables["loss"].total(t.allocation) >= solution.loss for t in inside)  # nothing that was tried is better
    assert "latency@npu" not in solution.costs  # devices that the budget does not name play no part
    assert found.errors["weights"] == 0.0


def test_predictions_speak_of_one_fidelity(record):
    group, (scheme, epochs) = fidelity_of(record)
    assert (scheme, epochs) == ("unknown", 5)
    assert len({t.allocation for t in group}) == len(group) >= 12
    other = record.with_trials(tuple(replace(t, knobs={**t.knobs, "epochs": t.number % 7}) for t in record.trials))
    found = suppose(other, ["latency@t4 <= 1.5 ms"])
    assert found.prediction is None
    assert "different allocations were measured that way; a prediction needs 12" in found.refused


def test_codebooks_say_nothing_of_uniform_levels(record):
    books = record.with_trials(
        tuple(
            replace(t, allocation=t.allocation and Allocation({k: with_codebook(v) for k, v in t.allocation.items()}))
            for t in record.trials
        )
    )
    assert fidelity_of(books) == ([], ("unknown", 0))
    bent = record.with_trials(tuple(replace(t, knobs={**t.knobs, "scheme": "dorefa+pact@mse"}) for t in record.trials))
    assert "measuring with dorefa+pact@mse scores layers anew" in " ".join(suppose(bent, ["latency@t4 <= 1.2 ms"]).notes)


def test_an_allocation_that_was_measured_is_named(record):
    budget = ["latency@t4 <= 1.4 ms"]
    wanted = suppose(record, budget).solution.allocation
    first, *rest = (t for t in record.trials if t.state == "complete")
    known = record.with_trials((replace(first, allocation=wanted), *rest))
    assert suppose(known, budget).known.number == first.number


def test_a_run_without_training_is_anchored_at_fp32(record):
    loose = ["weights <= 100% of w8a8"]
    assert "below the smallest" in suppose(record, loose).refused
    plain = record.with_trials(tuple(replace(t, knobs={**t.knobs, "epochs": 0}) for t in record.trials))
    found = suppose(plain, loose)
    assert found.prediction is not None or "rank correlation" in found.refused


def test_fp32_is_not_counted_among_the_allocations(record):
    plain = record.with_trials(tuple(replace(t, knobs={**t.knobs, "epochs": 0}) for t in record.complete))
    group = {t.allocation: t for t in fidelity_of(plain)[0]}
    few = plain.with_trials(tuple(sorted(group.values(), key=lambda t: t.number))[:11])
    found = suppose(few, ["latency@t4 <= 1.2 ms"])
    assert found.prediction is None
    assert found.anchored
    assert "11 different allocations were measured that way; a prediction needs 12" in found.refused
    found = suppose(plain, ["latency@t4 <= 1.2 ms"])
    assert found.prediction.points == len(group)


def test_ties_and_pins_of_the_run_are_kept(record):
    layers = record.tables["loss"].layers
    tied = replace(record, choices=replace(record.choices, activation_ties=((layers[2], layers[3]),)))
    for solution in (suppose(r, ["latency@t4 <= 1.1 ms"]).solution for r in (record, tied)):
        assert solution.allocation[layers[0]] == solution.allocation[layers[-1]] == LayerFormat.of(8, 8)
    assert solution.allocation[layers[2]].activation == solution.allocation[layers[3]].activation
    with pytest.raises(UsageError, match="does not say which widths each layer may take"):
        suppose(replace(record, choices=None), ["latency@t4 <= 1.1 ms"])


def test_the_losses_are_those_of_the_trials_quantisers(record):
    bent = record.with_trials(tuple(replace(t, knobs={**t.knobs, "scheme": "dorefa+pact@mse"}) for t in record.trials))
    loss = record.tables["loss"]
    other = replace(bent, scheme_tables={"dorefa+pact@mse": {"loss": replace(loss, cells=loss.cells[:, ::-1] * 3)}})
    found = suppose(other, ["weights <= 60% of w8a8"])
    assert found.notes == suppose(record, ["weights <= 60% of w8a8"]).notes
    assert found.solution.loss == pytest.approx(other.scheme_tables["dorefa+pact@mse"]["loss"].total(found.solution.allocation))


def test_what_cannot_be_solved(record):
    with pytest.raises(InfeasibleBudget, match="cannot be met"):
        suppose(record, ["latency@t4 <= 1 us"])
    with pytest.raises(UsageError, match=r"the run has no tables\.npz"):
        suppose(replace(record, tables={}), ["weights <= 1 KiB"])
    with pytest.raises(UsageError, match="is not a budget"):
        suppose(record, ["weights"])
