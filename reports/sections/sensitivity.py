"""What each layer's widths are expected to cost in loss: read from the loss table, measured once before any search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from ...bits import BitWidths
from ...costs import CostTable
from ...records import SweepRecord
from .. import style
from ..markup import note, paragraph
from ..section import Drawing, Fragment
from .widths import short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class LayerSensitivity:
    """One layer: expected loss increase by weight bits (activations as wide as the options allow) and by activation bits.

    ``worst`` is the largest finite cell of the layer.
    """

    layer: str
    weights: Curve
    activations: Curve
    worst: float


@dataclass(frozen=True)
class SensitivityFacts:
    """All layers in the table's order. ``holding``: the fewest layers that together hold 80 % of the sum of ``worst``."""

    layers: tuple[LayerSensitivity, ...]
    holding: tuple[str, ...]
    convention: str


class Sensitivity:
    """Two panels of dots, one per width."""

    title = "Sensitivity"

    def facts(self, record: SweepRecord) -> SensitivityFacts:
        """From ``tables["loss"]``; no layers where the record has none."""
        table = record.tables.get("loss")
        if table is None:
            return SensitivityFacts((), (), "")
        layers = _layers(table)
        order = sorted(layers, key=lambda x: -x.worst)
        whole, so_far, holding = sum(x.worst for x in layers), 0.0, []
        for layer in order:
            if whole == 0 or so_far >= 0.8 * whole:
                break
            holding.append(layer.layer)
            so_far += layer.worst
        said = table.convention or str(record.conventions.get("loss", {}).get("convention", ""))
        return SensitivityFacts(layers, tuple(holding), said)

    def draw(self, facts: SensitivityFacts) -> Fragment:
        """The sentence that matters, and the dots."""
        if not facts.layers:
            return Fragment((paragraph("The record holds no loss table, so nothing is known of the layers' sensitivity."),))
        worst = max(facts.layers, key=lambda x: x.worst)
        text = f"The most sensitive layer is {worst.layer}: up to {worst.worst:.3g} expected loss increase at its narrowest widths."
        if not facts.holding:
            text = "The loss table is zero everywhere: it tells no layer from another."
        more = f"{len(facts.holding)} of {len(facts.layers)} layers hold 80 % of the sum of the layers' largest entries."
        caption = "Expected loss increase per layer. Left: weights narrowed, activations as wide as the options allow. Right: the reverse."
        parts: list[Markup | Drawing] = [
            paragraph(text, more if facts.holding else ""),
            Drawing("sensitivity", _figure(facts), caption, wide=True),
        ]
        if facts.convention:
            parts.append(note(facts.convention))
        return Fragment(tuple(parts))


def _layers(table: CostTable) -> tuple[LayerSensitivity, ...]:
    cells = np.where(np.isfinite(table.dense[0]), table.dense[0], np.nan)
    column = {option: j for j, option in enumerate(table.options)}
    weights, activations = {o.weight for o in table.options}, {o.activation for o in table.options}

    def curve(i: int, groups: list[list[BitWidths]], part: str) -> Curve:
        finite = ([o for o in group if np.isfinite(cells[i, column[o]])] for group in groups)
        widest = [max(group) for group in finite if group]  # options of one group differ in the other width only
        return tuple((getattr(o, part), float(cells[i, column[o]])) for o in widest)

    by_weight = [[o for o in table.options if o.weight == w] for w in sorted(weights)]
    by_activation = [[o for o in table.options if o.activation == a] for a in sorted(activations)]

    return tuple(
        LayerSensitivity(
            name,
            curve(i, by_weight, "weight"),
            curve(i, by_activation, "activation"),
            float(np.nanmax(cells[i])) if np.isfinite(cells[i]).any() else 0.0,
        )
        for i, name in enumerate(table.layers)
    )


def _figure(facts: SensitivityFacts) -> Figure:
    from matplotlib import colormaps

    rows = len(facts.layers)
    curves = [c for x in facts.layers for c in (x.weights, x.activations)]
    levels = sorted({bits for curve in curves for bits, _ in curve})
    shapes = dict(zip(levels, "ovsD^Pp*Xh" * 4, strict=False))
    shade = {b: colormaps["cividis"](0.05 + 0.8 * i / max(len(levels) - 1, 1)) for i, b in enumerate(levels)}
    positive = [v for curve in curves for _, v in curve if v > 0]
    with style.styled():
        figure = style.blank(9.6, 1.6 + 0.24 * max(rows, 4))
        left, right = figure.subplots(1, 2, sharey=True, sharex=True)
        for axes, part, title in ((left, "weights", "Weights narrowed to …"), (right, "activations", "Activations narrowed to …")):
            style.grid(axes)
            if positive and max(positive) / min(positive) > 50:
                axes.set_xscale("symlog", linthresh=max(max(positive) * 1e-4, min(positive)))
            for bits in levels:
                dots = [(v, i) for i, x in enumerate(facts.layers) for b, v in getattr(x, part) if b == bits]
                if dots:
                    axes.scatter(*zip(*dots, strict=True), marker=shapes[bits], s=26, color=shade[bits], linewidths=0, zorder=3)
            axes.set_title(title)
            axes.set_xlabel("expected loss increase")
        left.set_yticks(range(rows), [short(x.layer) for x in facts.layers], fontsize=8)
        left.invert_yaxis()
        for bits in levels:
            left.plot([], [], shapes[bits], linestyle="none", color=shade[bits], markersize=5, label=f"{bits} bit")
        figure.legend(loc="outside upper right", ncols=len(levels), handletextpad=0.2, columnspacing=1.2)
    return figure
