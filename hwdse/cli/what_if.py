"""``pick --what-if`` and ``allocate --what-if``: a budget that was not run, solved from the record, and the score to expect of it."""

from __future__ import annotations

from collections.abc import Sequence
from os.path import normpath
from pathlib import Path
from typing import Any

import numpy as np

from hwdse.errors import UnknownName, UsageError
from hwdse.margins import standing
from hwdse.records import SweepRecord
from hwdse.reports.commands import NoCommand, allocate_words, quoted
from hwdse.reports.predicting import ASSUMES, METHOD, Prediction
from hwdse.reports.supposing import Supposed, in_score, matched, suppose

from .opened import open_run
from .show import print_json, print_table, print_text


def run(folder: Path, budget: Sequence[str], json: bool, *, task: str | None = None, accelerator: str | None = None) -> None:
    """Prints it, and the command that measures it.

    Args:
        task: of which the run must be; None takes any.
        accelerator: name or file of the one that the budget is about; None: as the budget says.

    Raises:
        UsageError: a run of another task. UnknownName: an accelerator that the run has not.
    """
    record = open_run(folder)
    of = str(record.config.get("task") or record.task)
    if task not in (None, of):
        raise UsageError(f"{folder} is a run of {of}, not of {task}.")
    found = suppose(record, budget, None if accelerator is None else _device(record, accelerator))
    command, lacking = measuring(record, found)
    if json:
        print_json(_plain(record, found, command, lacking))
        return
    metric = record.score
    print_text(f"What if {' and '.join(map(str, found.budget))}?", style="bold")
    rows = []
    for limit in found.budget:
        m, cost = limit.metric, found.solution.costs[limit.metric.key]
        error = found.errors[m.key]
        rows.append(
            [
                m.key, m.format(cost), m.format(limit.limit), standing(limit.slack(cost), np.nan if error is None else error),
                "unknown" if error is None else m.format(error) if error else "",
            ]
        )  # fmt: skip
    print_table(["cost", "value", "limit", "limit is ", "may be off by"], rows)
    print_text()
    print_text(f"Expected loss increase: {found.solution.loss:.4g} nats, by the run's table ({found.solution.status.lower()}).")
    if found.prediction is not None:
        print_text(f"Predicted {metric.name}, not measured: {_range(record, found.prediction)}.", style="bold")
        p = found.prediction
        print_text(f"{matched(metric, found.fidelity, p, found.anchored)} It is of a measurement on the validation split as those were.")
        print_text(f"The interval assumes that {ASSUMES}.")
    else:
        print_text(f"No {metric.name} is predicted: {found.refused}.", style="bold")
    if found.known is not None:
        print_text(
            f"Trial {found.known.number} has measured this very allocation: {metric.format(found.known.measures[metric.key])}.",
            style="bold",
        )
    for said in found.notes:
        print_text(f"Note: {said}.")
    print_text()
    print_table(["layer", "widths"], [[name, str(widths)] for name, widths in found.solution.allocation.items()])
    print_text()
    print_text(
        f"To measure it, where the sweep was run: {command}"
        if command
        else f"To measure it, add the budget to the sweep's file and run that again: {lacking}."
    )


def _device(record: SweepRecord, accelerator: str) -> str:
    """The name under which the run has an accelerator that is given by name or file."""
    entries = record.provenance.get("accelerators", {})
    names = {m.on for m in record.costs if m.on is not None}
    name = next((name for name, entry in entries.items() if normpath(accelerator) == normpath(entry)), accelerator)
    if name not in names:
        raise UnknownName("accelerator in the run", accelerator, sorted(names))
    return name


def _range(record: SweepRecord, p: Prediction) -> str:
    """``"97.3 % (90 % prediction interval 96.8 to 97.9 %)"``."""
    value, low, high = (record.score.format(float(part[0])) for part in in_score(record.score, p))
    return f"{value} ({p.level:.0%} prediction interval {low} to {high})".replace("% p", " % p")


def measuring(record: SweepRecord, found: Supposed) -> tuple[str, str]:
    """The ``hwdse allocate`` command that measures a budget at the prediction's fidelity; or nothing, and why there is none."""
    devices = list(dict.fromkeys(limit.metric.on for limit in found.budget if limit.metric.on is not None))
    if len(devices) > 1:
        return "", f"hwdse allocate takes one accelerator, the budget names {', '.join(devices)}"
    scheme, epochs = found.fidelity
    about = {"--epochs": epochs, "--quantizers": None if scheme == "unknown" else scheme, "--seed": record.config.get("seed")}
    limits = [part for limit in found.budget for part in ("-b", limit.text or str(limit))]
    try:
        return quoted(allocate_words(record, limits, devices[0] if devices else None, about)), ""
    except NoCommand as error:
        return "", str(error)


def _plain(record: SweepRecord, found: Supposed, command: str, lacking: str) -> dict[str, Any]:
    metric, p = record.score, found.prediction
    predicted = None
    if p is not None:
        value, low, high = (float(part[0]) for part in in_score(metric, p))
        predicted = {
            "metric": metric.key, "value": value, "low": low, "high": high, "level": p.level, "method": METHOD,
            "points": p.points, "correlation": p.correlation, "median_error": p.near, "fp32_in_the_fit": found.anchored,
            "assumes": ASSUMES,
        }  # fmt: skip
    return {
        "what_if": [c.text or str(c) for c in found.budget],
        "limits": [
            {
                "metric": c.metric.key,
                "limit": c.limit,
                "cost": found.solution.costs[c.metric.key],
                "may_be_off_by": found.errors[c.metric.key],
            }
            for c in found.budget
        ],
        "costs": dict(found.solution.costs),
        "expected_loss": found.solution.loss,
        "status": found.solution.status,
        "layers": found.solution.allocation.to_dict(),
        "fidelity": {"quantizers": found.fidelity[0], "epochs": found.fidelity[1]},
        "predicted": predicted,
        "not_predicted": found.refused or None,
        "measured_by_trial": None if found.known is None else found.known.number,
        "notes": list(found.notes),
        "command": command or None,
        "no_command": lacking or None,
    }
