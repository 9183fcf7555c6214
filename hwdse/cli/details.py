"""``hwdse profile --detail``: what bounds each layer on each accelerator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from hwdse.costmodels import Accelerator
from hwdse.costmodels.details import Detail, details
from hwdse.formats import LayerFormat
from hwdse.graph import LayerGraph
from hwdse.metrics import LATENCY, WEIGHTS

from .show import print_json, print_table, print_text


def print_details(accelerators: Sequence[Accelerator], graph: LayerGraph, pairs: Sequence[LayerFormat], json: bool) -> None:
    """One table for each accelerator and pair."""
    found = [(a, pair, details(a, graph.layers, pair)) for a in accelerators for pair in pairs]
    if json:
        print_json([{"accelerator": a.name, "widths": str(pair), "layers": [_plain(d) for d in rows]} for a, pair, rows in found])
        return
    for number, (accelerator, pair, rows) in enumerate(found):
        if number:
            print_text()
        _print(accelerator, pair, rows)


def _plain(detail: Detail) -> dict[str, Any]:
    return {**asdict(detail), "runs": None if detail.runs is None else str(detail.runs)}


def _print(accelerator: Accelerator, pair: LayerFormat, rows: Sequence[Detail]) -> None:
    levels = list(dict.fromkeys(name for d in rows for name in d.memory or {}))
    print_table(
        ["layer", "runs as", "time", "source ", "arithmetic", *(f"{n}\ntime" for n in levels), *(f"{n}\ntraffic" for n in levels),
         "of peak\nrate", "bound by "],
        [
            [
                d.layer, str(d.runs or "cannot run"), LATENCY.format(d.time.value), d.time.source, _time(d.compute),
                *(_time((d.memory or {}).get(n)) for n in levels),
                *("" if (d.bits or {}).get(n) is None else WEIGHTS.format((d.bits or {})[n] / 8) for n in levels),
                "" if d.utilisation is None else f"{d.utilisation:.1%}", d.bound or "",
            ]
            for d in rows
        ],
        title=f"{accelerator.name} at {pair}",
    )  # fmt: skip
    total = sum(d.time.value for d in rows)
    shares = {b: sum(d.time.value for d in rows if d.bound == b) / total for b in dict.fromkeys(d.bound for d in rows if d.bound)}
    said = ", ".join(f"{share:.0%} by {name}" for name, share in sorted(shares.items(), key=lambda s: -s[1]))
    print_text()
    print_text(f"Sum over layers {LATENCY.format(total)}, before overheads and calibration{f'; bound: {said}' if said else ''}.")
    if any(d.time.source not in ("analytic", "unsupported") for d in rows) and said:
        print_text(
            "Times come from the look-up table where it has them; arithmetic, traffic and what bounds a layer from the analytic model."
        )


def _time(seconds: float | None) -> str:
    return "" if seconds is None else LATENCY.format(seconds)
