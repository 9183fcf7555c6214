"""What each layer's widths are expected to cost in loss: read from the loss table, measured once before any search."""

from __future__ import annotations

from markupsafe import Markup

from ...records import SweepRecord
from ..loss_facts import SensitivityFacts, sensitivity_facts
from ..markup import note, paragraph
from ..section import Drawing, Fragment
from ..sensitivity_figure import sensitivity_figure


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
