"""Whether the numbers of a trial can be true: a record that reads well may still say what nothing measures."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import UsageError
from .metrics import Metric

if TYPE_CHECKING:
    from .trial_result import TrialResult

_ROUNDING, _WRITTEN = 1e-9, 1e-3  # relative errors: of sums, and of a limit as it is written, to four digits


def number(value: Any, what: str) -> float:
    """A number from JSON.

    Raises:
        ValueError: text, true or false, NaN, or more than a float holds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{what} must be a number, got {str(value)[:40]!r}")
    try:
        found = float(value)
    except OverflowError:
        found = math.nan
    if math.isnan(found):
        raise ValueError(f"{what} must be a number, got {str(value)[:40]}")
    return found


def nonsense(trial: TrialResult, score: Metric, costs: Sequence[Metric]) -> str:
    """Why the numbers of a trial cannot be true; empty where nothing speaks against them. ``score``, ``costs``: the run's metrics."""
    measures = trial.measures
    if not (trial.seconds >= 0 and math.isfinite(trial.seconds)):
        return f"it took {trial.seconds} s"
    for metric in costs:
        cost = measures.get(metric.key, 0.0)
        if not cost >= 0:
            return f"{metric.key} is {metric.format(cost)}, and a cost is not below 0"
    wrong = next((key for key, off in trial.errors.items() if off is not None and not (off >= 0 and math.isfinite(off))), None)
    if wrong is not None:
        return f"{wrong} may be off by {trial.errors[wrong]}, which is no error"
    if trial.state != "complete":
        return ""
    return _of_score(trial, score) or _of_slack(trial, costs)


def impossible(score: Metric, costs: Sequence[Metric], reference: Mapping[str, Any]) -> str:
    """Why what a record says of its metrics and of the FP32 network cannot be true; empty where it can.

    Raises:
        ValueError: what shall be a number is none.
    """
    turned = next((metric for metric in (score, *costs) if metric.better not in ("lower", "higher")), None)
    if turned is not None:
        return f"{turned.key} is better when {str(turned.better)[:40]!r}"
    for part in ("validation", "test"):
        said = "" if reference.get(part) is None else unlikely(score, number(reference[part], part))
        if said or number(reference.get(f"{part}_samples", 1), f"{part}_samples") < 1:
            return f"of the FP32 network on the {part} split, {said or 'there are no samples'}"
    return ""


def unlikely(score: Metric, value: float) -> str:
    """Why a score cannot be true; empty where it can."""
    if not math.isfinite(value):
        return f"{score.key} is {value}"
    if score.unit == "fraction" and (value > 1 if score.better == "higher" else value < 0):  # errors may exceed 100 %, R2 fall below 0
        bound = "at most 100 %" if score.better == "higher" else "at least 0 %"
        return f"{score.key} is {score.format(value)}, and a fraction of which {score.better} is better is {bound}"
    return ""


def _of_score(trial: TrialResult, score: Metric) -> str:
    value = trial.measures.get(score.key)
    if value is None:
        return ""
    said = unlikely(score, value) or ("" if trial.test is None else unlikely(score, trial.test))
    if said:
        return said
    if trial.samples < 1:
        return f"its score stands on {trial.samples} samples"
    if trial.interval is not None:
        low, high = trial.interval
        room = _ROUNDING * max(1.0, abs(value))
        if not low - room <= value <= high + room:
            return f"its interval {score.format(low)} to {score.format(high)} does not hold its score of {score.format(value)}"
    return ""


def _of_slack(trial: TrialResult, costs: Sequence[Metric]) -> str:
    for text, room in trial.slack.items():
        metric = next((m for m in costs if text.startswith(f"{m.key} <= ")), None)
        limit = None if metric is None else _limit(metric, text)
        if metric is None or limit is None or metric.key not in trial.measures:
            continue
        cost = trial.measures[metric.key]
        if math.isfinite(cost) and not abs(limit - cost - room) <= _WRITTEN * max(limit, cost):
            return f"the room left under {text} is not what {metric.key} of {metric.format(cost)} leaves"
    return ""


@functools.cache
def _limit(metric: Metric, text: str) -> float | None:
    """The limit in a text such as ``latency@t4 <= 3 ms``; None where it is none."""
    try:
        return metric.parse(text.partition(" <= ")[2])
    except UsageError:
        return None
