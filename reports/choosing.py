"""Rules that choose one of the points inside the limits: the best score, the knee of a front, or metrics in order of importance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError
from ..metrics import Metric
from ..pareto import ParetoFront
from ..records import SweepRecord, TrialResult
from .claims import contradiction
from .knees import KNEE_METHOD, LEAST, chord_distances
from .points import Point, ranked
from .wording import chance, count, gap_text, shown, size_text


@dataclass(frozen=True)
class Choice:
    """What a rule chose.

    Attributes:
        order: the points, the chosen one first; the next with other widths is the runner-up.
        rule: ``"best"``, ``"knee"`` or ``"lexicographic"``.
        clause: continues "..., and it": why it is the one.
        cost: the metric that it was weighed against.
        details: sentences on how the rule came to it.
    """

    order: tuple[TrialResult, ...]
    rule: str
    clause: str
    cost: Metric | None
    details: tuple[str, ...] = ()


def best_score(record: SweepRecord, points: Sequence[TrialResult], cost: Metric | None) -> Choice:
    """The best validation score; ties go to the cheaper on ``cost``."""
    found = ranked(record, points, [cost] if cost else [])
    return Choice(tuple(found), "best", f"has the best validation {record.score.name},", cost)


def knee(record: SweepRecord, points: Sequence[TrialResult], name: str) -> Choice:
    """The knee of the front of the score against one cost.

    Raises:
        UsageError: fewer than three points on the front, or none inside of the straight line between its ends.
        UnknownName: no such metric.
    """
    cost = record.metric(name)
    if cost == record.score:
        raise UsageError(f"a knee is of the front of {record.score.key} against a cost; give one of {_costs(record)}.")
    front = ParetoFront.of([t for t in points if math.isfinite(t.measures.get(cost.key, math.nan))], (cost, record.score)).trials
    if len(front) < 3:
        raise UsageError(
            f"a knee needs three points on the front of {record.score.key} against {cost.key}; inside the limits there are {len(front)}. "
            "Loosen a limit, measure more points, or leave --knee out."
        )
    distances = chord_distances(
        [cost.minimised(t.measures[cost.key]) for t in front], [record.score.minimised(t.measures[record.score.key]) for t in front]
    )
    order = sorted(range(len(front)), key=lambda i: (-distances[i], i))  # of equal distances the cheaper: the front begins there
    if distances[order[0]] <= LEAST:
        raise UsageError(
            f"the front of {record.score.key} against {cost.key} has no knee: none of its {len(front)} points lies inside of the straight "
            f"line between its ends, #{front[0].number} and #{front[-1].number}. Give a limit instead."
        )
    ends = f"#{front[0].number} and #{front[-1].number}"
    said = f"Knee by {KNEE_METHOD}: {distances[order[0]]:.2f} of 1 (the front has {count(len(front), 'point')}; its ends are {ends})."
    clause = f"is the knee of the front of {record.score.key} against {cost.key}, with {record.score.name}"
    return Choice(tuple(front[i] for i in order), "knee", clause, cost, (said,))


def lexicographic(record: SweepRecord, points: Sequence[TrialResult], names: Sequence[str], tolerance: str | None) -> Choice:
    """Metrics in order of importance: each one keeps the points that are as good as its best, and the next decides among those.

    As good: within ``tolerance`` of the best, for the first metric; without one, a score that the best may beat by chance alone
    (:func:`~hwdse.reports.wording.chance`), and a cost that is equal. The last metric keeps only its best.

    Raises:
        UsageError: a metric twice, or a tolerance that the first one cannot have. UnknownName: no such metric.
    """
    metrics = [record.metric(name) for name in names]
    twice = sorted({m.key for m in metrics if metrics.count(m) > 1})
    if not metrics or twice:
        raise UsageError(f"--lexicographic takes each metric once, the most important first; got {', '.join(twice) or 'none'}.")
    room = None if tolerance is None else metrics[0].parse(tolerance)
    if room is not None and room < 0:
        raise UsageError(f"a tolerance is 0 or more, got '{tolerance}'.")
    left = [t for t in points if all(math.isfinite(t.measures.get(m.key, math.nan)) for m in metrics)]
    if not left:
        raise UsageError(f"no point inside the limits has all of {', '.join(m.key for m in metrics)}: its device cannot run any of them.")
    said = [] if len(left) == len(points) else [f"{count(len(points) - len(left), 'point')} without one of the metrics took no part."]
    behind: list[TrialResult] = []
    for place, metric in enumerate(metrics):
        left = sorted(left, key=lambda t, m=metric: (m.minimised(t.measures[m.key]), _rest(record, t)))  # type: ignore[misc]  # bound now
        best = left[0]
        last = place == len(metrics) - 1
        kept = [t for t in left if t is best or (not last and _as_good(record, metric, t, best, room if place == 0 else None))]
        rule = _rule(record, metric, best, room if place == 0 else None)
        said.append(
            f"By {metric.key}, #{best.number} has the best of {len(left)}, {shown(metric, best.measures[metric.key])}"
            + ("." if last else f"; {count(len(kept), 'point is', 'points are')} as good ({rule}).")
        )
        behind = [t for t in left if t not in kept] + behind
        left = kept
        if len(left) == 1:
            if not last:
                said.append(f"So {', '.join(m.key for m in metrics[place + 1 :])} had nothing to decide.")
            break
    cost = next((m for m in metrics if m != record.score), None)
    order = ", then ".join(m.key for m in metrics)
    return Choice((*left, *behind), "lexicographic", f"comes first by {order}, with {record.score.name}", cost, tuple(said))


def _rest(record: SweepRecord, trial: TrialResult) -> tuple[float, int]:
    """Equal ones: the better score, then the earlier."""
    return record.score.minimised(trial.measures[record.score.key]), trial.number


def _as_good(record: SweepRecord, metric: Metric, trial: TrialResult, best: TrialResult, room: float | None) -> bool:
    value, top = trial.measures[metric.key], best.measures[metric.key]
    if room is not None:
        return metric.minimised(value) - metric.minimised(top) <= room + 1e-12 * abs(top)
    if metric == record.score:
        near = chance(Point.of(record, trial), Point.of(record, best))
        if near is not None:
            return near
    return math.isclose(value, top, rel_tol=1e-12, abs_tol=0.0)


def _rule(record: SweepRecord, metric: Metric, best: TrialResult, room: float | None) -> str:
    if room is not None:
        return f"within {size_text(metric, room)}"
    if metric != record.score:
        return "equal: a cost has no noise"
    top = Point.of(record, best)
    if top.scores is not None:
        return "within chance of the best, by the paired test at 5 % on the same validation samples"
    return (
        "within chance of the best by their 95 % intervals"
        if top.interval
        else f"equal: how sure a {metric.name} is, is not known; --tolerance says it"
    )


def given_up(record: SweepRecord, chosen: TrialResult, points: Sequence[TrialResult], cost: Metric | None) -> str:
    """What the choice costs against the best score inside the limits, and what it saves; empty where it is that one."""
    best = ranked(record, points)[0]
    score = record.score
    if score.minimised(best.measures[score.key]) >= score.minimised(chosen.measures[score.key]):
        return ""
    here, there = chosen.measures, best.measures
    said = f"Given up against the best {score.name} inside the limits, {Point.of(record, best).name}: it is"
    said += f" {gap_text(score, here[score.key], there[score.key])} its {shown(score, there[score.key])}"
    against = contradiction(score, Point.of(record, chosen), Point.of(record, best))
    said += f" on validation, but {against[0]} it on the test split" if against else ""
    if cost is None or not math.isfinite(there.get(cost.key, math.nan)):
        return f"{said}."
    return f"{said}, and its {cost.key} is {gap_text(cost, here[cost.key], there[cost.key])} that one's {shown(cost, there[cost.key])}."


def _costs(record: SweepRecord) -> str:
    return ", ".join(m.key for m in record.costs)
