"""How the search went: hypervolume after each trial, and which kinds of trial brought the points of the fronts."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from ...metrics import Metric
from ...pareto import ParetoFront, growth
from ...records import SweepRecord, TrialResult
from .. import style
from ..markup import note, paragraph, table
from ..points import measured
from ..prices import limited
from ..section import Drawing, Fragment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COUNTS = 60  # at most so many points of a curve
ORIGINS = {
    "baseline": "uniform baselines",
    "solver": "the solver's solutions, without training",
    "start": "each allocator once per budget",
    "search": "proposed by the sampler",
    "refine": "a step from the front",
}


@dataclass(frozen=True)
class Kind:
    """Trials of one origin: how many, failed, not measured again since known, on the front of a limited cost; seconds of a trial."""

    origin: str
    trials: int
    failed: int
    known: int
    on_front: int
    seconds: float


@dataclass(frozen=True)
class SearchFacts:
    """``counts``: numbers of trials; ``curves``: cost -> share of the final hypervolume after so many."""

    counts: tuple[int, ...]
    curves: tuple[tuple[Metric, tuple[float, ...]], ...]
    kinds: tuple[Kind, ...]


class Search:
    """A curve and a table."""

    title = "Search progress"

    def facts(self, record: SweepRecord) -> SearchFacts:
        """Over every limited cost."""
        metrics, trials = limited(record), record.trials
        counts = sorted({round(n) for n in np.linspace(1, len(trials), min(COUNTS, len(trials)))}) if trials else []
        curves = tuple((m, tuple(growth(trials, (m, record.score), counts).tolist())) for m in metrics) if record.complete else ()
        on = {t.number for m in metrics for t in ParetoFront.of(measured(record), (m, record.score)).trials}
        names = [*ORIGINS, *sorted({str(t.knobs.get("origin", "")) for t in trials} - {*ORIGINS})]
        groups = {name: [t for t in trials if str(t.knobs.get("origin", "")) == name] for name in names}
        return SearchFacts(tuple(counts), curves, tuple(_kind(name, group, on) for name, group in groups.items() if group))

    def draw(self, facts: SearchFacts) -> Fragment:
        """See the class."""
        if not facts.kinds:
            return Fragment((paragraph("The sweep has no trials yet."),))
        parts: list[Markup | Drawing] = []
        if facts.curves and len(facts.counts) > 1:
            late = {
                m.key: next(n for n, v in zip(facts.counts, values, strict=True) if v >= 0.99) for m, values in facts.curves if values[-1]
            }
            said = ", ".join(f"{key} after {n:,}" for key, n in late.items())
            parts.append(paragraph(f"99 % of the hypervolume was reached: {said}, of {facts.counts[-1]:,} trials."))
            caption = "Hypervolume of the points measured so far, as a share of what all trials reached."
            won = {
                m.key: values[-1] - next(v for n, v in zip(facts.counts, values, strict=True) if n >= 0.8 * facts.counts[-1])
                for m, values in facts.curves
            }
            most = max(won, key=lambda key: won[key])
            caption += f" The last fifth of the trials won at most {won[most]:.1%} ({most})."
            parts.append(Drawing("search-progress", _figure(facts), caption))
        head = ["trials", "", "count", "failed", "known before", "on a front", "median time [s]"]
        rows = [
            [
                k.origin or "–", ORIGINS.get(k.origin, ""), f"{k.trials:,}", f"{k.failed:,}", f"{k.known:,}", f"{k.on_front:,}",
                f"{k.seconds:.3g}" if k.seconds == k.seconds else "–",
            ]
            for k in facts.kinds
        ]  # fmt: skip
        parts.append(table(head, rows, words=2))
        parts.append(note("Known before: the same decision or allocation had been measured, and was not measured again."))
        return Fragment(tuple(parts))


def _kind(origin: str, trials: list[TrialResult], on: set[int]) -> Kind:
    times = [t.seconds for t in trials if t.state == "complete" and "same_as" not in t.knobs]
    return Kind(
        origin=origin,
        trials=len(trials),
        failed=sum(t.state == "failed" for t in trials),
        known=sum("same_as" in t.knobs for t in trials),
        on_front=sum(t.number in on for t in trials),
        seconds=statistics.median(times) if times else float("nan"),
    )


def _figure(facts: SearchFacts) -> Figure:
    lines = ("-", "--", "-.", ":")
    colours = [m.colour for m in style.marks(["adaqat", "qbitopt", "adq", "a", "b", "c", "d", "e"]).values()]
    with style.styled():
        figure = style.blank(6.4, 3.4)
        axes = figure.subplots()
        style.grid(axes)
        for i, (metric, values) in enumerate(facts.curves):
            axes.step(
                facts.counts,
                [100 * v for v in values],
                where="post",
                color=colours[i % len(colours)],
                linestyle=lines[i % len(lines)],
                label=metric.key,
            )
        axes.set_xlabel("trials")
        axes.set_ylabel("hypervolume reached [%]")
        axes.set_ylim(bottom=0, top=104)
        axes.legend(loc="lower right")
    return figure
