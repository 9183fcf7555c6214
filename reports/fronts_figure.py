"""The picture of one Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import style
from .points import BASELINE, Point
from .wording import column

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .sections.fronts import FrontFacts, Panel

_LABELS_APART = 15.0  # points (1/72 inch) between two trial numbers, else the later one is left out
_WIDE = 30.0  # a cost axis that spans more than this factor is logarithmic


def front_figure(facts: FrontFacts, panel: Panel) -> Figure:
    """Score against one cost. Left (or right, where more is better) and up is better."""
    key = panel.cost.key
    everything = (*panel.front, *panel.dominated)
    factor, unit = column(panel.cost, [p.costs[key] for p in everything])
    percent = 0.01 if facts.score.unit == "fraction" else 1.0
    with style.styled():
        figure = style.blank(6.4, 4.4)
        axes = figure.subplots()
        style.grid(axes)
        values = [p.costs[key] / factor for p in everything]
        if min(values) > 0 and max(values) / min(values) > _WIDE:
            axes.set_xscale("log")
        for limit in panel.limits:
            axes.axvline(limit / factor, color=style.LIMIT, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        if panel.limits:
            axes.plot([], [], color=style.LIMIT, linewidth=1, linestyle=(0, (2, 2)), label="budget limit")
        if facts.reference is not None:
            axes.axhline(facts.reference / percent, color=style.REFERENCE, linewidth=1.2, linestyle="--", zorder=1, label="FP32")
        across = sorted((p.costs[key] / factor, p.score / percent) for p in panel.front)
        steps = "steps-post" if panel.cost.better == "lower" else "steps-pre"
        axes.plot(*zip(*across, strict=True), color=style.INK, linewidth=1.1, drawstyle=steps, zorder=2, label="front")
        _points(axes, facts, panel, factor, percent)
        if facts.score.better == "lower":
            axes.invert_yaxis()
        if panel.low is not None:
            _cut(axes, facts, panel, factor, percent)
        share = " [%]" if percent < 1 else ""
        axes.set_xlabel(f"{key} [{unit}]" if unit else key)
        axes.set_ylabel(f"validation {facts.score.name}{share}")
        axes.ticklabel_format(axis="y", useOffset=False)
        if axes.get_xscale() == "linear":
            axes.ticklabel_format(axis="x", useOffset=False)
        _numbers(
            figure,
            axes,
            [((p.costs[key] / factor, p.score / percent), str(p.number)) for p in panel.front],
            1 if panel.cost.better == "lower" else -1,
        )
        figure.legend(loc="outside upper left", ncols=style.columns(7), handlelength=1.5, handletextpad=0.4, columnspacing=1.0)
    return figure


def _points(axes: Axes, facts: FrontFacts, panel: Panel, factor: float, percent: float) -> None:
    """Dominated points faded; baselines hollow; intervals on the front only, where they are looked for."""
    key = panel.cost.key
    for name, mark in style.marks(facts.allocators).items():
        front, rest = ([p for p in points if p.allocator == name] for points in (panel.front, panel.dominated))
        hollow = name == BASELINE
        for points, alpha, size, order in ((rest, 0.38, 20, 3), (front, 1.0, 38, 5)):
            axes.scatter(
                [p.costs[key] / factor for p in points], [p.score / percent for p in points], marker=mark.shape, s=size,
                facecolors="white" if hollow else mark.colour, edgecolors=mark.colour if hollow else "white",
                linewidths=1.3 if hollow else 0.5, alpha=max(alpha, 0.6) if hollow else alpha, zorder=order,
            )  # fmt: skip
        if front or rest:
            axes.plot([], [], mark.shape, linestyle="none", markersize=6, label=name, color=mark.colour,
                      markerfacecolor="white" if hollow else mark.colour)  # fmt: skip
        sure: list[tuple[Point, tuple[float, float]]] = [(p, p.interval) for p in front if p.interval]
        if sure:
            x = [p.costs[key] / factor for p, _ in sure]
            lengths = [[(p.score - low) / percent for p, (low, _) in sure], [(high - p.score) / percent for p, (_, high) in sure]]
            axes.errorbar(x, [p.score / percent for p, _ in sure], yerr=lengths, fmt="none", ecolor=mark.colour, elinewidth=0.9,
                          capsize=2, alpha=0.55, zorder=4)  # fmt: skip


def _cut(axes: Axes, facts: FrontFacts, panel: Panel, factor: float, percent: float) -> None:
    """Ends the score axis at ``panel.low``; arrows stand for the points below it."""
    if panel.low is None:
        return
    low, worse = panel.low / percent, axes.yaxis_inverted()
    ends = [
        end for p in panel.front for end in (p.score, *(p.interval or ())) if facts.score.minimised(end) < facts.score.minimised(panel.low)
    ]
    best = min((*ends, *([] if facts.reference is None else [facts.reference])), key=facts.score.minimised) / percent
    axes.set_ylim(low, best + 0.05 * (best - low))
    gone = [p for p in (*panel.front, *panel.dominated) if (p.score / percent > low if worse else p.score / percent < low)]
    axes.scatter([p.costs[panel.cost.key] / factor for p in gone], [0.015] * len(gone), marker=r"$\downarrow$", s=45,
                 color=style.MUTED, linewidths=0, transform=axes.get_xaxis_transform(), zorder=6)  # fmt: skip


def _numbers(figure: Figure, axes: Axes, labels: Sequence[tuple[tuple[float, float], str]], side: int) -> None:
    """Trial numbers on the free side of the staircase, leaving out those that would lie on another. ``side`` 1: to the left."""
    from matplotlib.patheffects import withStroke

    figure.draw_without_rendering()
    taken: list[tuple[float, float]] = []
    scale = 72 / figure.dpi
    low, high = sorted(axes.get_ylim())
    for where, text in labels:
        x, y = axes.transData.transform(where) * scale
        if not low <= where[1] <= high or any(abs(x - a) < _LABELS_APART and abs(y - b) < 0.7 * _LABELS_APART for a, b in taken):
            continue
        taken.append((x, y))
        axes.annotate(
            text, where, xytext=(-side * 4, 4), textcoords="offset points", ha="right" if side > 0 else "left", fontsize="small",
            color=style.INK, zorder=7, path_effects=[withStroke(linewidth=2.2, foreground="white")],
        )  # fmt: skip
