"""Which layers got which formats: the allocations of a front, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ...formats import NumberFormat
from ...metrics import Metric
from ...pareto import ParetoFront
from ...records import SweepRecord, TrialResult
from .. import style
from ..budgets import budget_results
from ..markup import paragraph
from ..points import Point, measured
from ..section import Drawing, Fragment
from ..wording import count, short, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 20  # columns that can be told apart on a page


@dataclass(frozen=True)
class WidthFacts:
    """Formats of the shown points.

    Attributes:
        cost: the metric whose front is shown. layers: in execution order.
        points: from the cheapest on.
        weights, activations: (layers x points) formats, None where a point has no such layer.
        left_out: points of the front that found no room.
        settled: layers that have the same formats in every shown point, with those.
    """

    score: Metric
    cost: Metric | None
    layers: tuple[str, ...]
    points: tuple[Point, ...]
    weights: tuple[tuple[NumberFormat | None, ...], ...]
    activations: tuple[tuple[NumberFormat | None, ...], ...]
    left_out: int
    settled: tuple[tuple[str, str], ...]


class Widths:
    """A heat map for weights and one for activations."""

    title = "Widths per layer"

    def facts(self, record: SweepRecord) -> WidthFacts:
        """The front of the first limited cost that has one, and each budget's best point, thinned to :data:`MOST` points."""
        budgets = budget_results(record)
        limited = [limit.metric for b in budgets for limit in b.limits or ()]
        keep = {b.best.number for b in budgets if b.best}
        fronts = ((m, _front(record, m, keep)) for m in dict.fromkeys((*limited, *record.costs)) if m in record.costs)
        cost, found = next((pair for pair in fronts if pair[1]), (None, []))
        chosen = _thinned(found, keep)
        layers = layer_order(record, chosen)

        def formats(part: str) -> tuple[tuple[NumberFormat | None, ...], ...]:
            return tuple(
                tuple(getattr(t.allocation[name], part) if t.allocation and name in t.allocation else None for t in chosen)
                for name in layers
            )

        settled = []
        for name in layers:
            pairs = {str(t.allocation.get(name)) for t in chosen if t.allocation}
            if len(pairs) == 1 and len(chosen) > 1:
                settled.append((name, pairs.pop()))
        points = tuple(Point.of(record, t) for t in chosen)
        return WidthFacts(
            record.score, cost, layers, points, formats("weight"), formats("activation"), len(found) - len(chosen), tuple(settled)
        )  # fmt: skip

    def draw(self, facts: WidthFacts) -> Fragment:
        """Layers from top to bottom in execution order, points from left to right by cost."""
        if not facts.points or facts.cost is None:
            return Fragment((paragraph("No measured point has an allocation to show."),))
        text = f"The front of {facts.cost.key} and the budgets' best points, cheapest first: {count(len(facts.points), 'point')}"
        text += f" ({facts.left_out} more left out; front.csv has all)." if facts.left_out else "."
        same = ""
        if facts.settled:
            same = "The same in all of them: " + ", ".join(f"{name} {pair}" for name, pair in facts.settled[:12])
            same += f" and {len(facts.settled) - 12} more." if len(facts.settled) > 12 else "."
        caption = (
            "Format per layer (a number is an integer of so many bits; rows, in execution order) of each point (columns: trial number and "
            "validation score)."
        )
        return Fragment((paragraph(text, same), Drawing("widths", _figure(facts), caption, wide=True)))


def layer_order(record: SweepRecord, trials: Sequence[TrialResult]) -> tuple[str, ...]:
    """Layers that the trials allocate, in the graph's execution order; unknown ones last."""
    used = dict.fromkeys(name for t in trials for name in t.allocation or ())
    known = [str(layer.get("name")) for layer in record.graph.get("layers", ())]
    return (*(n for n in known if n in used), *(n for n in used if n not in known))


def _front(record: SweepRecord, cost: Metric, keep: set[int]) -> list[TrialResult]:
    """Points with an allocation that lie on the front or are named, from the cheapest on."""
    front = ParetoFront.of(measured(record), (cost, record.score))
    named = [t for t in front.dominated if t.number in keep]
    return sorted((t for t in (*front.trials, *named) if t.allocation), key=lambda t: cost.minimised(t.measures[cost.key]))


def _thinned(front: list[TrialResult], keep: set[int]) -> list[TrialResult]:
    if len(front) <= MOST:
        return front
    step = (len(front) - 1) / (MOST - 1)
    places = sorted({round(i * step) for i in range(MOST)} | {i for i, t in enumerate(front) if t.number in keep})
    spare = [i for i in places if front[i].number not in keep and i not in (0, len(front) - 1)]
    extra = set(spare[:: max(1, len(spare) // max(1, len(places) - MOST))][: len(places) - MOST]) if len(places) > MOST else set()
    return [front[i] for i in places if i not in extra]


def _figure(facts: WidthFacts) -> Figure:
    from matplotlib.colors import BoundaryNorm, ListedColormap

    rows, columns = len(facts.layers), len(facts.points)
    levels = sorted({_bits(one) for part in (facts.weights, facts.activations) for row in part for one in row})
    with style.styled():
        from matplotlib import colormaps

        shades = [colormaps["YlGnBu"](0.12 + 0.78 * i / max(len(levels) - 1, 1)) for i in range(len(levels))]
        edges = [levels[0] - 0.5, *((a + b) / 2 for a, b in pairwise(levels)), levels[-1] + 0.5]
        colours, norm = ListedColormap(shades), BoundaryNorm(edges, len(levels))
        figure = style.blank(9.6, 1.5 + 0.26 * max(rows, 4))
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, formats, title in ((left, facts.weights, "Weights"), (right, facts.activations, "Activations")):
            axes.pcolormesh([[_bits(one) for one in row] for row in formats], cmap=colours, norm=norm, edgecolors="white", linewidth=0.8)
            axes.set_title(title)
            axes.set_xlim(0, max(columns, 6))
            axes.set_xticks([i + 0.5 for i in range(columns)], _names(facts), rotation=90, fontsize="small")
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
            _write(axes, formats, levels)
        left.set_yticks([i + 0.5 for i in range(rows)], [short(name) for name in facts.layers], fontsize="small")
        left.invert_yaxis()
    return figure


def _names(facts: WidthFacts) -> list[str]:
    return [f"#{p.number}  {shown(facts.score, p.score)}" for p in facts.points]


def _bits(number: NumberFormat | None) -> float:
    return 0.0 if number is None else number.stored_bits


def _write(axes: Axes, formats: Sequence[Sequence[NumberFormat | None]], levels: Sequence[float]) -> None:
    """The format in each cell: the colour is then a help, not the only way to read it."""
    dark = levels[len(levels) // 2] if len(levels) > 2 else levels[-1] + (len(levels) == 1)
    for i, row in enumerate(formats):
        for j, one in enumerate(row):
            value = _bits(one)
            colour = "white" if value > dark or (len(levels) == 2 and value == dark) else style.INK
            axes.text(j + 0.5, i + 0.5, "" if one is None else one.label, ha="center", va="center", fontsize="x-small", color=colour)
