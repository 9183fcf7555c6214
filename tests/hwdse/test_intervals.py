"""Intervals of a score: Wilson's for shares, the bootstrap's for other means."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from hwdse.evaluation import Evaluation
from hwdse.intervals import interval_of, wilson


def test_shares_have_wilsons_interval() -> None:
    scores = np.repeat([1.0, 0.0], [81, 182])
    assert interval_of(scores) == wilson(81 / 263, 263)
    assert np.round(interval_of(scores) or (), 4).tolist() == [0.2553, 0.3662]  # Newcombe 1998, table I, method 3
    assert Evaluation(scores).interval == interval_of(scores)


def test_means_have_the_bootstraps_interval_near_the_normal_one() -> None:
    scores = np.random.default_rng(3).gamma(2.0, size=4000)
    low, high = interval_of(scores) or (0, 0)
    half = 1.96 * scores.std() / np.sqrt(len(scores))
    assert low == pytest.approx(scores.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(scores.mean() + half, abs=0.1 * half)
    assert interval_of(scores) == (low, high)  # the same seed, always


def test_another_bootstrap_agrees_on_skewed_scores() -> None:
    scores = np.random.default_rng(5).lognormal(0, 1.5, size=60)
    theirs = scipy.stats.bootstrap((scores,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    ours = interval_of(scores) or (0, 0)
    assert ours == pytest.approx(tuple(theirs), rel=0.05)
    assert scores.mean() - ours[0] < 0.8 * (ours[1] - scores.mean())  # unlike mean -+ 1.96 s


def test_a_single_sample_says_nothing_of_the_spread() -> None:
    assert interval_of(np.array([0.3])) is None


def test_the_truth_is_inside_as_often_as_said() -> None:
    rng = np.random.default_rng(0)
    inside = [low < 1.0 < high for _ in range(200) for low, high in [interval_of(rng.exponential(size=150)) or (0, 0)]]
    assert 0.89 <= np.mean(inside) <= 0.99
