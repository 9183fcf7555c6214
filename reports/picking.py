"""Picking the point to deploy: the best measured one inside all limits, its neighbours, and the reason in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InfeasibleBudget, UsageError
from ..metrics import Metric
from ..pareto import ParetoFront
from ..records import SweepRecord, TrialResult
from .intervals import interval
from .limits import Limit, inside, parse_limit
from .points import Point, measured, ranked
from .wording import gap_text, overlap_text, score_text, shown


@dataclass(frozen=True)
class Pick:
    """A choice.

    Attributes:
        trial: the best measured point inside the limits, by validation score; ties go to the cheaper on the first limited cost.
        limits: what it was held against. inside: how many measured points meet them. measured: of how many.
        cost: the metric whose front the neighbours lie on: the first limited cost, else the run's first.
        cheaper: the next cheaper point of that front. better: the next better one; it is outside some limit.
        runner_up: the second best inside the limits that has other widths.
        explanation: the paragraph.
    """

    trial: TrialResult
    limits: tuple[Limit, ...]
    inside: int
    measured: int
    cost: Metric | None
    cheaper: TrialResult | None
    better: TrialResult | None
    runner_up: TrialResult | None
    explanation: str


def pick(record: SweepRecord, maxima: Sequence[str] = (), minima: Sequence[str] = ()) -> Pick:
    """Chooses from the measured points of a run.

    Args:
        record: the run.
        maxima: upper limits, ``"latency@t4 = 3 ms"`` or ``"latency <= 3 ms"``.
        minima: lower limits, ``"accuracy = 97 %"`` or ``"accuracy >= 97 %"``.

    Raises:
        UsageError: a limit that cannot be read, or a run without measured points.
        InfeasibleBudget: no measured point is inside; the message names the nearest reachable value of each limit.
    """
    limits = (*(parse_limit(t, record, upper=True) for t in maxima), *(parse_limit(t, record, upper=False) for t in minima))
    points = measured(record)
    if not points:
        failed = sum(t.state == "failed" for t in record.trials)
        raise UsageError(
            f"the run has no measured point to pick from: of {len(record.trials)} trials {failed} failed and "
            f"{sum(t.state == 'interrupted' for t in record.trials)} were interrupted; see the errors in the report, then run more."
        )
    limited = [x.metric for x in limits if x.metric in record.costs]
    costs = [*limited[:1], *record.costs]
    found = ranked(record, (t for t in points if inside(t, limits)), costs[:1])
    if not found:
        raise _nothing_inside(points, limits)
    best, cost = found[0], costs[0] if costs else None
    others = [t for t in found[1:] if t.allocation is None or t.allocation != best.allocation]
    cheaper, better = _neighbours(record, points, best, cost)
    runner_up = others[0] if others else None
    text = _explain(record, best, limits, len(found), len(points), cost, cheaper, better, runner_up)
    return Pick(best, limits, len(found), len(points), cost, cheaper, better, runner_up, text)


def _neighbours(
    record: SweepRecord, points: Sequence[TrialResult], best: TrialResult, cost: Metric | None
) -> tuple[TrialResult | None, TrialResult | None]:
    """Next cheaper and next better on the front of ``cost``. The pick itself need not lie on it: other limits may have decided."""
    if cost is None:
        return None, None
    front = [t for t in ParetoFront.of(points, (cost, record.score)).trials if t.number != best.number]
    price = cost.minimised(best.measures.get(cost.key, math.inf))
    score = record.score.minimised(best.measures[record.score.key])
    cheaper = [t for t in front if cost.minimised(t.measures[cost.key]) < price]
    better = [t for t in front if record.score.minimised(t.measures[record.score.key]) < score]
    return (cheaper[-1] if cheaper else None), (better[0] if better else None)  # the front is ordered from the cheapest


def _explain(
    record: SweepRecord,
    best: TrialResult,
    limits: Sequence[Limit],
    count: int,
    total: int,
    cost: Metric | None,
    cheaper: TrialResult | None,
    better: TrialResult | None,
    runner_up: TrialResult | None,
) -> str:
    score = record.score
    point = Point.of(record, best)
    rules = " and ".join(map(str, limits)) or "no limits"
    text = [f"{point.name}: of {total} measured points {count} meet {rules}, and it has the best validation {score.name},"]
    text.append(f"{score_text(score, point.score, point.interval)}{'' if best.test is None else f', test {shown(score, best.test)}'}.")
    reference = record.reference.get("validation")
    if reference is not None:
        sure = overlap_text(point.interval, interval(score, reference, record.reference.get("validation_samples")))
        text.append(f"That is {gap_text(score, point.score, reference)} FP32{sure}.")
    for limit in limits:
        used = best.measures[limit.metric.key]
        text.append(f"{limit.metric.key} is {shown(limit.metric, used)}, {gap_text(limit.metric, used, limit.value)} the limit.")
    text.append(_compare(record, "The runner-up inside the limits", best, runner_up, cost) or "No other allocation is inside the limits.")
    text.append(_compare(record, "The next cheaper point of the front", best, cheaper, cost))
    outside = [] if better is None else [str(x) for x in limits if not x.holds(better.measures.get(x.metric.key, math.nan))]
    text.append(
        _compare(
            record, "The next better point of the front", best, better, cost, f"; it breaks {' and '.join(outside)}" if outside else ""
        )
    )
    text.extend(f"Note: {said}." for said in best.notes)
    return " ".join(t for t in text if t)


def _compare(record: SweepRecord, what: str, best: TrialResult, other: TrialResult | None, cost: Metric | None, more: str = "") -> str:
    if other is None:
        return ""
    here, there = Point.of(record, best), Point.of(record, other)
    text = f"{what}, {there.name}, is {gap_text(record.score, there.score, here.score)} it{overlap_text(here.interval, there.interval)}"
    text += f" at {shown(cost, there.costs.get(cost.key))} {cost.key}" if cost else ""
    return f"{text}{more}."


def _nothing_inside(points: Sequence[TrialResult], limits: Sequence[Limit]) -> InfeasibleBudget:
    """Names for each limit the nearest value that is reached where the others hold, or, failing that, reached at all."""
    lines, reached = [], []
    for limit in limits:
        others = [x for x in limits if x is not limit]
        alone, alone_at = _nearest(points, limit)
        given, given_at = _nearest([t for t in points if inside(t, others)], limit)
        reached.append((alone, given))
        if not math.isfinite(alone):
            lines.append(f"{limit}: no measured point has a finite {limit.metric.key}")
        elif not limit.holds(alone):
            lines.append(f"{limit}: the nearest of all points is {shown(limit.metric, alone)} (#{alone_at})")
        elif math.isfinite(given):
            lines.append(f"{limit}: where the other limits hold, the nearest is {shown(limit.metric, given)} (#{given_at})")
        else:
            lines.append(f"{limit}: met by itself (#{alone_at} has {shown(limit.metric, alone)}), but no point meets all the other limits")
    first = next((i for i, (alone, _) in enumerate(reached) if not limits[i].holds(alone)), None)
    metric = limits[first or 0]
    rules = " and ".join(map(str, limits))
    message = f"no measured point of {len(points)} meets {rules}. {'. '.join(lines)}. Loosen a limit, or measure more points."
    value = reached[first][0] if first is not None else reached[0][1]
    other = limits[1].metric.key if first is None and len(limits) == 2 else None
    return InfeasibleBudget(message, metric.metric.key, metric.value, value, other)


def _nearest(points: Sequence[TrialResult], limit: Limit) -> tuple[float, int]:
    """The value nearest to the inside of a limit (the smallest cost, the highest score), and the trial that has it."""
    key, sign = limit.metric.key, 1.0 if limit.upper else -1.0
    values = [(sign * t.measures[key], t.number) for t in points if math.isfinite(t.measures.get(key, math.nan))]
    if not values:
        return math.inf, -1
    value, number = min(values)
    return sign * value, number
