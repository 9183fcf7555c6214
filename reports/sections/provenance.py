"""What the numbers mean, what they leave out, and where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ...records import SweepRecord
from ..markup import bullets, folded, heading, paragraph, table
from ..section import Fragment
from ..wording import count


@dataclass(frozen=True)
class MetricConvention:
    """The rule behind one metric."""

    key: str
    convention: str
    notes: tuple[str, ...]
    accelerator: str


@dataclass(frozen=True)
class ProvenanceFacts:
    """Conventions, coverage and origin. ``covered``: share of the graph's MACs that lie in layers with a width; None where unknown."""

    conventions: tuple[MetricConvention, ...]
    macs: float | None
    params: float | None
    batch: int | None
    layers: int
    covered: float | None
    left_out: tuple[tuple[str, str], ...]
    provenance: tuple[tuple[str, str], ...]
    config: Mapping[str, Any]


class Provenance:
    """Read it before comparing a number with anyone else's."""

    title = "Conventions, coverage, provenance"

    def facts(self, record: SweepRecord) -> ProvenanceFacts:
        """Everything as recorded; a convention that the record lacks is taken from the table."""
        graph = record.graph
        layers = list(graph.get("layers", ()))
        counted = set(next(iter(record.tables.values())).layers) if record.tables else {str(x.get("name")) for x in layers}
        macs = graph.get("macs")
        inside = sum(float(x.get("macs") or 0) for x in layers if str(x.get("name")) in counted)
        return ProvenanceFacts(
            conventions=_conventions(record),
            macs=macs,
            params=graph.get("params"),
            batch=graph.get("batch"),
            layers=len(layers),
            covered=inside / macs if macs and layers else None,
            left_out=tuple((str(x.get("name", "")), str(x.get("reason", ""))) for x in graph.get("left_out", ())),
            provenance=(
                *_flat("", record.provenance), *((("graph fingerprint", str(graph["fingerprint"])),) if graph.get("fingerprint") else ()),
            ),
            config=record.config,
        )  # fmt: skip

    def draw(self, facts: ProvenanceFacts) -> Fragment:
        """Tables, and the configuration folded."""
        parts: list[Markup] = [heading("Conventions")]
        rows = [[c.key, c.accelerator or "–", c.convention or "not stated", " ".join(c.notes) or "–"] for c in facts.conventions]
        parts.append(table(["metric", "accelerator", "convention", "notes"], rows, words=4) if rows else paragraph("None recorded."))
        parts += [heading("Coverage"), paragraph(_coverage(facts))]
        if facts.left_out:
            left = "Left out of the count: these have no rule, or are counted elsewhere."
            parts += [paragraph(left), bullets(f"{name}: {reason}" if reason else name for name, reason in facts.left_out[:60])]
            parts += [paragraph(f"… and {len(facts.left_out) - 60} more.")] if len(facts.left_out) > 60 else []
        parts += [heading("Provenance")]
        parts += [table(["what", "value"], facts.provenance, words=2) if facts.provenance else paragraph("None recorded.")]
        if facts.config:
            text = json.dumps(facts.config, indent=2, default=str)
            parts.append(folded("Configuration of the sweep", Markup("<pre>{}</pre>").format(text)))
        return Fragment(tuple(parts))


def _conventions(record: SweepRecord) -> tuple[MetricConvention, ...]:
    found = []
    for key in dict.fromkeys([*(m.key for m in record.costs), *record.conventions, *record.tables]):
        said, made = record.conventions.get(key, {}), record.tables.get(key)
        on = said.get("accelerator") or (made.metric.on if made else "") or ""
        found.append(
            MetricConvention(
                key,
                str(said.get("convention") or (made.convention if made else "")),
                tuple(map(str, said.get("notes") or (made.notes if made else ()))),
                str(on.get("name", "") if isinstance(on, Mapping) else on),
            )
        )
    return tuple(found)


def _coverage(facts: ProvenanceFacts) -> str:
    if facts.macs is None:
        return "The record does not say how many operations the network has."
    text = f"{count(facts.layers, 'layer')}, {facts.macs:,.0f} MACs"
    text += f" at batch {facts.batch}" if facts.batch else ""
    text += f", {facts.params:,.0f} parameters." if facts.params is not None else "."
    if facts.covered is not None:
        text += f" {100 * facts.covered:.2f} % of the MACs lie in layers that have a width of their own."
    return text + ("" if facts.left_out else " Nothing was left out of the count.")


def _flat(prefix: str, data: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Nested mappings as dotted names."""
    out: list[tuple[str, str]] = []
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            out += _flat(f"{name}.", value)
        else:
            out.append((name, ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)))
    return tuple(out)
