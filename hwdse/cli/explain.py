"""``hwdse explain`` and ``hwdse diff``: from records alone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwdse.errors import UnknownName
from hwdse.metrics import LOSS
from hwdse.records import SweepRecord
from hwdse.reports.comparing import compare
from hwdse.reports.explaining import LayerFacts, explain, stored_bits
from hwdse.reports.limits import budget_of

from .opened import open_run
from .show import print_json, print_table, print_text


def run_explain(folder: Path, trial: int, layer: str | None, json: bool) -> None:
    """Every layer in a line, or one with its alternatives."""
    record = open_run(folder)
    found = explain(record, trial)
    names = [f.layer for f in found.layers]
    if layer is not None and layer not in names:
        raise UnknownName("layer", layer, names)
    chosen = [f for f in found.layers if layer in (None, f.layer)]
    if json:
        inside = [[str(x) for x in budget] for budget in found.budgets]
        layers = [_plain(f) for f in chosen]
        print_json(
            {
                "trial": found.trial.number,
                "notes": list(found.notes),
                "budget": [str(x) for x in found.limits],
                "aimed_at": [str(x) for x in found.aimed],
                "meets": inside,
                "layers": layers,
            }
        )
        return
    metrics = {key: record.metric(key) for key in (found.layers[0].costs if found.layers else {})}
    under, written = ", ".join(map(str, found.limits)) or "no limit", ", ".join(budget_of(found.trial))
    under += f" ({written})" if written not in ("", under) else ""
    print_text(f"Trial {trial}, {found.trial.knobs.get('allocator')}: made under {under}", style="bold")
    if found.aimed:
        tightness = float(found.trial.knobs["tightness"])
        print_text(f"The search aimed lower there, at {', '.join(map(str, found.aimed))} ({tightness:.4g} of it).")
    meets = [" and ".join(map(str, budget)) for budget in found.budgets]
    print_text(f"Of the sweep's budgets it meets {'; '.join(meets) or 'none'}.")
    print_text("Expected losses are the loss table's, of each layer by itself; costs are the tables'.")
    for said in found.notes:
        print_text(f"Note: {said}.")
    if any(a.along for f in chosen for a in f.alternatives):
        print_text("Layers that share a width move together: what changes is of all of them.")
    print_text()
    if layer is None:
        print_table(
            ["layer", "widths", "expected\nloss", "share", *(f"{key}\nshare" for key in metrics), "one bit more would "],
            [
                [f.layer, str(f.widths), f"{f.loss:.3g}", f"{f.share:.1%}", *(f"{f.shares[k]:.1%}" for k in metrics), _up(f, record)]
                for f in chosen
            ],
        )
        return
    (facts,) = chosen
    print_text(f"{facts.layer} at {facts.widths}: {facts.loss:.3g} nats, {facts.share:.1%} of the network's expected loss.", indent=2)
    for key, metric in metrics.items():
        print_text(f"{key}: {metric.format(facts.costs[key])}, {facts.shares[key]:.1%} of the network.", indent=2)
    print_text()
    if not facts.alternatives:
        print_text("The run allows it no other width.", indent=2)
        return
    together = any(a.along for a in facts.alternatives)
    print_table(
        ["at", "expected loss", *metrics, "budget ", *(["together with"] if together else [])],
        [
            [
                str(a.widths), f"{a.loss:+.3g} nats", *(_signed(m, a.costs[k]) for k, m in metrics.items()),
                {True: "holds", False: "broken", None: "none"}[a.inside], *([", ".join(a.along)] if together else []),
            ]
            for a in facts.alternatives
        ],
    )  # fmt: skip


def _signed(metric: Any, value: float) -> str:
    return ("+" if value > 0 else "-" if value < 0 else "") + str(metric.format(abs(value)))


def _up(facts: LayerFacts, record: SweepRecord) -> str:
    """What a wider weight, or input, would win, and whether there is room for it."""
    wider = [a for a in facts.alternatives if stored_bits(a.widths) > stored_bits(facts.widths)]
    if not wider:
        return "- (it has its widest)" if facts.alternatives else "- (it may take no other)"
    best = min(wider, key=lambda a: a.loss)
    along = f" with {', '.join(best.along)}" if best.along else ""
    room = {True: "and there is room", False: "but break the budget", None: ""}[best.inside]
    return f"change the loss by {best.loss:+.2g} nats as {best.widths}{along}, {room}".rstrip(", ")


def _plain(facts: LayerFacts) -> dict[str, Any]:
    said = asdict(facts)
    said["widths"] = str(facts.widths)
    for plain, alternative in zip(said["alternatives"], facts.alternatives, strict=True):
        plain["widths"] = str(alternative.widths)
    return {**said, "unit": LOSS.unit}


def run_diff(first: Path, second: Path, json: bool) -> None:
    """Hypervolumes and wins, cost by cost."""
    one, two = open_run(first), open_run(second)
    found = compare(one, two)
    if json:
        pairs = [
            {
                "metric": p.metric.key, "reference": {"cost": p.reference[0], "score": p.reference[1]},
                "hypervolume": list(p.volumes), "points": [len(f.trials) for f in p.fronts],
                "second_better": p.wins[0], "equal": p.wins[1], "first_better": p.wins[2],
            }
            for p in found.pairs
        ]  # fmt: skip
        print_json({"first": str(first), "second": str(second), "differences": list(found.differences), "fronts": pairs})
        return
    score = one.score
    print_text(
        f"{first} ({len(one.trials)} trials) and {second} ({len(two.trials)} trials): fronts of validation {score.name}", style="bold"
    )
    for said in found.differences:
        print_text(f"Note: {said}.")
    print_text()
    head = ["cost", "reference\ncost", f"reference\n{score.name}", "points", "hypervolume\nfirst", "second"]
    rows = []
    for p in found.pairs:
        points = f"{len(p.fronts[0].trials)}, {len(p.fronts[1].trials)}"
        corner = p.metric.format(p.reference[0]), score.format(p.reference[1])
        shares = (f"{p.wins[2]:.0%}", f"{p.wins[1]:.0%}", f"{p.wins[0]:.0%}")
        rows.append([p.metric.key, *corner, points, f"{p.volumes[0]:.4f}", f"{p.volumes[1]:.4f}", *shares])
    print_table([*head, "first\nbetter", "equal", "second\nbetter"], rows)
    print_text()
    print_text(
        "Hypervolume: share of the box from the best cost and score of both runs to the reference, the worst of both. Better: share of the "
        "fronts' costs, as limits, inside which a run has the better score."
    )
