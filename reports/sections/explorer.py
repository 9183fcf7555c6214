"""Every measured point in one table that can be sorted, filtered and picked from."""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup

from ...metrics import Metric
from ...pareto import ParetoFront
from ...records import SweepRecord
from ..markup import note, paragraph
from ..points import Point, knob_text, mean_bits, measured, value_text
from ..section import Fragment
from ..wording import cell, column

_OWN_COLUMNS = ("allocator", "accelerator", "budget")


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


@dataclass(frozen=True)
class ExplorerFacts:
    """All measured points in number order. ``units``: factor and unit of each cost's column."""

    score: Metric
    costs: tuple[Metric, ...]
    units: tuple[tuple[float, str], ...]
    rows: tuple[Row, ...]


class Explorer:
    """A table with one limit per metric above it."""

    title = "All points"

    def facts(self, record: SweepRecord) -> ExplorerFacts:
        """Points with what was tried."""
        done = measured(record)
        on: dict[int, list[str]] = {}
        for cost in record.costs:
            for trial in ParetoFront.of(done, (cost, record.score)).trials:
                on.setdefault(trial.number, []).append(cost.key)
        rows = tuple(
            Row(
                Point.of(record, t), *mean_bits(record, t.allocation), value_text(t.knobs.get("accelerator")),
                value_text(t.knobs.get("budget")), "; ".join((knob_text(t.knobs, _OWN_COLUMNS), *t.notes)), tuple(on.get(t.number, ())),
            )
            for t in done
        )  # fmt: skip
        units = tuple(column(m, [r.point.costs[m.key] for r in rows]) for m in record.costs)
        return ExplorerFacts(record.score, record.costs, units, rows)

    def draw(self, facts: ExplorerFacts) -> Fragment:
        """The inputs, the sentence that the script keeps up to date, and the table."""
        if not facts.rows:
            return Fragment((paragraph("No measured points."),))
        how = "A limit in a box keeps the points inside it; a click on a heading sorts."
        explained = "Weight bits are means over parameters, activation bits means over layers. ● lies on the front of that cost."
        return Fragment((paragraph(how), _controls(facts), _table(facts), note(explained)))


def _share(score: Metric) -> tuple[float, str]:
    return (0.01, "%") if score.unit == "fraction" else (1.0, "")


def _headed(metric: Metric, unit: str) -> str:
    return f"{metric.key} [{unit}]" if unit else metric.key


def _controls(facts: ExplorerFacts) -> Markup:
    one = Markup('<label>{} {}<input type="number" step="any" inputmode="decimal" data-column="{}" data-upper="{}"></label>')
    boxes = []
    first = 7  # columns before the costs; see _table
    for i, (metric, (_, unit)) in enumerate(zip(facts.costs, facts.units, strict=True)):
        upper = metric.better == "lower"
        boxes.append(one.format(_headed(metric, unit), "≤" if upper else "≥", first + i, int(upper)))
    upper = facts.score.better == "lower"
    boxes.insert(0, one.format(_headed(facts.score, _share(facts.score)[1]), "≤" if upper else "≥", 2, int(upper)))
    names = sorted({r.point.allocator for r in facts.rows})
    options = Markup("").join(Markup("<option>{}</option>").format(n) for n in names)
    choice = Markup('<label>allocator <select data-column="1"><option value="">all</option>{}</select></label>').format(options)
    return Markup(
        '<form class="controls" id="limits">{}{}<button type="reset">clear</button></form><p id="picked" aria-live="polite"></p>'
    ).format(choice, Markup("").join(boxes))


def _table(facts: ExplorerFacts) -> Markup:
    factor, unit = _share(facts.score)
    head = ["trial", "allocator", _headed(facts.score, unit), "95 % interval", f"test{f' [{unit}]' if unit else ''}", "w bits", "a bits"]
    head += [_headed(m, u) for m, (_, u) in zip(facts.costs, facts.units, strict=True)]
    head += ["target", "budget", "other knobs and notes"]
    words = {1, *range(len(head) - 3, len(head))}
    lines = []
    for row in facts.rows:
        p = row.point
        low, high = p.interval or (math.nan, math.nan)
        cells: list[tuple[str, float | None]] = [
            (f"#{p.number}", p.number),
            (f"{p.allocator} {p.widths}" if p.baseline else p.allocator, None),
            (cell(p.score, factor, facts.score), p.score / factor),
            (f"{low / factor:.2f} – {high / factor:.2f}" if p.interval else "–", low),
            (cell(p.test, factor, facts.score), math.nan if p.test is None else p.test / factor),
            (cell(row.weight_bits), row.weight_bits),
            (cell(row.activation_bits), row.activation_bits),
        ]
        for metric, (scale, _) in zip(facts.costs, facts.units, strict=True):
            value = p.costs[metric.key] / scale
            cells.append((cell(value) + (" ●" if metric.key in row.fronts else ""), value))
        cells += [(text, None) for text in (row.target, row.budget, row.knobs)]
        lines.append(_line(cells, p.allocator, words))
    titles = Markup("").join(
        Markup('<th{}><button type="button" data-sort="{}">{}</button></th>').format(_class(i in words), i, name)
        for i, name in enumerate(head)
    )
    return Markup(
        '<div class="scroll tall"><table id="points" data-better="{}"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(facts.score.better, titles, Markup("\n").join(lines))


def _class(word: bool) -> Markup:
    return Markup("") if word else Markup(' class="n"')


def _line(cells: list[tuple[str, float | None]], allocator: str, words: set[int]) -> Markup:
    made = []
    for i, (text, value) in enumerate(cells):
        key = Markup("") if value is None else Markup(' data-v="{}"').format(f"{value:.9g}" if math.isfinite(value) else "")
        made.append(Markup("<td{}{}>{}</td>").format(_class(i in words), key, text))
    return Markup('<tr data-allocator="{}">{}</tr>').format(allocator, Markup("").join(made))
