"""Being sure of a score: a limit that its confidence bound must keep, not the measured mean alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..costs import FloatArray
from ..errors import UsageError
from ..intervals import one_sided
from ..numerals import number
from ..records import SweepRecord, TrialResult
from .intervals import counts, lower_bound
from .limits import Limit, limited_metric, parse_limit

LOWEST, HIGHEST = 0.5, 0.999999  # at 50 % the bound is the measured share itself; nearer to 100 % no number of samples reaches
WILSON, STUDENT = "one-sided Wilson bound of the validation samples", "one-sided Student's bound of the validation samples"


@dataclass(frozen=True)
class Sure(Limit):
    """A limit of the score with a confidence: its one-sided bound, the lower one where higher is better, must keep the value.

    Attributes:
        kept: scores of the samples by number of the trial, for what is no share of right answers.
    """

    confidence: float = 0.95
    kept: Mapping[str, FloatArray] = field(default_factory=dict, repr=False, compare=False)

    def __str__(self) -> str:
        return f"{super().__str__()} with {percent(self.confidence)} confidence"

    @property
    def method(self) -> str:
        """How the bound is made."""
        return WILSON if counts(self.metric) else STUDENT

    @property
    def side(self) -> str:
        """Which bound it is."""
        return "upper" if self.upper else "lower"

    def found(self, trial: TrialResult) -> float:
        """The bound of a trial's score; NaN where the samples behind it are unknown."""
        return self.bound(trial, self.confidence)

    def bound(self, trial: TrialResult, confidence: float) -> float:
        """The same at another confidence."""
        if counts(self.metric):
            share = super().found(trial)
            return lower_bound(share, trial.samples, confidence) if trial.samples >= 1 and 0 <= share <= 1 else math.nan
        scores = self.kept.get(str(trial.number))
        return math.nan if scores is None else one_sided(scores, confidence, upper=self.upper)


def percent(confidence: float) -> str:
    """``"95 %"``, ``"99.9 %"``."""
    return f"{confidence * 100:.10g} %"


def parse_confidence(text: str) -> float:
    """Reads ``"95%"`` or ``"0.95"``.

    Raises:
        UsageError: no number, or outside of 50 % to 99.9999 %.
    """
    share, sign, _ = text.strip().partition("%")
    found = number(share)
    value = math.nan if found is None or text.strip() != share + sign else found / (100 if sign else 1)
    if not LOWEST <= value <= HIGHEST * (1 + 1e-12):
        raise UsageError(
            f"a confidence must be a number between {percent(LOWEST)} and {percent(HIGHEST)}, got '{text}'; "
            "write for example '95 %' or '0.95'."
        )
    return value


def parse_sure(text: str, record: SweepRecord, confidence: float) -> Sure:
    """Reads ``"accuracy >= 97 %"``, or ``"mse <= 0.06"``, to hold with a confidence.

    Raises:
        UsageError: malformed, of a cost, or of a score of which nothing says how sure it is.
    """
    metric = limited_metric(record, text)
    if metric is not None and metric != record.score:
        raise UsageError(
            f"'{text}': only the score is measured on samples; {metric.key} is worked out from tables. Limit it with --max, and see "
            "the report for how far off it may be."
        )
    limit = parse_limit(text, record, upper=record.score.better == "lower")
    sure = Sure(limit.metric, limit.value, limit.upper, confidence, record.scores)
    if all(math.isnan(sure.found(t)) for t in record.complete):
        raise UsageError(
            f"'{text}': no confidence is known for {record.score.key}: the run keeps no scores of single samples, and of a share of right "
            f"answers (accuracy, top1, top5) not how many. Use {'--max' if limit.upper else '--min'} with a margin of your own."
        )
    return sure


def unsure(sure: Sure, points: Sequence[TrialResult]) -> str:
    """What must be said of points of which nothing says how sure their score is; empty where there are none."""
    count = sum(math.isnan(sure.found(t)) for t in points)
    if not count:
        return ""
    return (
        f"{count} of {len(points)} measured points cannot be held with a confidence, and are left out: the run folder has no scores of "
        "their samples (they stay where a trial ran)."
    )


def sure_text(sure: Sure, trial: TrialResult, candidates: int) -> str:
    """Two sentences: the bound, and what is left of it given that the point was chosen among many on the same samples."""
    metric, way = sure.metric, "below" if sure.upper else "above"
    said = (
        f"Its {metric.name} is {way} {metric.format(sure.found(trial))} with {percent(sure.confidence)} confidence"
        f" ({sure.method}, {trial.samples:,} of them)."
    )
    if candidates < 2:
        return said
    together = sure.bound(trial, 1 - (1 - sure.confidence) / candidates)
    return (
        f"{said} That is for one point by itself; of {candidates} measured on the same samples all are {way} their bounds at once with that"
        f" confidence where the bound is {metric.format(together)} (Bonferroni)."
    )
