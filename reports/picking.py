"""Picking the point to deploy: the best measured one inside all limits, its neighbours, and the reason in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError
from ..metrics import Metric
from ..pareto import ParetoFront
from ..records import SweepRecord, TrialResult
from .choosing import Choice, best_score, given_up, knee, lexicographic
from .claims import claim
from .confidence import Sure, parse_confidence, parse_sure, sure_text, unsure
from .limits import Limit, inside, parse_limit
from .out_of_reach import nothing_inside
from .points import Point, measured
from .wording import count, score_text, shown, size_text


@dataclass(frozen=True)
class Pick:
    """A choice.

    Attributes:
        trial: the chosen point inside the limits: by default of the best validation score, ties to the cheaper on the first limited cost.
        limits: what it was held against, confidences among them. inside: how many measured points meet them. measured: of how many.
        cost: the metric whose front the neighbours lie on: the one that the rule weighed, the first limited cost, else the run's first.
        cheaper: the next cheaper point of that front. better: the next better one; it is outside some limit, or the rule passed it over.
        runner_up: the second by the rule that has other widths.
        rule: ``"best"``, ``"knee"`` or ``"lexicographic"``.
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
    rule: str
    explanation: str


def pick(
    record: SweepRecord,
    maxima: Sequence[str] = (),
    minima: Sequence[str] = (),
    *,
    sure: Sequence[str] = (),
    confidence: str | float | None = None,
    knee_of: str | None = None,
    order: Sequence[str] = (),
    tolerance: str | None = None,
) -> Pick:
    """Chooses from the measured points of a run.

    Args:
        record: the run.
        maxima: upper limits, ``"latency@t4 = 3 ms"`` or ``"latency <= 3 ms"``.
        minima: lower limits, ``"accuracy = 97 %"`` or ``"accuracy >= 97 %"``.
        sure: lower limits of the score that its one-sided confidence bound must reach.
        confidence: of ``sure``, ``"95 %"`` or 0.95 (the default).
        knee_of: a cost: the knee of the front of the score against it, in place of the best score.
        order: metrics, the most important first, in place of the best score; see :func:`~hwdse.reports.choosing.lexicographic`.
        tolerance: what counts as equal by the first of ``order``, in its unit.

    Raises:
        UsageError: a limit that cannot be read, options that cannot go together, or a run without measured points.
        InfeasibleBudget: no measured point is inside; the message names the nearest reachable value of each limit.
    """
    if knee_of is not None and order:
        raise UsageError("--knee and --lexicographic are two rules to choose by: give one of them.")
    if tolerance is not None and not order:
        raise UsageError("--tolerance says what counts as equal in --lexicographic: give that too, or leave it out.")
    if confidence is not None and not sure:
        raise UsageError('--confidence says how sure --sure must be: give that too, as --sure "accuracy >= 97 %".')
    points = measured(record)
    certain = 0.95 if confidence is None else parse_confidence(str(confidence))
    limits = (
        *(parse_limit(t, record, upper=True) for t in maxima),
        *(parse_limit(t, record, upper=False) for t in minima),
        *(parse_sure(t, record, certain) for t in sure),
    )
    if not points:
        failed = sum(t.state == "failed" for t in record.trials)
        raise UsageError(
            f"the run has no measured point to pick from: of {len(record.trials)} trials {failed} failed and "
            f"{sum(t.state == 'interrupted' for t in record.trials)} were interrupted; see the errors in the report, then run more."
        )
    limited = [x.metric for x in limits if x.metric in record.costs]
    first = next(iter([*limited, *record.costs]), None)
    found = [t for t in points if inside(t, limits)]
    for name in (*order, *([] if knee_of is None else [knee_of])):
        record.metric(name)  # an unknown name is said before a limit that nothing meets
    if not found:
        raise nothing_inside(points, limits)
    if knee_of is not None:
        choice = knee(record, found, knee_of)
    else:
        choice = lexicographic(record, found, order, tolerance) if order else best_score(record, found, first)
    best, cost = choice.order[0], choice.cost or first
    runner_up = next((t for t in choice.order[1:] if t.allocation is None or t.allocation != best.allocation), None)
    cheaper, better = _neighbours(record, points, best, cost)
    text = _explain(record, choice, limits, found, points, cost, cheaper, better, runner_up)
    return Pick(best, limits, len(found), len(points), cost, cheaper, better, runner_up, choice.rule, text)


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
    choice: Choice,
    limits: Sequence[Limit],
    found: Sequence[TrialResult],
    points: Sequence[TrialResult],
    cost: Metric | None,
    cheaper: TrialResult | None,
    better: TrialResult | None,
    runner_up: TrialResult | None,
) -> str:
    score, best = record.score, choice.order[0]
    point = Point.of(record, best)
    rules = " and ".join(map(str, limits))
    those = f"{len(found)} meet {rules}, and" if limits else "(no limits),"
    text = [f"{point.name}: of {count(len(points), 'measured point')} {those} it {choice.clause}"]
    text.append(f"{score_text(score, point.score, point.interval)}{'' if best.test is None else f', test {shown(score, best.test)}'}.")
    reference = Point.fp32(record)
    if reference is not None:
        text.append(f"That is {claim(score, point, reference, 'FP32')}.")
    text.extend(choice.details)
    for limit in limits:
        if isinstance(limit, Sure):
            text += [sure_text(limit, best, len(points)), unsure(limit, points)]
            continue
        text.append(limit_text(limit, best.measures[limit.metric.key]))
    text.append(given_up(record, best, found, cost))
    runner = "The runner-up inside the limits" if limits else "The runner-up"
    none = "No other allocation is inside the limits." if limits else "No other allocation was measured."
    text.append(_compare(record, runner, best, runner_up, cost) or none)
    for what, other in (("cheaper", cheaper), ("better", better)):
        outside = [] if other is None else [str(x) for x in limits if not x.holds(x.found(other))]
        breaks = f"; it breaks {' and '.join(outside)}" if outside else ""
        text.append(_compare(record, f"The next {what} point of the front", best, other, cost, breaks))
    text.extend(f"Note: {said}." for said in best.notes)
    return " ".join(t for t in text if t)


def limit_text(limit: Limit, found: float) -> str:
    """How a value that is inside a limit stands to it: the room under an upper one, or how far above a lower one it is."""
    metric, distance = limit.metric, abs(found - limit.value)
    end = f"{'limit' if limit.upper else 'floor'} of {shown(metric, limit.value)}"
    said = f"{metric.key} is {shown(metric, found)}"
    if math.isclose(found, limit.value, rel_tol=1e-12, abs_tol=1e-300):  # rounding errors of sums are no difference
        return f"{said}, exactly the {end}."
    size = size_text(metric, distance)
    return f"{said}, {f'with {size} of room left under' if limit.upper else f'{size} above'} the {end}."


def _compare(record: SweepRecord, what: str, best: TrialResult, other: TrialResult | None, cost: Metric | None, more: str = "") -> str:
    if other is None:
        return ""
    here, there = Point.of(record, best), Point.of(record, other)
    text = f"{what}, {there.name}, is {claim(record.score, there, here, 'it')}"
    text += f" at {shown(cost, there.costs.get(cost.key))} {cost.key}" if cost else ""
    return f"{text}{more}."
