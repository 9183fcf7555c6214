"""Puts the results into RESULTS.md, between its markers, and draws the loss curves: python benchmarks/allocators/make_results.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def percent(row: dict[str, Any]) -> str:
    low, high = row["95 % interval"]
    return f"{100 * row['test accuracy']:.2f} ± {50 * (high - low):.2f}"


def trained(cases: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        "| case | quantisers | average bits (w and a) | GBitOPs | test accuracy, % | allocations | over budget | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in cases.items():
        costs = row.get("costs", {})
        bits, bitops = (f"{costs[k] / f:.3f}" if k in costs else "" for k, f in (("average_bits", 1), ("bitops", 1e9)))
        lines.append(
            f"| {name} | {row.get('quantisers', 'none')} | {bits} | {bitops} | {percent(row)} | {len(row.get('trace', []))} "
            f"| {row.get('violations', '')} | {row['seconds']} |"
        )
    return lines


def post_training(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["| weights | widths | average weight bits | rounding | test accuracy, % | seconds |", "|---|---|---|---|---|---|"]
    for row in rows:
        lines.append(
            f"| {row['quantisers']} | {row['widths']} | {row['average weight bits']:.3f} | {row['rounding']} "
            f"| {percent(row)} | {row['seconds']:.0f} |"
        )
    return lines


def slopes(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| network | looked at | first order | curvature | their sum | the curvature ranks better than the first order in |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        found = (row[f"{name}, spearman"] for name in ("first order", "curvature", "both"))
        cells = " | ".join(f"{middle:.2f} ({low:.2f} to {high:.2f})" for _, low, middle, high, _ in found)
        looked = "after an epoch" if row["epochs"] else "calibrated"
        wins = row["cases in which the curvature ranks better than the first order"]
        lines.append(f"| {row['network']} | {looked} | {cells} | {wins} of {row['cases']} |")
    return lines


def curves(cases: dict[str, dict[str, Any]]) -> None:
    figure, axes = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    markers = "osv^D<>PX*h"
    for number, (name, row) in enumerate((n, r) for n, r in cases.items() if r.get("loss curve")):
        values = row["loss curve"]
        smooth = [sum(values[max(0, i - 4) : i + 5]) / len(values[max(0, i - 4) : i + 5]) for i in range(len(values))]
        at = [100 * i / max(1, len(smooth) - 1) for i in range(len(smooth))]
        axes.plot(at, smooth, label=name, marker=markers[number % len(markers)], markevery=(number * 2, 15), markersize=5, linewidth=1.2)
    axes.set(xlabel="share of the training, %", ylabel="training loss, nats (moving average)", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=2)
    figure.savefig(HERE / "curves.svg", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    cases = {p.stem.removeprefix("cifar10-"): json.loads(p.read_text()) for p in sorted(RESULTS.glob("cifar10-*.json"))}
    parts = {"trained": trained(cases)}
    if (RESULTS / "post_training.json").exists():
        parts["post-training"] = post_training(json.loads((RESULTS / "post_training.json").read_text())["rows"])
    if (RESULTS / "slopes.json").exists():
        parts["slopes"] = slopes(json.loads((RESULTS / "slopes.json").read_text())["summary"])
    curves(cases)
    page = (HERE / "RESULTS.md").read_text()
    for name, lines in parts.items():
        before, mark, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"\n<!-- end {name} -->")
        if not (mark and end):
            raise SystemExit(f"RESULTS.md has no markers for '{name}'.")
        page = before + mark + "\n".join(lines) + end + after
    (HERE / "RESULTS.md").write_text(page)


if __name__ == "__main__":
    main()
