"""Intervals of a score: Wilson's for shares, the bootstrap's for other means."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from hwdse.checksums import digest
from hwdse.evaluation import Evaluation
from hwdse.intervals import interval_of, paired_p, wilson
from hwdse.sample_scores import Held, SampleScores, keep_scores


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


def test_mcnemar_by_hand() -> None:
    one, other = np.zeros(100), np.zeros(100)
    one[:60] = other[:60] = 1  # both right: says nothing
    one[60:70] = 1
    other[70:72] = 1  # 10 against 2
    assert paired_p(one, other) == paired_p(other, one) == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert paired_p(one, one) == 1.0


def test_the_paired_t_test_by_its_formula() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 5, size=400)  # what all networks find hard
    one, other = hard + rng.normal(0, 0.2, 400), hard + rng.normal(0.06, 0.2, 400)
    d = one - other
    t = d.mean() / (d.std(ddof=1) / np.sqrt(400))
    assert paired_p(one, other) == pytest.approx(2 * scipy.stats.t.sf(abs(t), 399))
    assert paired_p(one, other) < 0.01
    low, high = interval_of(one) or (0, 0)
    assert low < other.mean() < high  # two intervals would not have told
    assert paired_p(np.arange(5.0), np.arange(5.0) + 1) == 0.0  # better on every sample, by as much


def test_no_difference_is_found_as_often_as_said() -> None:
    rng = np.random.default_rng(1)
    found = [paired_p(rng.binomial(1, 0.8, 300).astype(float), rng.binomial(1, 0.8, 300).astype(float)) < 0.05 for _ in range(400)]
    assert np.mean(found) <= 0.07  # the exact test errs on the safe side


def test_scores_of_samples_are_kept_and_damaged_files_are_said(tmp_path: Path) -> None:
    keep_scores(tmp_path, "3", np.array([1.0, 0.0, 1.0]))
    keep_scores(tmp_path, "fp32", np.array([0.25, 1.5]))
    held = {"3": Held("", 2 / 3, 3), "fp32": Held("", 0.875, 2), "4": Held("", 0.5, 2)}
    kept = SampleScores(tmp_path, held)
    assert dict(kept) == {"3": pytest.approx([1, 0, 1]), "fp32": pytest.approx([0.25, 1.5])}
    assert "4" not in kept
    assert kept.damage == ()
    (tmp_path / "scores" / "3.npy").write_bytes(b"\x93NUM")
    assert kept.holding({**held}).get("3") is not None  # read before
    damaged = SampleScores(tmp_path, held)
    assert damaged.get("3") is None
    assert re.search(r"3\.npy: is truncated or holds no scores of samples\. It is left out", damaged.damage[0])
    assert len(SampleScores(tmp_path / "nowhere", held)) == 0


@pytest.mark.parametrize("scores", [[1.0, 1.0, 0.0, 0.0], [1.0, 0.0], [np.nan] * 3, [np.inf, 0.0, 1.0], []])
def test_scores_that_are_not_those_of_the_record_are_left_out(tmp_path: Path, scores: list[float]) -> None:
    keep_scores(tmp_path, "3", np.array(scores))
    kept = SampleScores(tmp_path, {"3": Held("", 2 / 3, 3)})
    assert kept.get("3") is None
    assert "It is left out" in kept.damage[0]


def test_scores_with_a_checksum_on_record(tmp_path: Path) -> None:
    name, content = keep_scores(tmp_path, "3", np.array([1.0, 0.0, 1.0]))
    held = {"3": Held(digest(content), 2 / 3, 3)}
    assert SampleScores(tmp_path, held).get("3") is not None
    keep_scores(tmp_path, "3", np.array([0.0, 1.0, 1.0]))  # the same mean, other samples
    kept = SampleScores(tmp_path, held)
    assert kept.get("3") is None
    assert "was changed since it was written" in kept.damage[0]
    (tmp_path / name).unlink()
    kept = SampleScores(tmp_path, held)
    assert kept.get("3") is None
    assert "lacks 3.npy" in kept.damage[0]
