"""The measured points to explore: any two quantities against each other, limits that filter, one point in detail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from ...metrics import Metric
from ...pareto import ParetoFront
from ...records import SweepRecord
from ..explorer_data import explorer_data
from ..markup import data_block, note, paragraph
from ..points import Point, knob_text, mean_bits, measured, value_text
from ..points_table import Row, points_table
from ..section import Fragment
from ..wording import column

_OWN_COLUMNS = ("allocator", "accelerator", "budget", "allocation")
_PLACE = Markup(
    '<div id="explorer" hidden></div><noscript><p class="note">With JavaScript, points can be plotted, filtered and opened.</p></noscript>'
)  # the script fills it


@dataclass(frozen=True)
class ExplorerFacts:
    """All measured points in number order. ``units``: factor and unit of each cost's column. ``data``: what the script knows."""

    score: Metric
    costs: tuple[Metric, ...]
    units: tuple[tuple[float, str], ...]
    rows: tuple[Row, ...]
    data: Mapping[str, Any] = field(default_factory=dict)


class Explorer:
    """A plot with a limit per metric, a panel for one point, and the table of all."""

    title = "Explore the points"

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
        return ExplorerFacts(record.score, record.costs, units, rows, explorer_data(record, done) if done else {})

    def draw(self, facts: ExplorerFacts) -> Fragment:
        """The place of the interactive part, its data, and the table."""
        if not facts.rows:
            return Fragment((paragraph("No measured points."),))
        how = "Every measured trial. A click on a heading sorts."
        explained = (
            "Weight bits are means over parameters, activation bits means over layers. ● lies on the front of that cost over all points."
        )
        table = points_table(facts.score, facts.costs, facts.units, facts.rows)
        return Fragment((data_block("hwdse-data", facts.data), _PLACE, paragraph(how), table, note(explained)))
