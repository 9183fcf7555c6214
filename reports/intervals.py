"""How sure a measured accuracy is: the Wilson score interval of a binomial share."""

from __future__ import annotations

from statistics import NormalDist

from ..intervals import Z95, wilson
from ..metrics import Metric
from ..records import SweepRecord, TrialResult

__all__ = ["Z95", "counts", "interval", "lower_bound", "reference_interval", "trial_interval", "wilson"]

_SHARES_OF_RIGHT_ANSWERS = ("accuracy", "top1", "top-1", "top5", "top-5")


def counts(score: Metric) -> bool:
    """Whether a score is a share of right answers, of which the number of samples says how sure it is."""
    return score.unit == "fraction" and any(word in score.name.lower() for word in _SHARES_OF_RIGHT_ANSWERS)


def interval(score: Metric, value: float | None, samples: float | None) -> tuple[float, float] | None:
    """The 95 % interval of a score; None where it is not a share of right answers, or the number of samples is unknown."""
    if not counts(score) or value is None or not samples or samples < 1 or not 0 <= value <= 1:
        return None
    return wilson(value, int(samples))


def lower_bound(share: float, samples: int, confidence: float) -> float:
    """The one-sided Wilson bound: a true share below it would give so good a measurement with probability 1 - ``confidence`` at most.

    The lower end of :func:`wilson` at the one-sided quantile of ``confidence`` (1.645 for 95 %); as an approximation by the normal
    distribution, to within about a percentage point of coverage.
    """
    return wilson(share, samples, NormalDist().inv_cdf(confidence))[0]


def trial_interval(record: SweepRecord, trial: TrialResult) -> tuple[float, float] | None:
    """The 95 % interval of a trial's score, as measured; else from the number of samples, where the score is a share of right answers."""
    return trial.interval or interval(record.score, trial.measures.get(record.score.key), trial.samples)


def reference_interval(record: SweepRecord) -> tuple[float, float] | None:
    """The same of the FP32 network."""
    known = record.reference
    if "validation_low" in known:
        return known["validation_low"], known["validation_high"]
    return interval(record.score, known.get("validation"), known.get("validation_samples"))
