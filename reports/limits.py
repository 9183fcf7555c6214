"""Limits that measured points are held against: a budget of the sweep, or what someone who picks a point wrote."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..constraints import parse_constraint
from ..errors import UsageError
from ..metrics import Metric
from ..records import SweepRecord, TrialResult

_TEXT = re.compile(r"^\s*(?P<metric>[\w.]+(?:@[\w.\-]+)?)\s*(?P<sign><=|≤|>=|≥|==|=<|=>|<|>|=)\s*(?P<value>.+?)\s*$")
_RELATIVE = re.compile(r"%\s*of\b", re.IGNORECASE)
_TIGHTENED = re.compile(r" x [\d.]+(e-?\d+)?$")
_UPPER, _LOWER = ("=", "<=", "≤"), ("=", ">=", "≥")


@dataclass(frozen=True)
class Limit:
    """``metric <= value`` (``upper``) or ``metric >= value``, in the metric's stored unit."""

    metric: Metric
    value: float
    upper: bool = True

    def __str__(self) -> str:
        return self.words(self.metric.format(self.value))

    def words(self, value: str) -> str:
        """With its value in other words: ``"latency@t4 <= 3.0012 ms"``."""
        return f"{self.metric.key} {'<=' if self.upper else '>='} {value}"

    def holds(self, found: float) -> bool:
        """Whether a measured value is inside, forgiving a rounding error of one part in 10^12. Nothing unmeasured is."""
        room = abs(self.value) * 1e-12
        return math.isfinite(found) and (found <= self.value + room if self.upper else found >= self.value - room)

    def slack(self, found: float) -> float:
        """Room left, at least 0 inside."""
        return self.value - found if self.upper else found - self.value

    def found(self, trial: TrialResult) -> float:
        """What a trial has of the limited metric, in its stored unit; NaN where that was not measured."""
        return trial.measures.get(self.metric.key, math.nan)

    def miss(self, found: float) -> float:
        """How far a measured value is from the inside: 0 there, +inf where nothing was measured."""
        return max(-self.slack(found), 0.0) if math.isfinite(found) else math.inf


def inside(trial: TrialResult, limits: Iterable[Limit]) -> bool:
    """Whether a trial's measures meet all limits."""
    return all(limit.holds(limit.found(trial)) for limit in limits)


def parse_limit(text: str, record: SweepRecord, *, upper: bool) -> Limit:
    """Reads ``"latency@t4 = 3 ms"``, ``"latency <= 3 ms"``, ``"weights = 60% of w8a8"`` as a maximum, ``"accuracy = 97 %"`` as a minimum.

    A maximum relative to a uniform allocation is resolved from the record's tables, as a budget of the sweep is.

    Raises:
        UsageError: malformed text, a sign of the other direction, a unit that the metric lacks, a share above 1.
        UnknownName: unknown metric.
    """
    what, signs, example = (
        ("maximum", _UPPER, "latency <= 3 ms") if upper else ("minimum", _LOWER, f"{record.score.key} >= {_example(record.score)}")
    )
    match = _TEXT.match(text)
    if not match:
        raise UsageError(f"'{text}' is not a {what}; write for example \"{example}\".")
    if match["sign"] not in signs:
        found = limited_metric(record, text)
        right = found is not None and upper == (found.better == "lower")
        more = f"; {found.key} is better when {found.better}" if found is not None and right and match["sign"] in {*_UPPER, *_LOWER} else ""
        raise UsageError(f"'{text}': a {what} is written with {' or '.join(signs[:2])}, got '{match['sign']}'{more}.")
    metric = record.metric(match["metric"])
    if upper != (metric.better == "lower"):
        raise UsageError(
            f"'{text}': {metric.key} is better when {metric.better}, so a {what} of it keeps the worse points and leaves out the better; "
            f"limit it with {'--min' if upper else '--max'}."
        )
    if upper and relative(text):
        return Limit(metric, _of_uniform(text, f"{metric.key} <= {match['value']}", metric, record))
    value = metric.parse(match["value"])
    if metric.unit == "fraction" and not 0 <= value <= 1:
        raise UsageError(
            f"'{text}': {metric.key} is a share between 0 % and 100 %, got {metric.format(value)}; write for example '97 %' or '0.97'."
        )
    return Limit(metric, value, upper)


def relative(text: str) -> bool:
    """Whether a limit is written relative to a uniform allocation: ``"weights <= 60% of w8a8"``. Reading it takes the record's tables."""
    return _RELATIVE.search(text) is not None


def _of_uniform(text: str, budget: str, metric: Metric, record: SweepRecord) -> float:
    table, choices = record.tables.get(metric.key), record.choices
    if table is None or choices is None:
        have = "the run has no table of that cost" if table is None else "the record does not say which widths each layer may take"
        raise UsageError(f"'{text}': what the uniform allocation costs is not known, as {have}; write the limit as a quantity.")
    return parse_constraint(budget, [table], choices).limit


def _example(score: Metric) -> str:
    return "97 %" if score.unit == "fraction" else "1"


def budget_of(trial: TrialResult) -> tuple[str, ...]:
    """The texts of the sweep's budget that a trial ran under. ``x 0.8`` at the end of one says that the trial aimed below its limit."""
    return tuple(_TIGHTENED.sub("", str(text)) for text in trial.knobs.get("budget") or ())


def trial_limits(record: SweepRecord, trial: TrialResult) -> tuple[Limit, ...] | None:
    """The limits that a trial was made under, tightened where it aimed below its budget's; None where the record cannot tell."""
    limits, texts = budget_limits(record, budget_of(trial)), [str(text) for text in trial.knobs.get("budget") or ()]
    if limits is None or list(budget_of(trial)) == texts:
        return limits
    factor = trial.knobs.get("tightness")
    return tuple(replace(x, value=x.value * factor) for x in limits) if isinstance(factor, int | float) else None


def budget_limits(record: SweepRecord, budget: Sequence[str]) -> tuple[Limit, ...] | None:
    """The limits of one budget of the sweep, in stored units.

    As resolved in the record; a text that the record did not resolve is read here if it is absolute. A limit relative to a uniform
    allocation (``weights <= 50% of w8a8``) can still be read back from a trial under the budget, as cost plus slack. None where all
    of this fails.
    """
    found = []
    for text in budget:
        limit = _resolved(record, text) or _absolute(record, text) or _read_back(record, budget, text)
        if limit is None:
            return None
        found.append(limit)
    return tuple(found)


def limited_metric(record: SweepRecord, text: str) -> Metric | None:
    """What a limit is on; None where that cannot be read."""
    match = _TEXT.match(text)
    try:
        return record.metric(match["metric"]) if match else None
    except UsageError:
        return None


def _resolved(record: SweepRecord, text: str) -> Limit | None:
    metric = limited_metric(record, text)
    return Limit(metric, record.limits[text]) if metric and text in record.limits else None


def _absolute(record: SweepRecord, text: str) -> Limit | None:
    try:
        return parse_limit(text, record, upper=True)
    except UsageError:
        return None


def _read_back(record: SweepRecord, budget: Sequence[str], text: str) -> Limit | None:
    metric = limited_metric(record, text)
    if metric is None:
        return None
    for trial in record.trials:
        cost = trial.measures.get(metric.key, math.nan)
        if list(trial.knobs.get("budget") or ()) != list(budget) or not math.isfinite(cost):  # under the whole limit, not a tightened one
            continue
        rooms = [room for said, room in trial.slack.items() if said.startswith(f"{metric.key} <= ") and math.isfinite(room)]
        if len(rooms) == 1:  # two limits on one metric cannot be told apart by name: try the next trial, then give up
            return Limit(metric, cost + rooms[0])
    return None
