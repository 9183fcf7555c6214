"""What the page's script knows of a run: the measured points by column, the budgets, the tables behind the costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..costs import CostTable
from ..formats import listed
from ..metrics import LOSS, Metric
from ..records import SweepRecord, TrialResult
from . import style
from .budgets import budget_results
from .commands import SWEEP_FILE, allocation_stem, reproduction, sweep_file
from .embedding import coded_allocation, embedded_tables, plain, rounded
from .points import Point, mean_bits
from .predicted import predicted_front
from .predicting import ASSUMES, NoPrediction
from .supposing import Evidence, in_score, matched
from .wording import column

BITS = Metric("bits", "bit")


def explorer_data(record: SweepRecord, trials: Sequence[TrialResult]) -> dict[str, Any]:
    """JSON-able; see the keys. ``axes`` are all quantities of a point, one value per point each, the score's first."""
    points = [Point.of(record, t) for t in trials]
    layers, tables_used = _layers(record), _tables(record, trials)
    options = listed((*(o for t in tables_used.values() for o in t.options), *(w for t in trials for w in (t.allocation or {}).values())))
    place = {option: i for i, option in enumerate(options, 1)}
    tables, left = embedded_tables(tables_used, layers, place)
    made = [reproduction(record, t) for t in trials]
    said = list(dict.fromkeys(m.said for m in made))
    axes = _axes(record, trials, points)
    names = list(dict.fromkeys(p.allocator for p in points))
    return {
        "task": record.task,
        "stem": allocation_stem(record.task),
        "graph": record.graph.get("fingerprint"),
        "weights": record.provenance.get("weights"),
        "axes": axes,
        "reference": {"score": record.reference.get("validation"), "test": record.reference.get("test")},
        "allocators": [{"name": n, "colour": m.colour, "shape": m.shape} for n, m in style.marks(sorted(names)).items()],
        "sources": {name: {"colour": colour, "hatch": hatch[:1]} for name, (colour, hatch) in style.SOURCES.items()},
        "layers": layers,
        "options": ["", *map(str, options)],
        "operands": [None, *([[f.label, f.stored_bits] for f in (o.weight, o.activation)] for o in options)],
        "points": {
            "number": [p.number for p in points],
            "name": [p.name for p in points],
            "allocator": [p.allocator for p in points],
            "interval": [p.interval and [rounded(end) for end in p.interval] for p in points],
            "samples": [t.samples for t in trials],
            "allocation": [coded_allocation(t.allocation, layers, place) for t in trials],
            "scheme": [t.knobs.get("scheme") for t in trials],
            "command": [m.command for m in made],
            "said": [said.index(m.said) for m in made],
        },
        "budgets": [
            {"name": b.name, "limits": [[_place(axes, x.metric.key), x.value] for x in b.limits]}
            for b in budget_results(record) if b.limits
        ],
        "said": said,
        "tables": tables,
        "left": left,
        "predicted": _predicted(record),
        "predictedScores": _predicted_scores(record),
        "tied": record.choices is not None,
        "sweep": {"name": SWEEP_FILE, "text": sweep_file(record.config)},
    }  # fmt: skip


def _layers(record: SweepRecord) -> list[str]:
    """In the tables' order; without tables, in the order of the allocations."""
    named = (name for table in record.tables.values() for name in table.layers)
    allocated = (name for t in record.trials for name in t.allocation or ())
    return list(dict.fromkeys((*named, *allocated)))


def _tables(record: SweepRecord, trials: Sequence[TrialResult]) -> dict[str, CostTable]:
    """By metric key; those that hold for the quantisers of some trials only, by key, a blank, and the quantisers."""
    keys = [m.key for m in (*record.costs, LOSS)]
    found = {key: record.tables[key] for key in keys if key in record.tables}
    for scheme in dict.fromkeys(str(t.knobs.get("scheme", "")) for t in trials):
        own = record.scheme_tables.get(scheme, {})
        found |= {f"{key} {scheme}": own[key] for key in keys if key in own}
    return found


def _axes(record: SweepRecord, trials: Sequence[TrialResult], points: Sequence[Point]) -> list[dict[str, Any]]:
    score = record.score
    bits = [mean_bits(record, t.allocation) for t in trials]
    found = [_axis(score, f"validation {score.name}", "score", [p.score for p in points])]
    if any(p.test is not None for p in points):
        found.append(_axis(score, f"test {score.name}", "test", [math.nan if p.test is None else p.test for p in points]))
    for metric in record.costs:
        axis = _axis(metric, metric.key, "cost", [p.costs[metric.key] for p in points])
        found.append(axis | {"errors": _errors(metric, trials)})
    losses = [t.measures.get(LOSS.key, math.nan) for t in trials]
    if any(map(math.isfinite, losses)):
        found.append(_axis(LOSS, "expected loss", "loss", losses) | {"unit": "nat"})
    for label, values in (("mean weight bits", [w for w, _ in bits]), ("mean activation bits", [a for _, a in bits])):
        if any(map(math.isfinite, values)):
            found.append(_axis(BITS, label, "bits", [float(f"{v:.7g}") for v in values]))
    return found


def _axis(metric: Metric, label: str, kind: str, values: Sequence[float]) -> dict[str, Any]:
    """Values in the stored unit; ``factor`` and ``unit`` are those in which they are shown."""
    factor, unit = (0.01, "%") if metric.unit == "fraction" else column(metric, values)
    return {
        "key": metric.key, "name": metric.name, "on": metric.on, "label": label, "kind": kind, "lower": metric.better == "lower",
        "stored": metric.unit, "factor": factor, "unit": unit, "values": [plain(v) for v in values],
    }  # fmt: skip


def _errors(metric: Metric, trials: Sequence[TrialResult]) -> list[float | str | None] | float | None:
    """How far off each value may be; one value where all agree. A cost that depends on no device is exact."""
    found = [rounded(error) if (error := t.errors.get(metric.key, None if metric.on else 0.0)) is not None else None for t in trials]
    return found if len(set(found)) > 1 else (found[0] if found else None)  # type: ignore[return-value]


def _place(axes: Sequence[dict[str, Any]], key: str) -> int:
    return next(i for i, axis in enumerate(axes) if axis["key"] == key and axis["kind"] in ("score", "cost"))


def _predicted(record: SweepRecord) -> dict[str, list[list[float | str | None]]]:
    """Cost key -> corners of the front that the tables promise."""
    if LOSS.key not in record.tables:
        return {}
    fronts = {
        m.key: predicted_front(record.tables[m.key], record.tables[LOSS.key], record.choices)
        for m in record.costs
        if m.key in record.tables
    }
    return {key: [[rounded(c), rounded(e)] for c, e in corners] for key, corners in fronts.items() if len(corners) > 1}


def _predicted_scores(record: SweepRecord) -> dict[str, Any]:
    """Cost key -> (cost, score, ends of the interval) along the front that the tables promise, and what that goes by; or why not."""
    if LOSS.key not in record.tables or record.choices is None:
        return {"fronts": {}}
    evidence = Evidence.of(record, record.choices)
    costs = [m.key for m in record.costs if m.key in record.tables]
    fronts = {key: predicted_front(record.tables[key], evidence.loss, record.choices) for key in costs}
    fronts = {key: corners for key, corners in fronts.items() if len(corners) > 1}
    try:
        prediction = evidence.predict(np.concatenate([corners[:, 1] for corners in fronts.values()] or [np.zeros(0)]))
    except NoPrediction as error:
        return {"fronts": {}, "refused": str(error)}
    ends = np.cumsum([len(corners) for corners in fronts.values()])[:-1]
    found = zip(fronts.items(), np.split(np.column_stack(in_score(record.score, prediction)), ends), strict=True)
    rows = {key: np.column_stack([corners[:, 0], scores]) for (key, corners), scores in found}
    how = matched(record.score, evidence.fidelity, prediction, evidence.anchor is not None)
    return {
        "fronts": {key: [[rounded(v) for v in row] for row in part if np.isfinite(row).all()] for key, part in rows.items()},
        "said": f"with its {prediction.level * 100:.0f} % interval. {how} It assumes that {ASSUMES}.",
    }
