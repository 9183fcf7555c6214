"""Measured score against each cost: the front, what it dominates, the FP32 line, the budgets' limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ...metrics import Metric
from ...pareto import ParetoFront
from ...records import SweepRecord, TrialResult
from ..budgets import budget_results
from ..fronts_figure import front_figure
from ..markup import folded, note, paragraph, table
from ..points import Point, measured
from ..section import Drawing, Fragment
from ..wording import cell, column, count, range_text, shown


@dataclass(frozen=True)
class Panel:
    """One front.

    Attributes:
        front: from the cheapest to the best. dominated: all other points with a finite cost, in number order.
        unsupported: measured points that the accelerator cannot run.
        limits: the sweep's limits on this metric, ascending. far: those too far from the points to be drawn
            with them. low: lower end of the score axis; None shows everything.
        below: points under that end.
        alike: an earlier cost in proportion to this one at every point: the same front in another unit.
    """

    cost: Metric
    front: tuple[Point, ...]
    dominated: tuple[Point, ...]
    unsupported: int
    limits: tuple[float, ...] = ()
    far: tuple[float, ...] = ()
    low: float | None = None
    below: int = 0
    alike: Metric | None = None


@dataclass(frozen=True)
class FrontFacts:
    """The panels, in the order of the record's costs. ``allocators``: all that have a point, for one legend everywhere."""

    score: Metric
    reference: float | None
    panels: tuple[Panel, ...]
    allocators: tuple[str, ...]


class Fronts:
    """One figure and one table per cost metric."""

    title = "Pareto fronts"

    def facts(self, record: SweepRecord) -> FrontFacts:
        """Fronts of all measured trials, whatever budget they ran under."""
        done = measured(record)
        limits: dict[str, set[float]] = {}
        for budget in budget_results(record):
            for limit in budget.limits or ():
                limits.setdefault(limit.metric.key, set()).add(limit.value)
        reference = record.reference.get("validation")
        low = _cut([record.score.minimised(t.measures[record.score.key]) for t in done])
        panels: list[Panel] = []
        for cost in record.costs:
            front = ParetoFront.of(done, (cost, record.score))
            dominated = tuple(Point.of(record, t) for t in front.dominated)
            points = (*(Point.of(record, t) for t in front.trials), *dominated)
            far = _far(limits.get(cost.key, set()), [p.costs[cost.key] for p in points])
            panels.append(
                Panel(
                    cost=cost,
                    front=points[: len(front.trials)],
                    dominated=dominated,
                    unsupported=sum(math.isinf(t.measures.get(cost.key, math.nan)) for t in done),
                    limits=tuple(sorted(set(limits.get(cost.key, ())) - set(far))),
                    far=far,
                    low=None if low is None else record.score.minimised(low),
                    below=0 if low is None else sum(record.score.minimised(p.score) > low for p in points),
                    alike=next((p.cost for p in panels if p.alike is None and _proportional(done, p.cost, cost)), None),
                )
            )
        names = dict.fromkeys(p.allocator for panel in panels for p in (*panel.front, *panel.dominated))
        return FrontFacts(record.score, reference, tuple(panels), tuple(sorted(names, key=lambda n: (n == "uniform", n))))

    def draw(self, facts: FrontFacts) -> Fragment:
        """Figures side by side, tables folded under them."""
        same = [p for p in facts.panels if p.front and p.alike is not None]
        shown_panels = [p for p in facts.panels if p.front and p.alike is None]
        empty = [p for p in facts.panels if not p.front]
        parts: list[Drawing] = []
        for panel in shown_panels:
            far = [shown(panel.cost, value) for value in panel.far]
            caption = f"{panel.cost.key}: {count(len(panel.front), 'point')} on the front, {len(panel.dominated):,} beaten or equalled."
            if panel.unsupported:
                takes = "takes" if panel.unsupported == 1 else "take"
                caption += f" {count(panel.unsupported, 'point')} cannot run on {panel.cost.on or 'it'} and {takes} no part."
            if panel.below:
                caption += f" {count(panel.below, 'point')} {'lies' if panel.below == 1 else 'lie'} below the frame (arrows)."
            caption += f" Outside the frame: the budget limit {' and '.join(far)}." if far else ""
            parts.append(Drawing(f"front-{panel.cost.key}", front_figure(facts, panel), caption))
        lead = (
            paragraph(
                "Every measured trial is a point. Those on the line are beaten by no other on both axes;",
                "the faded ones are beaten or equalled.",
                "Numbers beside points are trial numbers.",
            )
            if shown_panels
            else paragraph("No trial has both a score and a finite cost, so there is no front.")
        )
        missing = [note(f"No front for {p.cost.key}: {_why(p)}.") for p in empty] if shown_panels else []
        missing += [
            note(f"{p.cost.key} is in proportion to {p.alike.key} at every point: the same front in another unit.") for p in same if p.alike
        ]
        tables = [folded(f"Front of {p.cost.key} as a table", _table(facts, p)) for p in (*shown_panels, *same)]
        return Fragment((lead, *parts, *missing, *tables))


def _proportional(trials: Sequence[TrialResult], one: Metric, other: Metric) -> bool:
    """Whether two costs tell all points apart in the same way, but for a factor."""
    if one.better != other.better:
        return False
    pairs = np.array([(t.measures.get(one.key, math.nan), t.measures.get(other.key, math.nan)) for t in trials]).reshape(-1, 2)
    finite = np.isfinite(pairs)
    if len(pairs) < 2 or (finite[:, 0] != finite[:, 1]).any() or not finite.any():
        return False
    a, b = pairs[finite[:, 0]].T
    return bool((a > 0).all() and np.ptp(a) > 0 and np.allclose(b / a, b[0] / a[0], rtol=1e-9, atol=0))


def _cut(minimised: list[float]) -> float | None:
    """Where to cut the score axis (minimised sign) so that broken trials do not press all others into a line.

    The axis is cut where the worst quarter takes up more than two thirds of it.
    """
    if len(minimised) < 5:
        return None
    found = sorted(minimised)
    best, worst, usual = found[0], found[-1], found[math.ceil(0.75 * (len(found) - 1))]
    if worst - best <= 3 * (usual - best) or usual == best:
        return None
    return best + 2 * (usual - best)


def _far(limits: set[float], costs: list[float]) -> tuple[float, ...]:
    """Limits that are further from the points than half of what the points span: drawn, they would press the points together."""
    if not costs:
        return ()
    room = max(max(costs) - min(costs), 0.5 * max(costs)) / 2
    return tuple(sorted(value for value in limits if not min(costs) - room <= value <= max(costs) + room))


def _why(panel: Panel) -> str:
    return f"{panel.cost.on} can run none of the measured allocations" if panel.unsupported else "no measured trial has this cost"


def _table(facts: FrontFacts, panel: Panel) -> Markup:
    factor, unit = column(panel.cost, [p.costs[panel.cost.key] for p in panel.front])
    percent = 0.01 if facts.score.unit == "fraction" else 1.0
    intervals = any(p.interval for p in panel.front)
    head = ["trial", f"{panel.cost.key} [{unit}]" if unit else panel.cost.key, f"{facts.score.name}{' [%]' if percent < 1 else ''}"]
    head += ["95 % interval"] if intervals else []
    head += ["test"]
    rows = [
        [p.name, cell(p.costs[panel.cost.key], factor), cell(p.score, percent, facts.score)]
        + ([range_text(facts.score, p.interval)] if intervals else [])
        + [shown(facts.score, p.test)]
        for p in panel.front
    ]
    return table(head, rows)
