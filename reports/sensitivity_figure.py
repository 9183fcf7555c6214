"""The picture of a loss table: what each layer's widths are expected to cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..costs import CostTable
from . import style
from .figures import figure_format, save_figure
from .loss_facts import SensitivityFacts, sensitivity_facts
from .wording import short

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_sensitivity(table: CostTable, path: Path) -> Path:
    """Draws a loss table into a file, in the format of its name's ending.

    Raises:
        UnknownName: another ending. StorageError: it cannot be written.
    """
    path = Path(path)
    figure_format(path)  # an unknown one is said before anything is drawn
    save_figure(sensitivity_figure(sensitivity_facts(table)), path)
    return path


def sensitivity_figure(facts: SensitivityFacts) -> Figure:
    """Two panels of dots, one per format: weights narrowed, activations narrowed."""
    from matplotlib import colormaps

    rows = len(facts.layers)
    curves = [c for x in facts.layers for c in (x.weights, x.activations)]
    levels = sorted({number for curve in curves for number, _ in curve}, key=lambda one: one.order)
    shapes = dict(zip(levels, "ovsD^Pp*Xh" * 4, strict=False))
    shade = {b: colormaps["cividis"](0.05 + 0.8 * i / max(len(levels) - 1, 1)) for i, b in enumerate(levels)}
    positive = [v for curve in curves for _, v in curve if v > 0]
    with style.styled():
        figure = style.blank(9.6, 1.6 + 0.24 * max(rows, 4))
        left, right = figure.subplots(1, 2, sharey=True, sharex=True)
        for axes, part, title in ((left, "weights", "Weights narrowed to …"), (right, "activations", "Activations narrowed to …")):
            style.grid(axes)
            if positive and max(positive) / min(positive) > 50:
                zeros = any(v <= 0 for curve in curves for _, v in curve)
                if zeros:  # they need a place on the axis
                    axes.set_xscale("symlog", linthresh=max(max(positive) * 1e-4, min(positive)), linscale=0.6)
                else:
                    axes.set_xscale("log")
            for number in levels:
                dots = [(v, i) for i, x in enumerate(facts.layers) for one, v in getattr(x, part) if one == number]
                if dots:
                    axes.scatter(*zip(*dots, strict=True), marker=shapes[number], s=26, color=shade[number], linewidths=0, zorder=3)
            axes.set_title(title)
            axes.set_xlabel("expected loss increase")
        left.set_yticks(range(rows), [short(x.layer) for x in facts.layers], fontsize="small")
        left.invert_yaxis()
        for number in levels:
            label = f"{number.label} bit" if number.plain else number.label
            left.plot([], [], shapes[number], linestyle="none", color=shade[number], markersize=5, label=label)
        figure.legend(loc="outside upper right", ncols=style.columns(len(levels)), handletextpad=0.2, columnspacing=1.2)
    return figure
