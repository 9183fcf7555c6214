"""Per budget the best measured point: score, interval, test score, costs, room left, and the limit that is tightest."""

from __future__ import annotations

from dataclasses import dataclass

from ...metrics import Metric
from ...records import SweepRecord
from ..budgets import BudgetResult, budget_results
from ..markup import note, paragraph, table
from ..section import Fragment
from ..wording import range_text, shown


@dataclass(frozen=True)
class BudgetFacts:
    """All budgets, in the order of the sweep."""

    score: Metric
    costs: tuple[Metric, ...]
    budgets: tuple[BudgetResult, ...]


class Budgets:
    """One row per budget."""

    title = "Budgets"

    def facts(self, record: SweepRecord) -> BudgetFacts:
        """The best measured point inside each."""
        return BudgetFacts(record.score, record.costs, budget_results(record))

    def draw(self, facts: BudgetFacts) -> Fragment:
        """A table of results and one of costs."""
        if not facts.budgets:
            return Fragment((paragraph("The sweep had no budgets."),))
        score = facts.score
        intervals = any(b.best and b.best.interval for b in facts.budgets)
        # what a budget buys first: on a narrow page the last columns scroll
        head = ["budget", "best point", "limits are", f"validation {score.name}"]
        head += ["95 % interval"] if intervals else []
        head += [f"test {score.name}", "points inside", "room left", "tightest limit"]
        rows = []
        for b in facts.budgets:
            row = [b.name, b.best.name if b.best else _why(b), b.worst or "–", shown(score, b.best.score if b.best else None)]
            row += [(range_text(score, b.best.interval) if b.best else "") or "–"] if intervals else []
            rows.append([*row, shown(score, b.best.test if b.best else None), f"{b.inside:,}", _room(b), _tightest(b)])
        parts = [table(head, rows, words=3)]
        if any(b.best for b in facts.budgets):
            costs = [[b.name, b.best.name, *(shown(m, b.best.costs[m.key]) for m in facts.costs)] for b in facts.budgets if b.best]
            parts.append(table(["budget", "best point", *(m.key for m in facts.costs)], costs, words=2))
        parts.append(
            note(
                "Best: highest" if score.better == "higher" else "Best: lowest",
                f"validation {score.name} of all measured points inside, whichever budget they were made for; ties go to the cheaper on "
                "the first limited metric. Tightest: the limit with the least room left as a share of it. At risk: a cost may be off by "
                "more than the room that it leaves. Error unknown: an estimate that no whole network was measured against.",
            )
        )
        return Fragment(tuple(parts))


def _why(budget: BudgetResult) -> str:
    if budget.limits is None:
        return "limit not resolved"
    return "none inside" if budget.tried else "none inside; no trial ran under it"


def _room(budget: BudgetResult) -> str:
    if not budget.best or not budget.limits:
        return "–"
    return "; ".join(
        f"{shown(limit.metric, room)} ({room / limit.value * 100:.1f} %)" if limit.value else shown(limit.metric, room)
        for limit, room in zip(budget.limits, budget.slack, strict=True)
    )


def _tightest(budget: BudgetResult) -> str:
    return str(budget.limits[budget.tightest]) if budget.limits and budget.tightest is not None else "–"
