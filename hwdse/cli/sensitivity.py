"""``hwdse sensitivity``: expected loss increase per layer and width, and the audit of the methods that say so."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hwdse.formats import parse_options
from hwdse.names import file_name
from hwdse.reports import draw_sensitivity, style
from hwdse.reports.figures import figure_format, save_figure
from hwdse.reports.loss_facts import sensitivity_facts
from hwdse.sensitivity.audit import Audit, within_noise
from hwdse.sensitivity.audit import audit as run_audit
from hwdse.workbench import Workbench

from .setup import make_bench, writable
from .show import print_json, print_table, print_text, telling

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hwdse.costs import FloatArray

# Okabe and Ito's colours, safe for the colour-blind; shapes tell them apart too
_MARKS = {"weight": ("#0072b2", "o", "weights of a layer"), "activation": ("#d55e00", "^", "input of a layer")}


def run(task: str, method: str, formats: str | None, audit: bool, figure: Path | None, seed: int, json: bool) -> None:
    """Prints the table and draws the figure; with ``audit``, of all methods against measurement."""
    if figure is not None:
        writable(figure)
        figure_format(figure)
    with telling(json) as say:
        options = None if formats is None else parse_options(formats)
        bench = make_bench(task, method=method, formats=options, seed=seed, say=say)
        if audit:
            found = run_audit(bench.quantized, bench.task, bench.choices, seed=seed, say=say)
        else:
            bench.loss()
    if audit:
        _show_audit(bench, found, figure, json)
    else:
        _show_table(bench, figure, json)


def _show_table(bench: Workbench, figure: Path | None, json: bool) -> None:
    table = bench.loss()
    facts, choices = sensitivity_facts(table), bench.choices
    weights, activations = ([one.label for one in found] for found in (choices.weight_formats, choices.activation_formats))
    rows: list[dict[str, Any]] = [
        {"layer": x.layer, "weights": {f.label: v for f, v in x.weights}, "activations": {f.label: v for f, v in x.activations}}
        for x in facts.layers
    ]
    if json:
        said = {"convention": table.convention, "notes": table.notes, "unit": "nat"}
        print_json({"task": bench.task.name, "method": bench.method, **said, "layers": rows})
        if figure is not None:
            draw_sensitivity(table, figure)
        return
    print_text(f"{bench.task.name}: expected loss increase, nats", style="bold")
    first, second = (
        f"{what}{names[0]} ... {what}{names[-2]}" if len(names) > 1 else what for what, names in (("w", weights), ("a", activations))
    )
    print_text(
        f"{first}: weights narrowed, inputs in the last format beside them ({activations[-1]}); {second}: inputs narrowed, weights in "
        f"theirs ({weights[-1]})."
    )
    print_text(f"{table.convention}.")
    for note in table.notes:
        print_text(f"Note: {note}", indent=2)
    print_text()
    print_table(
        ["layer", *(f"w{w}" for w in weights[:-1]), *(f"a{a}" for a in activations[:-1])],
        [
            [
                str(row["layer"]),
                *(_loss(row["weights"].get(w)) for w in weights[:-1]),
                *(_loss(row["activations"].get(a)) for a in activations[:-1]),
            ]
            for row in rows
        ],
    )
    path = figure or Path(f"{file_name(bench.task.name, 'task')}-sensitivity.png")
    writable(path)
    draw_sensitivity(table, path)
    print_text()
    print_text(f"Figure: {path}")


def _loss(value: float | None) -> str:
    return "-" if value is None else f"{value:.2e}"


def _show_audit(bench: Workbench, found: Audit, figure: Path | None, json: bool) -> None:
    if json:
        print_json({"task": bench.task.name, "seed": bench.seed, **_audit_facts(bench, found)})
        if figure is not None:
            _draw_audit(found, figure)
        return
    print_text(f"{bench.task.name}: sensitivities against the measured calibration loss, by rank", style="bold")
    print_text(
        f"Networks: predicted total against the loss of the whole network under {len(found.allocations)} random allocations. "
        f"Cells: {len(found.cells)} times one tensor of one layer, narrowed from its widest width, against the loss measured so. "
        "Intervals hold 95 % of samples drawn again."
    )
    print_text()
    rows = []
    for one in found.methods:
        a, c = one.by_allocation, one.by_cell
        cells = ["-", "-", "-"] if c is None else [f"{c.spearman:.2f}", f"{c.low:.2f} to {c.high:.2f}", f"{c.kendall:.2f}"]
        rows.append([one.method, f"{one.seconds:.2g} s", f"{a.spearman:.2f}", f"{a.low:.2f} to {a.high:.2f}", f"{a.kendall:.2f}", *cells])
    part = ["Spearman", "interval", "Kendall"]
    print_table(["method", "time", *(f"{p}\n(networks)" for p in part), *(f"{p}\n(cells)" for p in part)], rows)
    print_text()
    print_text(found.verdict)
    path = figure or Path(f"{file_name(bench.task.name, 'task')}-audit.png")
    writable(path)
    _draw_audit(found, path)
    print_text(f"Figure: {path}")


def _audit_facts(bench: Workbench, found: Audit) -> dict[str, Any]:
    best = found.methods[0]
    cells = [
        {"layer": found.layers[c.layer], "tensor": c.part, "format": str(c.format), "bits": c.format.bits, "measured": float(value)}
        for c, value in zip(found.cells, found.measured_cells, strict=True)
    ]
    allocations = [
        {"widths": {n: str(o) for n, o in bench.choices.allocation(indices).items()}, "measured": float(value)}
        for indices, value in zip(found.allocations, found.measured_allocations, strict=True)
    ]
    methods = [
        {
            "method": one.method,
            "seconds": one.seconds,
            "within_noise_of_best": within_noise(best, one, len(found.methods) - 1),
            "allocations": {**asdict(one.by_allocation), "predicted": one.allocations.tolist()},
            "cells": {**(asdict(one.by_cell) if one.by_cell else {}), "predicted": one.cells.tolist()},
        }
        for one in found.methods
    ]
    return {"unit": "nat", "verdict": found.verdict, "best": best.method, "methods": methods, "cells": cells, "allocations": allocations}


def _draw_audit(found: Audit, path: Path) -> None:
    """Predicted against measured loss, a column for each method: cells above, whole networks below."""
    count = len(found.methods)
    with style.styled():
        figure = style.blank(1.2 + 2.3 * count, 5.8)
        grid = figure.subplots(2, count, sharex="row", sharey="row", squeeze=False)
        for column, one in enumerate(found.methods):
            top, bottom = grid[0][column], grid[1][column]
            for part, (colour, shape, label) in _MARKS.items():
                mine = np.array([c.part == part for c in found.cells])
                _scatter(top, one.cells, found.measured_cells, mine, colour, shape, label if not column else None)
            everyone = np.ones(len(found.allocations), bool)
            _scatter(bottom, one.allocations, found.measured_allocations, everyone, style.INK, "D", None if column else "whole network")
            against = "the truth here" if one.by_cell is None else f"Spearman {one.by_cell.spearman:.2f}"
            top.set_title(f"{one.method}\n{against}")
            bottom.set_title(f"Spearman {one.by_allocation.spearman:.2f}")
            bottom.set_xlabel("predicted loss rise, nats")
        grid[0][0].set_ylabel("measured, one tensor, nats")
        grid[1][0].set_ylabel("measured, whole network, nats")
        title = "hollow: measured at or below 0; left edge: predicted 0; line: predicted = measured"
        figure.legend(loc="outside upper center", ncols=3, title=title)
    save_figure(figure, path)


def _scatter(axes: Axes, predicted: FloatArray, measured: FloatArray, mine: Any, colour: str, shape: str, label: str | None) -> None:
    x, y = _on_log(predicted), _on_log(measured)
    above = measured > 0
    style.grid(axes)
    axes.loglog()
    axes.tick_params(which="minor", length=0)
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    axes.plot(ends, ends, color=style.MUTED, linewidth=0.8, zorder=1)
    axes.scatter(x[mine & above], y[mine & above], s=16, marker=shape, color=colour, alpha=0.75, linewidths=0, label=label, zorder=3)
    axes.scatter(x[mine & ~above], y[mine & ~above], s=16, marker=shape, facecolors="none", edgecolors=colour, linewidths=0.8, zorder=3)


def _on_log(values: FloatArray) -> FloatArray:
    """Values with those at or below 0 put just under the smallest that is above."""
    positive = values[values > 0]
    floor = positive.min() / 3 if len(positive) else 1e-12
    return np.where(values > 0, values, floor)
