"""What a loss table says, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..costs import CostTable
from ..formats import LayerFormat, NumberFormat

Curve = tuple[tuple[NumberFormat, float], ...]


@dataclass(frozen=True)
class LayerSensitivity:
    """One layer: expected loss increase by weight format (the activation in the last one listed beside it) and by activation format.

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

    def curve(i: int, groups: list[list[LayerFormat]], part: str) -> Curve:
        finite = ([o for o in group if np.isfinite(cells[i, column[o]])] for group in groups)
        widest = [max(group, key=lambda o: o.order) for group in finite if group]  # options of one group differ in the other format only
        return tuple((getattr(o, part), float(cells[i, column[o]])) for o in widest)

    by_weight = [[o for o in table.options if o.weight == w] for w in sorted(weights, key=lambda one: one.order)]
    by_activation = [[o for o in table.options if o.activation == a] for a in sorted(activations, key=lambda one: one.order)]

    return tuple(
        LayerSensitivity(
            name,
            curve(i, by_weight, "weight"),
            curve(i, by_activation, "activation"),
            float(np.nanmax(cells[i])) if np.isfinite(cells[i]).any() else 0.0,
        )
        for i, name in enumerate(table.layers)
    )
