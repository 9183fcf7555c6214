"""What each layer's widths are expected to cost in loss: read from the loss table, measured once before any search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ...bits import BitWidths
from ...costs import CostTable
from ...records import SweepRecord
from ..markup import note, paragraph
from ..section import Drawing, Fragment
from ..sensitivity_figure import sensitivity_figure

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
        return SensitivityFacts((), (), "") if table is None else sensitivity_facts(table)

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
            Drawing("sensitivity", sensitivity_figure(facts), caption, wide=True),
        ]
        if facts.convention:
            parts.append(note(facts.convention))
        return Fragment(tuple(parts))


def sensitivity_facts(table: CostTable) -> SensitivityFacts:
    """What a loss table says, layer by layer."""
    layers = _layers(table)
    order = sorted(layers, key=lambda x: -x.worst)
    whole, so_far, holding = sum(x.worst for x in layers), 0.0, []
    for layer in order:
        if whole == 0 or so_far >= 0.8 * whole:
            break
        holding.append(layer.layer)
        so_far += layer.worst
    return SensitivityFacts(layers, tuple(holding), table.convention)


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
