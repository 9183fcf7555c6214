"""From the expected loss of an allocation to the score it may be measured at, by how the run's own trials turned out.

Isotonic regression of the score on the expected loss, with a jackknife+ interval: no form is assumed but that more expected loss is no
better a score. Where trials and the new allocation are exchangeable, at least 1 - 2 a of such intervals hold what is measured, whatever
the distribution, and in practice about 1 - a. An anchor, a point that is known and was not measured as they were, takes part in every fit
and is counted nowhere.

Reference: R. F. Barber et al., "Predictive inference with the jackknife+", Annals of Statistics 49 (2021) 486.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..costs import FloatArray
from ..errors import UsageError
from .sections.proxy import spearman

METHOD = "isotonic regression on the expected loss, with a jackknife+ interval"
ASSUMES = (
    "the new allocation turns out as those measured did (exchangeable with them); one that is solved for is not drawn as they were, so the "
    "level is not assured"
)
LEVEL = 0.9
FEWEST = 12  # allocations behind a prediction; an interval of 90 % needs 9
SIGNIFICANT = 1.645  # one-sided 5 % point of a rank correlation times sqrt(n - 1), where there is none


class NoPrediction(UsageError):
    """Measurements that say nothing of what is asked."""


@dataclass(frozen=True)
class Prediction:
    """Scores that were not measured, minimised as everything inside is.

    Attributes:
        value, low, high: (M,) the fit, and the ends of the interval; NaN outside the losses that were measured. level: of the interval.
        points: measured allocations behind it, an anchor not among them.
        correlation: Spearman's, of their expected losses and measured scores.
        near: median of the errors that the fit makes for a point left out of it: how well it has matched so far.
        least: smallest of the scores behind it.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray
    level: float
    points: int
    correlation: float
    near: float
    least: float


def fitted(losses: FloatArray, scores: FloatArray, at: FloatArray) -> FloatArray:
    """Isotonic least squares of the scores, (N,) minimised, on the losses, at other losses; linear between points, constant beyond."""
    from scipy.optimize import isotonic_regression

    where, group = np.unique(losses, return_inverse=True)
    weight = np.bincount(group).astype(float)
    mean = np.bincount(group, weights=scores) / weight
    found: FloatArray = np.interp(at, where, isotonic_regression(mean, weights=weight).x)
    return found


def predict(
    losses: FloatArray, scores: FloatArray, at: FloatArray, level: float = LEVEL, *, anchor: tuple[float, float] | None = None
) -> Prediction:
    """The scores at expected losses inside the range of those measured: nothing is extrapolated.

    Args:
        losses, scores: (N,) expected losses, and scores with the sign that makes smaller better, of different allocations.
        at: (M,) expected losses of the new ones.
        level: of the interval.
        anchor: expected loss and score of a point beside them, such as FP32 at 0.

    Raises:
        NoPrediction: fewer than :data:`FEWEST` points without the anchor, none or a wrong correlation, or a single loss outside the range.
    """
    count = len(losses)
    if count < FEWEST:
        raise NoPrediction(f"{count} different allocations were measured that way; a prediction needs {FEWEST}")
    correlation = spearman(losses, scores)
    if not correlation * math.sqrt(count - 1) > SIGNIFICANT:
        said = "no" if not math.isfinite(correlation) else f"{correlation:.2f} as"
        raise NoPrediction(
            f"over {count} allocations the measured scores have {said} rank correlation with the expected loss, which could be chance: "
            "what is expected says nothing of what is measured"
        )
    all_losses, all_scores = (np.append(part, () if anchor is None else anchor[i]) for i, part in enumerate((losses, scores)))
    smallest, largest = all_losses.min(), all_losses.max()
    outside = ~((smallest <= at) & (at <= largest))
    if len(at) == 1 and outside[0]:
        side, end = ("above the largest", largest) if at[0] > largest else ("below the smallest", smallest)
        raise NoPrediction(f"the expected loss of {at[0]:.4g} nats is {side} that was measured, {end:.4g}: nothing is extrapolated")
    here, left_out = np.empty((count, len(at))), np.empty(count)
    for i in range(count):
        rest = np.arange(len(all_losses)) != i
        *here[i], left_out[i] = fitted(all_losses[rest], all_scores[rest], np.append(at, losses[i]))
    errors = np.abs(scores - left_out)
    rank = math.ceil(level * (count + 1))  # of the ends, from the inside out
    value = fitted(all_losses, all_scores, at)
    low = np.minimum(np.sort(here - errors[:, None], axis=0)[::-1][rank - 1], value)
    high = np.maximum(np.sort(here + errors[:, None], axis=0)[rank - 1], value)
    value, low, high = (np.where(outside, np.nan, part) for part in (value, low, high))
    return Prediction(value, low, high, level, count, correlation, float(np.median(errors)), float(scores.min()))
