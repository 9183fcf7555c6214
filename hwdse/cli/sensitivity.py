"""``hwdse sensitivity``: expected loss increase per layer and width."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hwdse.bits import BitWidths
from hwdse.errors import UnknownName
from hwdse.reports import draw_sensitivity
from hwdse.reports.style import FORMATS

from .setup import file_name, make_bench, writable
from .show import print_json, print_table, print_text, telling


def run(task: str, method: str, figure: Path | None, seed: int, json: bool) -> None:
    """Prints the table and draws the figure."""
    if figure is not None:
        writable(figure)
        if (kind := figure.suffix.removeprefix(".")) not in FORMATS:
            raise UnknownName("figure format", kind, FORMATS, f"Give a file such as {figure.stem}.png.")
    with telling(json) as say:
        bench = make_bench(task, method=method, seed=seed, say=say)
        table = bench.loss()
    cells, column = table.dense[0], {option: j for j, option in enumerate(table.options)}
    weights, activations = sorted({o.weight for o in table.options}), sorted({o.activation for o in table.options})
    rows: list[dict[str, Any]] = []
    for i, name in enumerate(table.layers):
        narrow_w = {w: float(cells[i, column[BitWidths(w, activations[-1])]]) for w in weights}
        narrow_a = {a: float(cells[i, column[BitWidths(weights[-1], a)]]) for a in activations}
        rows.append({"layer": name, "weights": narrow_w, "activations": narrow_a})
    if json:
        print_json({"task": bench.task.name, "method": method, "convention": table.convention, "unit": "nat", "layers": rows})
        if figure is not None:
            draw_sensitivity(table, figure)
        return
    print_text(f"{bench.task.name}: expected loss increase, nats", style="bold")
    first, second = (
        f"{what}{bits[0]} ... {what}{bits[-2]}" if len(bits) > 1 else what for what, bits in (("w", weights), ("a", activations))
    )
    print_text(f"{first}: weights narrowed, inputs at {activations[-1]} bits; {second}: inputs narrowed, weights at {weights[-1]} bits.")
    print_text(f"{table.convention}.")
    print_text()
    print_table(
        ["layer", *(f"w{w}" for w in weights[:-1]), *(f"a{a}" for a in activations[:-1])],
        [
            [
                str(row["layer"]),
                *(f"{row['weights'][w]:.2e}" for w in weights[:-1]),
                *(f"{row['activations'][a]:.2e}" for a in activations[:-1]),
            ]
            for row in rows
        ],
    )
    path = figure or Path(f"{file_name(bench.task.name)}-sensitivity.png")
    writable(path)
    draw_sensitivity(table, path)
    print_text()
    print_text(f"Figure: {path}")
