"""What one more millisecond, kibibyte or joule buys, and where it buys nothing more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from ...metrics import Metric
from ...records import SweepRecord
from .. import style
from ..knees import KNEE_METHOD
from ..markup import bullets, folded, note, paragraph, table
from ..prices import Prices, Step, limited, prices
from ..section import Drawing, Fragment
from ..wording import cell, chance, column, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class PriceFacts:
    """One entry for each limited cost that has a front."""

    score: Metric
    costs: tuple[Prices, ...]


class ShadowPrices:
    """Sentences, a figure of the envelope, and a table for each limited cost."""

    title = "What one more unit buys"

    def facts(self, record: SweepRecord) -> PriceFacts:
        """Shadow prices of the measured front."""
        return PriceFacts(record.score, tuple(p for m in limited(record) if (p := prices(record, m)) is not None))

    def draw(self, facts: PriceFacts) -> Fragment:
        """See the class."""
        if not facts.costs:
            return Fragment((paragraph("No trial has both a score and a finite cost, so nothing has a price."),))
        parts: list[Markup | Drawing] = [bullets(sentence(facts.score, p) for p in facts.costs)]
        for p in facts.costs:
            if p.steps:
                caption = f"{p.cost.key}: the envelope of the front, and what more of it buys on each part."
                parts.append(Drawing(f"price-{p.cost.key}", _figure(facts.score, p), caption))
        parts += [folded(f"Prices of {p.cost.key} as a table", _table(facts.score, p)) for p in facts.costs if p.steps]
        parts.append(
            note(
                "Slopes of the least concave curve above the measured front: the shadow price of a limit, as far as this run measured.",
                f"Knee: {KNEE_METHOD}.",
                "Within chance: the paired test of both ends on the same validation samples finds no difference at 5 %; where the samples'",
                "scores were not kept, the test of two independent samples, which tells less.",
            )
        )
        return Fragment(tuple(parts))


def sentence(score: Metric, p: Prices) -> str:
    """``"latency@x: from 1 ms to 2 ms, 0.1 ms more buys 0.40 points; above 5 ms nothing."``"""
    cost = p.cost
    above = f"beyond {shown(cost, p.best.costs[cost.key])} ({p.best.name}) nothing measured is better"
    if not p.steps:
        return f"{cost.key}: the cheapest point is also the best; {above}."
    said = []
    for s in joined(p):
        low, high = (shown(cost, end.costs[cost.key]) for end in (s.low, s.high))
        said.append(f"from {low} to {high} {_buys(score, p, s)}{' (within chance)' if s.chance else ''}")
    enough = ""
    if p.enough is not None and p.enough != p.best:
        enough = f" From {shown(cost, p.enough.costs[cost.key])} on ({p.enough.name}) no gain is beyond chance."
    knee = f" The front's knee is {p.knee.name} at {shown(cost, p.knee.costs[cost.key])}." if p.knee else ""
    return f"{cost.key}: {'; '.join(said)}; {above}.{enough}{knee}"


def _buys(score: Metric, p: Prices, step: Step) -> str:
    """``"100 us more buys 0.21 points"``; of a step shorter than that, what all of it gains."""
    unit, text = _unit(p)
    short = abs(step.high.costs[p.cost.key] - step.low.costs[p.cost.key]) < unit
    return f"it gains {_points(score, step.gain)}" if short else f"{text} more buys {_points(score, step.price * unit)}"


def _unit(p: Prices) -> tuple[float, str]:
    """A power of ten of the cost, a twentieth to a half of what the envelope spans: in stored units, and in words."""
    cost = p.cost
    span = abs(p.best.costs[cost.key] - p.steps[0].low.costs[cost.key])
    factor, _ = cost.scale(span)
    amount = 10.0 ** math.floor(math.log10(span / factor / 2)) * factor
    return amount, cost.format(amount)


def _points(score: Metric, gain: float) -> str:
    if score.unit != "fraction":
        return f"{score.format(gain)} {'more' if score.better == 'higher' else 'less'} {score.name}"
    return f"{gain * 100:.2f} points" if gain * 100 >= 0.1 else f"{gain * 100:.2g} points"


def _figure(score: Metric, p: Prices) -> Figure:
    key, percent = p.cost.key, 0.01 if score.unit == "fraction" else 1.0
    factor, unit = column(p.cost, [q.costs[key] for q in p.front])
    with style.styled():
        figure = style.blank(6.4, 3.6)
        axes = figure.subplots()
        style.grid(axes)
        axes.plot([q.costs[key] / factor for q in p.front], [q.score / percent for q in p.front], "o", color=style.REFERENCE, markersize=4)
        corners = [p.steps[0].low, *(s.high for s in p.steps)]
        axes.plot([q.costs[key] / factor for q in corners], [q.score / percent for q in corners], color=style.INK, linewidth=1.3)
        for s in joined(p):
            x = (s.low.costs[key] + s.high.costs[key]) / 2
            late = abs(x - corners[0].costs[key]) > 0.55 * abs(p.best.costs[key] - corners[0].costs[key])
            at = (s.high.costs[key] if late else x) / factor, (s.low.score + s.high.score) / 2 / percent
            axes.annotate(
                _buys(score, p, s).removeprefix("it "), at, (0 if late else 6, -13), textcoords="offset points", fontsize="small",
                ha="right" if late else "left",
            )  # fmt: skip
        if score.better == "lower":
            axes.invert_yaxis()
        axes.margins(0.06, 0.1)
        axes.set_xlabel(f"{key} [{unit}]" if unit else key)
        axes.set_ylabel(f"validation {score.name}{' [%]' if percent < 1 else ''}")
    return figure


def joined(p: Prices) -> list[Step]:
    """The envelope in few words: steps shorter than a tenth of what it spans are taken together with the next."""
    key = p.cost.key
    span = abs(p.best.costs[key] - p.steps[0].low.costs[key])
    found: list[Step] = []
    for s in p.steps:
        last = found[-1] if found else None
        if (
            last is not None
            and abs(last.high.costs[key] - last.low.costs[key]) < 0.1 * span
            and abs(s.high.costs[key] - s.low.costs[key]) < 0.1 * span
        ):
            gain = last.gain + s.gain
            width = last.gain / last.price + s.gain / s.price
            found[-1] = Step(last.low, s.high, gain, gain / width, chance(last.low, s.high))
        else:
            found.append(s)
    return found


def _table(score: Metric, p: Prices) -> Markup:
    key, percent = p.cost.key, 0.01 if score.unit == "fraction" else 1.0
    factor, unit = column(p.cost, [q.costs[key] for q in p.front])
    points = " [points]" if percent < 1 else ""
    chance = any(s.chance is not None for s in p.steps)
    head = ["from", "to", f"from [{unit}]", f"to [{unit}]", f"gain{points}", f"gain per {unit}{points}"] + (
        ["within chance"] if chance else []
    )
    rows = []
    for s in p.steps:
        row = [s.low.name, s.high.name, cell(s.low.costs[key], factor), cell(s.high.costs[key], factor)]
        row += [f"{s.gain / percent:.2f}", f"{s.price * factor / percent:.3g}"]
        rows.append(row + ([{True: "yes", False: "no", None: "–"}[s.chance]] if chance else []))
    return table(head, rows, words=2)
