"""The table of all measured points, as it stands without the page's script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from ..metrics import Metric
from .points import Point
from .wording import cell, column


@dataclass(frozen=True)
class Row:
    """One point with its bits (weights per parameter, activations per layer), knobs, and the fronts that it lies on."""

    point: Point
    weight_bits: float
    activation_bits: float
    target: str
    budget: str
    knobs: str
    fronts: tuple[str, ...]


def points_table(score: Metric, costs: Sequence[Metric], units: Sequence[tuple[float, str]], rows: Sequence[Row]) -> Markup:
    """One line per point, in number order. Headings are buttons, and lines know their place, for the script to sort and filter."""
    factor, unit = (0.01, "%") if score.unit == "fraction" else column(score, [r.point.score for r in rows])
    head = ["trial", "allocator", headed(score.key, unit), "95 % interval", headed("test", unit), "w bits", "a bits"]
    head += [headed(m.key, u) for m, (_, u) in zip(costs, units, strict=True)]
    head += ["target", "budget", "other knobs and notes"]
    words = {1, *range(len(head) - 3, len(head))}
    kinds = [Markup("") if i in words else Markup(' class="n"') for i in range(len(head))]
    titles = Markup("").join(
        Markup('<th{} scope="col"><button type="button">{}</button></th>').format(kind, name)
        for kind, name in zip(kinds, head, strict=True)
    )  # fmt: skip
    lines = [_line(row, i, kinds, costs, units, score, factor) for i, row in enumerate(rows)]
    return Markup(
        '<div class="scroll tall" tabindex="0" role="region" aria-label="Table of all points">'
        '<table id="points"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(titles, Markup("\n".join(lines)))


def headed(name: str, unit: str) -> str:
    """A heading with its unit."""
    return f"{name} [{unit}]" if unit else name


def _line(
    row: Row, place: int, kinds: Sequence[str], costs: Sequence[Metric], units: Sequence[tuple[float, str]], score: Metric, factor: float
) -> str:
    p = row.point
    low, high = p.interval or (math.nan, math.nan)
    cells = [
        f"#{p.number}",
        f"{p.allocator} {p.widths}" if p.baseline else p.allocator,
        cell(p.score, factor, score),
        f"{cell(low, factor, score)} – {cell(high, factor, score)}" if p.interval else "–",
        cell(p.test, factor, score),
        cell(row.weight_bits),
        cell(row.activation_bits),
    ]
    for metric, (scale, _) in zip(costs, units, strict=True):
        cells.append(cell(p.costs[metric.key], scale) + (" ●" if metric.key in row.fronts else ""))
    cells += [row.target, row.budget, row.knobs]
    return f'<tr data-i="{place}">' + "".join(f"<td{k}>{escape(c)}</td>" for k, c in zip(kinds, cells, strict=True)) + "</tr>"
