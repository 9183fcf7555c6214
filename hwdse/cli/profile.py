"""``hwdse profile``: what the model is, what it costs, and what could not be counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hwdse.choices import Choices
from hwdse.costmodels import load_accelerator
from hwdse.costs import CostTable
from hwdse.errors import UsageError
from hwdse.formats import LayerFormat, grid
from hwdse.graph import Layer, LayerGraph
from hwdse.metrics import Metric
from hwdse.reports.commands import quoted

from .details import print_details
from .setup import make_bench
from .show import print_json, print_table, print_text, telling

MACS = Metric("macs", "bitop")  # shown with the same prefixes


def _count(value: float) -> str:
    factor, symbol = MACS.scale(value)
    return f"{value / factor:.4g} {symbol}".strip()


def run(task: str, accelerators: list[str], at: list[str], decode: int | None, detail: bool, json: bool) -> None:
    """Prints the table."""
    pairs = [LayerFormat.parse(text) for text in at]
    plain = [pair for pair in pairs if pair.plain]
    if detail and not accelerators:
        raise UsageError("--detail is about accelerators: name one with -a.")
    with telling(json) as say:
        bench = make_bench(
            task, accelerators, say=say, formats=[*grid({8, *(p.weight for p in plain)}, {8, *(p.activation for p in plain)}), *pairs],
            decode=decode,
        )  # fmt: skip
        graph, tables = bench.costed_graph, bench.tables
    if detail:
        print_details([load_accelerator(name) for name in dict.fromkeys(accelerators)], graph, pairs, json)
        return
    layered = [t for t in tables.values() if t.rows == 1 and t.metric.name in ("bitops", "latency", "energy")]
    rows = [_row(layer, graph, bench.choices, layered, pairs) for layer in graph.layers]
    totals = {f"{key} {pair}": _uniform(t, pair) for key, t in tables.items() for pair in pairs}
    if json:
        print_json(
            {
                "task": task,
                "graph": graph.fingerprint,
                "decode": decode,
                "macs": graph.macs,
                "params": graph.params,
                "layers": rows,
                "uniform": totals,
                "conventions": {key: t.convention for key, t in tables.items()},
                "notes": {key: list(t.notes) for key, t in tables.items()},
                "data_flow": bench.graph.data_flow,
                "parameters": [{"name": item.name, "elements": item.elements} for item in graph.parameters],
                "left_out": [{"name": item.name, "reason": item.reason} for item in graph.left_out],
            }
        )
        return
    of = "" if decode is None else f", to generate one token with {decode:,} in the cache"
    print_text(f"{task}: {len(graph.layers)} counted layers, {_count(graph.macs)} MACs, {graph.params:,} weights{of}", style="bold")
    if not bench.graph.data_flow:
        print_text("Traced by hooks, not by torch.export: no data flow is known. See 'Not counted' below.", style="bold")
    print_text()
    _print_layers(rows, [(t, p) for t in layered for p in pairs if t.metric.name != "bitops"])
    print_text()
    print_table(
        ["whole network, uniform", *map(str, pairs)],
        [[key, *(t.metric.format(totals[f"{key} {p}"]) for p in pairs)] for key, t in tables.items()],
    )
    print_text()
    _print_conventions(tables, pairs[0])
    print_text(f"In full, with every assumption: {_command(task, accelerators, decode)}")
    _print_coverage(graph)


def _row(layer: Layer, graph: LayerGraph, choices: Choices, tables: Sequence[CostTable], pairs: Sequence[LayerFormat]) -> dict[str, Any]:
    """What the table says of a layer; without costs where no width of it can be chosen."""
    costs = {}
    if layer.name in choices.position:
        for table, pair in [(t, p) for t in tables for p in pairs]:
            costs[f"{table.metric.key} {pair}"] = float(table.dense[0, choices.position[layer.name], table.options.index(pair)])
    return {
        "layer": layer.name,
        "kind": _kind(layer.kind, layer.depthwise, layer.transposed),
        "input": layer.input_shape,
        "output": layer.output_shape,
        "weight": layer.weight_shape,
        "macs": layer.macs,
        "macs_share": layer.macs / graph.macs if graph.macs else 0.0,
        "params": layer.params,
        "quantisable": layer.quantisable,
        "costs": costs,
    }


def _print_layers(rows: Sequence[dict[str, Any]], shown: Sequence[tuple[CostTable, LayerFormat]]) -> None:
    print_table(
        ["layer", "kind ", "input ", "output ", "MACs", "share", "weights", *(f"{t.metric.key}\n{p}" for t, p in shown)],
        [
            [
                row["layer"],
                row["kind"],
                _shape(row["input"]),
                _shape(row["output"]),
                _count(row["macs"]),
                f"{row['macs_share']:.1%}",
                f"{row['params']:,}",
                *(t.metric.format(row["costs"][f"{t.metric.key} {p}"]) if row["costs"] else "fixed" for t, p in shown),
            ]
            for row in rows
        ],
    )


def _print_conventions(tables: Mapping[str, CostTable], pair: LayerFormat) -> None:
    print_text("What the numbers are", style="bold")
    said: dict[str, list[str]] = {}
    for key, table in tables.items():
        said.setdefault(_short(table.convention) + _sources(table, pair), []).append(key)
    for text, keys in said.items():
        print_text(f"  {', '.join(keys)}: {text}", indent=4)


def _print_coverage(graph: LayerGraph) -> None:
    fixed = [layer.name for layer in graph.layers if not layer.quantisable]
    if fixed:
        print_text()
        print_text("Counted at a fixed width (no module whose weight and input can be quantised)", style="bold")
        print_text(f"  {', '.join(fixed)}", indent=2)
    floating = [layer.name for layer in graph.layers if layer.floating]
    if floating:
        print_text()
        print_text(
            "Of these in floating point (the weight is complex, or computed in the forward pass behind every quantiser)", style="bold"
        )
        print_text(f"  {', '.join(floating)}", indent=2)
    if graph.parameters:
        print_text()
        print_text("Stored in floating point (parameters that no counted layer uses; 'weights' includes them)", style="bold")
        print_text(f"  {', '.join(f'{item.name} ({item.elements:,})' for item in graph.parameters)}", indent=2)
    print_text()
    if graph.left_out:
        print_text("Not counted (no cost above includes their work)", style="bold")
        for item in graph.left_out:
            print_text(f"  {item.name}: {item.reason}", indent=4)
    else:
        print_text("Every operation with multiply-accumulates and every parameter was counted.")


def _sources(table: CostTable, pair: LayerFormat) -> str:
    """How much of a number was looked up, and how much estimated; nothing where all of it is computed."""
    shares = {k: v for k, v in table.by_source(np.full(len(table.layers), table.options.index(pair))).items() if v >= 0.005}
    return "" if set(shares) <= {"computed"} else f"; at {pair}: {', '.join(f'{k} {v:.0%}' for k, v in shares.items())}"


def _command(task: str, accelerators: Sequence[str], decode: int | None) -> str:
    devices = [word for name in accelerators for word in ("-a", name)]
    return quoted(["hwdse", "profile", task, *devices, *([] if decode is None else ["--decode", str(decode)]), "--json"])


def _short(convention: str) -> str:
    """The first clause: up to the first semicolon that stands in no bracket."""
    depth = 0
    for i, letter in enumerate(convention):
        depth += (letter in "([") - (letter in ")]")
        if letter == ";" and not depth:
            return convention[:i]
    return convention.rstrip(".")


def _kind(kind: str, depthwise: bool, transposed: bool) -> str:
    return f"{'depthwise ' if depthwise else ''}{'transposed ' if transposed else ''}{kind}"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _uniform(table: CostTable, pair: LayerFormat) -> float:
    """Every layer at one pair, the first and last too: a property of the network, not of any policy."""
    return float(table.totals(np.full(len(table.layers), table.options.index(pair)))[0])
