"""Being sure of a score: a least score that its lower confidence bound must reach, not the measured share alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import UsageError
from ..records import SweepRecord, TrialResult
from .intervals import counts, lower_bound
from .limits import Limit, parse_limit

LOWEST, HIGHEST = 0.5, 0.999999  # at 50 % the bound is the measured share itself; nearer to 100 % no number of samples reaches
SURE_METHOD = "one-sided Wilson bound of the validation samples"


@dataclass(frozen=True)
class Sure(Limit):
    """``score >= value`` with a confidence: the one-sided lower bound of the score must reach the value."""

    confidence: float = 0.95

    def __str__(self) -> str:
        return f"{super().__str__()} with {percent(self.confidence)} confidence"

    def found(self, trial: TrialResult) -> float:
        """The lower bound of a trial's score; NaN where the number of samples behind it is unknown."""
        return bound(super().found(trial), trial.samples, self.confidence)


def bound(share: float, samples: int, confidence: float) -> float:
    """:func:`~hwdse.reports.intervals.lower_bound`; NaN where there is nothing to count."""
    return lower_bound(share, samples, confidence) if samples >= 1 and 0 <= share <= 1 else math.nan


def percent(confidence: float) -> str:
    """``"95 %"``, ``"99.9 %"``."""
    return f"{confidence * 100:.10g} %"


def parse_confidence(text: str) -> float:
    """Reads ``"95%"`` or ``"0.95"``.

    Raises:
        UsageError: no number, or outside of 50 % to 99.9999 %.
    """
    number = text.strip()
    try:
        value = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not LOWEST <= value <= HIGHEST * (1 + 1e-12):
        raise UsageError(
            f"a confidence must be a number between {percent(LOWEST)} and {percent(HIGHEST)}, got '{text}'; "
            "write for example '95 %' or '0.95'."
        )
    return value


def parse_sure(text: str, record: SweepRecord, confidence: float) -> Sure:
    """Reads ``"accuracy >= 97 %"``, to hold with a confidence.

    Raises:
        UsageError: malformed, of a cost, or of a score that is no share of right answers: nothing says how sure that is.
    """
    limit = parse_limit(text, record, upper=False)
    if limit.metric != record.score:
        raise UsageError(
            f"'{text}': only the score is measured on samples; {limit.metric.key} is worked out from tables. Limit it with --max, and see "
            "the report for how far off it may be."
        )
    if not counts(record.score):
        raise UsageError(
            f"'{text}': no confidence is known for {record.score.key}: the record keeps its mean, and only of a share of right answers "
            "(accuracy, top1, top5) does the number of samples say how sure that is. Use --min with a margin of your own."
        )
    if not any(t.samples for t in record.complete):
        raise UsageError(f"'{text}': the record does not say how many validation samples are behind its scores, so no confidence is known.")
    return Sure(limit.metric, limit.value, limit.upper, confidence)


def sure_text(sure: Sure, trial: TrialResult, candidates: int) -> str:
    """Two sentences: the bound, and what is left of it given that the point was chosen among many on the same samples."""
    metric = sure.metric
    alone = sure.found(trial)
    said = (
        f"Its {metric.name} is above {metric.format(alone)} with {percent(sure.confidence)} confidence"
        f" ({SURE_METHOD}, {trial.samples:,} of them)."
    )
    if candidates < 2:
        return said
    together = bound(trial.measures[metric.key], trial.samples, 1 - (1 - sure.confidence) / candidates)
    return (
        f"{said} That is for one point by itself; of {candidates} measured on the same samples all are above their bounds at once with that"
        f" confidence where the bound is {metric.format(together)} (Bonferroni)."
    )
