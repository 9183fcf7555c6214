"""Rank correlation with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..choices import IntArray
from ..costs import FloatArray

RESAMPLED = 1000  # bootstrap replicates


@dataclass(frozen=True)
class Agreement:
    """Rank correlations of predictions with measurements; ``low`` and ``high`` bound Spearman's at 95 %."""

    spearman: float
    kendall: float
    low: float
    high: float


def spearman(truth: FloatArray, predictions: FloatArray) -> FloatArray:
    """(P,) Spearman's correlations of (P, N) predictions with (N,) measurements, ties at their mean rank; 0 where one side is constant."""
    from scipy.stats import rankdata

    ranks = rankdata(np.vstack([truth[None], predictions]), axis=1) - (len(truth) + 1) / 2
    size = np.sqrt((ranks**2).sum(axis=1))
    scale = size[0] * size[1:]
    found: FloatArray = np.divide(ranks[1:] @ ranks[0], scale, out=np.zeros(len(predictions)), where=scale > 0)
    return found


def kendall(a: FloatArray, b: FloatArray) -> float:
    """Kendall's tau-b; 0 where one side is constant."""
    from scipy.stats import kendalltau

    found = float(kendalltau(a, b).statistic)
    return found if np.isfinite(found) else 0.0


def resampled(truth: FloatArray, predictions: FloatArray, groups: Sequence[IntArray], seed: int) -> FloatArray:
    """(P, RESAMPLED) Spearman correlations of each prediction with the truth, over samples drawn with replacement.

    Args:
        truth: (N,) measurements.
        predictions: (P, N).
        groups: indices that belong together (the cells of one layer) and are drawn together. Every prediction gets the same draws, so that
            differences between two are those of one sample.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    found = np.empty((len(predictions), RESAMPLED))
    for k in range(RESAMPLED):
        drawn = np.concatenate([groups[g] for g in rng.integers(0, len(groups), len(groups))])
        found[:, k] = spearman(truth[drawn], predictions[:, drawn])
    return found


def agreement(truth: FloatArray, prediction: FloatArray, draws: FloatArray) -> Agreement:
    """Both correlations, and the percentile interval of the draws."""
    low, high = np.quantile(draws, (0.025, 0.975))
    return Agreement(float(spearman(truth, prediction[None])[0]), kendall(truth, prediction), float(low), float(high))
