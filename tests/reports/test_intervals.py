"""Wilson's interval against published values and closed forms."""

import pytest

from hwdse.metrics import Metric
from hwdse.reports.intervals import Z95, interval, wilson

ACCURACY = Metric("accuracy", "fraction", "higher")


@pytest.mark.parametrize(
    ("right", "samples", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_newcombe_1998_table_1(right, samples, low, high):
    assert wilson(right / samples, samples) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("share", "samples"), [(0.3, 10), (0.93, 100), (0.5, 7)])
def test_its_ends_are_where_the_score_test_is_just_significant(share, samples):
    for end in wilson(share, samples):
        assert abs(share - end) == pytest.approx(Z95 * (end * (1 - end) / samples) ** 0.5)


def test_all_wrong_and_all_right_mirror_and_have_a_closed_form():
    z2 = Z95**2
    assert wilson(0.0, 50) == pytest.approx((0.0, z2 / (50 + z2)))
    assert wilson(1.0, 50) == pytest.approx((50 / (50 + z2), 1.0))


@pytest.mark.parametrize(
    ("metric", "value", "samples"),
    [
        (Metric("mean_iou", "fraction", "higher"), 0.5, 100),  # a fraction, not a share of right answers
        (Metric("accuracy", "", "higher"), 0.5, 100),
        (ACCURACY, 0.5, 0),
        (ACCURACY, None, 100),
        (ACCURACY, 1.2, 100),
        (ACCURACY, float("nan"), 100),
    ],
)
def test_no_interval_where_it_would_mean_nothing(metric, value, samples):
    assert interval(metric, value, samples) is None
