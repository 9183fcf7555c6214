"""What each budget of a sweep came to: its limits, the best measured points inside, the room left."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from ..margins import STANDINGS, Standing, standing
from ..records import SweepRecord
from .limits import Limit, budget_limits, budget_of, inside
from .points import BASELINE, Point, allocator, measured, ranked


@dataclass(frozen=True)
class BudgetResult:
    """One budget.

    Attributes:
        texts: as written. limits: in stored units; None where a relative limit was never resolved.
        inside: how many measured points meet it. tried: how many trials ran under it.
        best: the best by validation score, ties to the cheaper on the first limited metric. uniform: the best uniform allocation inside.
        reason: most frequent error of the trials under it, where none is inside.
        slack: room left by the best, per limit. tightest: index of the limit with the least room left as a share of the limit.
        standings: per limit, whether the room is more than the cost may be off.
        gained: score won (stored unit) over the best that any tighter budget on the same metrics reached. over: the texts of that
            budget. rival: its best point.
    """

    texts: tuple[str, ...]
    limits: tuple[Limit, ...] | None
    tried: int
    inside: int = 0
    best: Point | None = None
    uniform: Point | None = None
    slack: tuple[float, ...] = ()
    standings: tuple[Standing, ...] = ()
    tightest: int | None = None
    gained: float | None = None
    over: tuple[str, ...] = ()
    rival: Point | None = None
    reason: str = ""

    @property
    def worst(self) -> Standing | None:
        """How the best stands to the limit that it is least sure to meet; None where nothing is inside."""
        return min(self.standings, key=STANDINGS.index, default=None)

    @property
    def name(self) -> str:
        """Its texts in one line."""
        return ", ".join(self.texts) or "no limit"


def budget_result(record: SweepRecord, texts: tuple[str, ...]) -> BudgetResult:
    """Holds every measured point, whatever budget it was made for, against one budget."""
    tried = sum(budget_of(t) == texts for t in record.trials)
    limits = budget_limits(record, texts)
    if limits is None:
        return BudgetResult(texts, None, tried)
    found = ranked(record, (t for t in measured(record) if inside(t, limits)), [x.metric for x in limits[:1]])
    if not found:
        return BudgetResult(texts, limits, tried, reason=_reason(record, texts))
    best = Point.of(record, found[0])
    uniform = next((Point.of(record, t) for t in found if allocator(t) == BASELINE), None)
    slack = tuple(max(limit.slack(best.costs.get(limit.metric.key, best.score)), 0.0) for limit in limits)
    shares = [room / limit.value if limit.value else 0.0 for room, limit in zip(slack, limits, strict=True)]
    tightest = min(range(len(limits)), key=lambda i: shares[i]) if limits else None
    errors = [found[0].errors.get(limit.metric.key, None if limit.metric.on else 0.0) for limit in limits]
    standings = tuple(standing(room, error) for room, error in zip(slack, errors, strict=True))
    return BudgetResult(texts, limits, tried, len(found), best, uniform, slack, standings, tightest)


def _reason(record: SweepRecord, texts: tuple[str, ...]) -> str:
    errors = Counter(t.error for t in record.trials if t.state == "failed" and t.error and budget_of(t) == texts)
    return errors.most_common(1)[0][0] if errors else ""


def budget_results(record: SweepRecord) -> tuple[BudgetResult, ...]:
    """Every budget of the sweep, each compared with the best that a tighter one on the same metrics reached."""
    results = [budget_result(record, texts) for texts in record.budgets]
    return tuple(_compared(record, result, results) for result in results)


def _compared(record: SweepRecord, result: BudgetResult, results: list[BudgetResult]) -> BudgetResult:
    if result.best is None or not result.limits:
        return result
    mine = _values(result)
    found: list[tuple[float, BudgetResult]] = []
    for other in results:
        theirs = _values(other)
        if other.best and theirs.keys() == mine.keys() and theirs != mine and all(theirs[k] <= mine[k] for k in mine):
            found.append((record.score.minimised(other.best.score), other))
    if not found:
        return result
    reached, tighter = min(found, key=lambda pair: pair[0])
    return replace(result, gained=reached - record.score.minimised(result.best.score), over=tighter.texts, rival=tighter.best)


def _values(result: BudgetResult) -> dict[str, float]:
    return {limit.metric.key: limit.value for limit in result.limits or ()}
