"""``hwdse audit``: whether BitOPs or average bits may stand in for what the devices take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from hwdse.costmodels import accelerator_names
from hwdse.names import file_name
from hwdse.proxies import Proxy, audit_proxies
from hwdse.reports import style
from hwdse.reports.figures import figure_format, save_figure

from .setup import make_bench, writable
from .show import print_json, print_table, print_text, telling

PROXIES = ("bitops", "average_bits")
TARGETS = ("latency", "energy", "interval")


def run(task: str, accelerators: list[str], count: int, decode: int | None, figure: Path | None, seed: int, json: bool) -> None:
    """Prints the table and a sentence for each pair, and draws the figure."""
    path = figure or Path(f"{file_name(task, 'task')}-proxies.png")
    figure_format(path)
    writable(path)
    with telling(json) as say:
        bench = make_bench(task, accelerators or accelerator_names(), cost_models=PROXIES, seed=seed, decode=decode, say=say)
        targets = [key for key, table in bench.tables.items() if table.metric.name in TARGETS]
        say("comparing", 0, 1)
        found, left_out = audit_proxies(bench.choices, bench.tables, PROXIES, targets, count=count, seed=seed)
    measured = len(found[0].values)
    if json:
        rows = [
            {
                "proxy": p.proxy.key, "target": p.target.key, **asdict(p.found), "wrong_pairs": p.wrong, "apart_at_equal_proxy": p.apart,
                "stands_in": p.stands_in, "sentence": p.sentence,
            }
            for p in found
        ]  # fmt: skip
        print_json({"task": bench.task.name, "allocations": measured, "left_out": left_out, "seed": seed, "findings": rows})
        if figure is not None:
            _draw(found, figure)
        return
    print_text(f"{bench.task.name}: proxies against what the devices take, over {measured} sampled allocations", style="bold")
    if left_out:
        print_text(f"{left_out} more cannot run on every device and are left out.")
    print_text()
    print_table(
        ["proxy", "device metric", "Spearman", "95 % interval", "Kendall", "pairs in\nwrong order", "apart at\nequal proxy", "stands in "],
        [
            [
                p.proxy.key, p.target.key, f"{p.found.spearman:.2f}", f"{p.found.low:.2f} to {p.found.high:.2f}", f"{p.found.kendall:.2f}",
                f"{p.wrong:.0%}", f"{p.apart - 1:.0%}", "yes" if p.stands_in else "no",
            ]
            for p in found
        ],
    )  # fmt: skip
    print_text()
    for p in found:
        if p.proxy.name == PROXIES[0]:
            print_text(p.sentence, indent=2)
    _draw(found, path)
    print_text(f"Figure: {path}")


def _draw(found: Sequence[Proxy], path: Path) -> None:
    """A panel for each pair: proxy across, cost up, both as a share of their largest."""
    targets = list(dict.fromkeys(p.target for p in found))
    with style.styled():
        figure = style.blank(1.0 + 2.5 * len(targets), 1.0 + 2.4 * len(PROXIES))
        panels = figure.subplots(len(PROXIES), len(targets), squeeze=False, sharex="row")
        for p in found:
            axes = panels[PROXIES.index(p.proxy.name)][targets.index(p.target)]
            style.grid(axes)
            axes.scatter(p.values / p.values.max() * 100, p.costs / p.costs.max() * 100, s=9, alpha=0.5, color="#0072b2", linewidths=0)
            said = "a proxy" if p.stands_in else "no proxy"
            axes.set_title(f"{p.target.key}\nSpearman {p.found.spearman:.2f}: {said}", fontsize=9)
        for row, name in enumerate(PROXIES):
            for axes in panels[row]:
                axes.set_xlabel(f"{name}, % of the largest")
            panels[row][0].set_ylabel("cost, % of the largest")
    save_figure(figure, path)
