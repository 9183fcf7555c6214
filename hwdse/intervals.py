"""How sure a mean over samples is: 95 % intervals of the score of a split, and whether two scores of it differ by more than chance."""

from __future__ import annotations

import math

import numpy as np

from .costs import FloatArray

Z95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution
RESAMPLES = 2000
Interval = tuple[float, float]


def wilson(share: float, samples: int, z: float = Z95) -> Interval:
    """Interval of a share ``p`` measured on ``n`` independent samples.

    ``(p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)``. Unlike ``p -+ z sqrt(p(1-p)/n)`` it stays inside 0..1 and does
    not collapse at p = 0 and p = 1.

    Reference: E. B. Wilson, JASA 22 (1927) 209; R. G. Newcombe, Statistics in Medicine 17 (1998) 857, method 3.
    """
    spread = z * z / samples
    centre = share + spread / 2
    half = z * math.sqrt(max(share * (1 - share), 0.0) / samples + spread / (4 * samples))
    return max((centre - half) / (1 + spread), 0.0), min((centre + half) / (1 + spread), 1.0)


def interval_of(scores: FloatArray) -> Interval | None:
    """The 95 % interval of the mean of scores, one per sample; None for a single one.

    Shares of right answers (every score 0 or 1): Wilson's. Others: the percentile bootstrap over samples, :data:`RESAMPLES` times, always
    from the same seed.

    Reference: B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    if len(scores) < 2:
        return None
    if np.isin(scores, (0.0, 1.0)).all():
        return wilson(float(scores.mean()), len(scores))
    rng, means = np.random.default_rng(0), np.empty(RESAMPLES)
    at_once = max(1, 2_000_000 // len(scores))  # 16 MB of indices
    for start in range(0, RESAMPLES, at_once):
        drawn = rng.integers(len(scores), size=(min(at_once, RESAMPLES - start), len(scores)))
        means[start : start + len(drawn)] = scores[drawn].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def one_sided(scores: FloatArray, confidence: float, *, upper: bool) -> float:
    """Student's bound of the mean of scores, one per sample: ``mean +- t s / sqrt(n)`` with the one-sided quantile of ``confidence``; NaN
    for a single one. For shares of right answers :func:`wilson` is better.

    Reference: Student, Biometrika 6 (1908) 1.
    """
    from scipy import stats

    if len(scores) < 2:
        return math.nan
    reach = float(stats.t.ppf(confidence, len(scores) - 1)) * float(scores.std(ddof=1)) / math.sqrt(len(scores))
    return float(scores.mean()) + (reach if upper else -reach)


def paired_p(one: FloatArray, other: FloatArray) -> float:
    """Two-sided probability of so large a difference between two scores of the same samples, where there is none.

    Both networks see the same samples, so their scores go up and down together, and much smaller differences can be told than by two
    intervals. Right or wrong (0 and 1): the exact test of McNemar, on the samples that one has right and the other wrong. Others: the
    paired t test. 1 for equal scores.

    Args:
        one, other: (N,) scores, sample by sample.

    Reference: Q. McNemar, Psychometrika 12 (1947) 153; T. G. Dietterich, Neural Computation 10 (1998) 1895.
    """
    from scipy import stats  # 0.3 s, and needed by few

    difference = one - other
    if not difference.any():
        return 1.0
    if np.isin((one, other), (0.0, 1.0)).all():
        won, lost = int((difference > 0).sum()), int((difference < 0).sum())
        return float(stats.binomtest(won, won + lost).pvalue)
    if len(difference) < 2 or not np.ptp(difference):
        return 0.0 if len(difference) > 1 else 1.0
    return float(stats.ttest_1samp(difference, 0.0).pvalue)
