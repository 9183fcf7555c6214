"""Where the cost of one point goes: per accelerator, by layer, and by where the numbers come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from ...costs import SOURCES, CostTable
from ...formats import Allocation
from ...metrics import Metric
from ...records import SweepRecord, TrialResult
from .. import style
from ..budgets import budget_results
from ..markup import heading, paragraph, table
from ..points import Point, measured, ranked, value_text
from ..section import Drawing, Fragment
from ..wording import column, short, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class CostPart:
    """One metric of one point.

    Attributes:
        total: the cost. layers: each layer's share of it, in stored units; layers that add nothing to the largest row have 0.
        sources: what each layer's number is (``"exact"``, ``"rounded"``, ...), "" where it adds nothing.
        fixed: the part that no layer causes. shares: of the whole by source, adding up to 1.
        row: name of the largest row, where there are several.
    """

    metric: Metric
    total: float
    layers: tuple[float, ...]
    sources: tuple[str, ...]
    fixed: float
    shares: dict[str, float]
    row: str = ""


@dataclass(frozen=True)
class AcceleratorPart:
    """All metrics of one accelerator ("" for metrics that depend on none), and the point they are shown for, with the reason."""

    accelerator: str
    point: Point | None
    reason: str
    layers: tuple[str, ...]
    costs: tuple[CostPart, ...]


@dataclass(frozen=True)
class BreakdownFacts:
    """Every accelerator, in the order of the record's costs."""

    score: Metric
    parts: tuple[AcceleratorPart, ...]


class Breakdown:
    """Bars per layer, hatched by source."""

    title = "Where the cost goes"

    def facts(self, record: SweepRecord) -> BreakdownFacts:
        """Takes the best point of the first budget, those that limit the accelerator first; else the best point that it can run."""
        parts = []
        for on in dict.fromkeys(m.on for m in record.costs):
            metrics = [m for m in record.costs if m.on == on and m.key in record.tables]
            if metrics:
                parts.append(_part(record, on, metrics))
        return BreakdownFacts(record.score, tuple(parts))

    def draw(self, facts: BreakdownFacts) -> Fragment:
        """A figure and a table of sources per accelerator."""
        if not facts.parts:
            return Fragment((paragraph("The record holds no cost tables, so costs cannot be split."),))
        out: list[Markup | Drawing] = []
        for part in facts.parts:
            where = part.accelerator or "independent of the accelerator"
            out.append(heading(where))
            if part.point is None:
                out.append(paragraph(part.reason))
                continue
            out.append(paragraph(f"Shown for {part.point.name}, {part.reason} ({shown(facts.score, part.point.score)})."))
            rows = "; ".join(f"{c.metric.key} is largest at {c.row}" for c in part.costs if c.row)
            caption = f"Cost of {part.point.name} by layer, {where}. {rows}{'.' if rows else ''}".strip()
            out.append(Drawing(f"breakdown-{part.accelerator or 'model'}", _figure(part), caption, wide=True))
            names = [s for s in (*SOURCES, "conversions", "fixed") if any(c.shares.get(s) for c in part.costs)]
            rows_ = [[c.metric.key, shown(c.metric, c.total), *(f"{100 * c.shares.get(s, 0):.1f} %" for s in names)] for c in part.costs]
            out.append(table(["cost", "total", *names], rows_))
        return Fragment(tuple(out))


def _part(record: SweepRecord, on: str | None, metrics: list[Metric]) -> AcceleratorPart:
    budgets = [b for b in budget_results(record) if b.best]
    budgets.sort(key=lambda b: all(x.metric.on != on for x in b.limits or ()))  # those that limit it first; the order stays otherwise
    runs = [t for t in measured(record) if t.allocation and all(np.isfinite(t.measures.get(m.key, np.nan)) for m in metrics)]
    fit = {t.number: t for t in runs}
    for budget in budgets:
        if budget.best and budget.best.number in fit:
            return _filled(record, on, metrics, fit[budget.best.number], f"the best point inside {budget.name}")
    best = ranked(record, runs, metrics[:1])
    if best:
        return _filled(record, on, metrics, best[0], f"the best point that {on} can run" if on else "the best point")
    why = f"No measured point has a finite cost on {value_text(on)}." if on else "No measured point has an allocation."
    return AcceleratorPart(on or "", None, why, (), ())


def _filled(record: SweepRecord, on: str | None, metrics: list[Metric], trial: TrialResult, reason: str) -> AcceleratorPart:
    allocation = trial.allocation or Allocation({})
    costs = tuple(cost_part(record.tables[m.key], allocation) for m in metrics)
    return AcceleratorPart(on or "", Point.of(record, trial), reason, record.tables[metrics[0].key].layers, costs)


def cost_part(table_: CostTable, allocation: Allocation) -> CostPart:
    """Splits the largest row of one table at one allocation."""
    place = {option: j for j, option in enumerate(table_.options)}
    indices = np.array([place[allocation[name]] for name in table_.layers], np.intp)
    worst = int(np.argmax(table_.row_totals(indices)[0]))
    codes = {int(i): SOURCES[table_.sources[e, indices[i]]] for e, i in enumerate(table_.layer) if table_.row[e] == worst}
    values = table_.by_layer(indices)
    return CostPart(
        metric=table_.metric,
        total=table_.total(allocation),
        layers=tuple(map(float, values)),
        sources=tuple(codes.get(i, "") if values[i] > 0 else "" for i in range(len(table_.layers))),
        fixed=float(table_.fixed[worst]),
        shares=table_.by_source(indices),
        row=table_.row_names[worst] if table_.rows > 1 and table_.row_names else "",
    )


def _figure(part: AcceleratorPart) -> Figure:
    names = [*map(short, part.layers), *(["(fixed part)"] if any(c.fixed for c in part.costs) else [])]
    used: dict[str, None] = {}
    with style.styled():
        figure = style.blank(9.6, 1.5 + 0.24 * max(len(names), 4))
        panels = figure.subplots(1, len(part.costs), sharey=True, squeeze=False)[0]
        for axes, cost in zip(panels, part.costs, strict=True):
            style.grid(axes, "x")
            factor, unit = column(cost.metric, [v for v in cost.layers if v > 0] or [cost.fixed])
            sources = (*cost.sources, "fixed" if cost.fixed else "")
            for i, (value, source) in enumerate(zip((*cost.layers, cost.fixed), sources, strict=True)):
                if source:
                    used[source] = None
                    colour, hatch = style.SOURCES[source]
                    axes.barh(i, value / factor, height=0.72, color=colour, hatch=hatch, edgecolor="white", linewidth=0)
            axes.set_title(cost.metric.key)
            axes.set_xlabel(unit or cost.metric.name)
            axes.set_xlim(left=0)
            axes.locator_params(axis="x", nbins=5 if len(part.costs) > 1 else 9)
        panels[0].set_yticks(range(len(names)), names, fontsize="small")
        panels[0].set_ylim(len(names) - 0.4, -0.6)
        from matplotlib.patches import Patch

        patches = [Patch(facecolor=style.SOURCES[s][0], hatch=style.SOURCES[s][1], edgecolor="white", label=s) for s in used]
        if patches:
            figure.legend(handles=patches, loc="outside upper right", ncols=style.columns(len(patches)))
    return figure
