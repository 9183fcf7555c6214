"""``hwdse pick --what-if``: a budget that was not run, solved from the record's tables, and the score that may be expected of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hwdse.errors import HwdseError
from hwdse.margins import standing
from hwdse.records import SweepRecord
from hwdse.reports.predicting import ASSUMES, METHOD, Prediction
from hwdse.reports.supposing import Supposed, suppose

from .show import print_json, print_table, print_text

WIDTHS = list(range(2, 9))  # what hwdse allocate chooses from


def run(folder: Path, budget: list[str], json: bool) -> None:
    """Prints it, and the command that measures it."""
    record = SweepRecord.load(folder)
    found = suppose(record, budget)
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
        print_text(
            f"By {METHOD}, over {p.points} allocations measured with {_how(found)}: rank correlation {p.correlation:.2f}; left out, "
            f"each was off by {_size(record, p.near)} in the median."
            f"{' FP32 takes part in the fit and is not counted.' if found.anchored else ''} "
            "It is of a measurement on the validation split as those were."
        )
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
        f"To measure it: {command}" if command else f"To measure it, add the budget to the sweep's file and run that again: {lacking}."
    )


def _how(found: Supposed) -> str:
    scheme, epochs = found.fidelity
    return f"{scheme} and {f'{epochs} epochs of training' if epochs else 'no training'}"


def _range(record: SweepRecord, p: Prediction) -> str:
    """``"97.3 % (90 % interval 96.8 to 97.9 %)"``, in the score's own direction."""
    low, high = sorted(record.score.minimised(v) for v in (p.low, p.high))
    low, high = _inside(record, low), _inside(record, high)
    shown = record.score.format
    return f"{shown(record.score.minimised(p.value))} ({p.level:.0%} prediction interval {shown(low)} to {shown(high)})".replace(
        "% p", " % p"
    )


def _inside(record: SweepRecord, value: float) -> float:
    return min(max(value, 0.0), 1.0) if record.score.unit == "fraction" else value


def _size(record: SweepRecord, value: float) -> str:
    return f"{value * 100:.2f} percentage points" if record.score.unit == "fraction" else record.score.format(value)


def measuring(record: SweepRecord, found: Supposed) -> tuple[str, str]:
    """The ``hwdse allocate`` command that measures a budget at the prediction's fidelity; or nothing, and why there is none."""
    c = record.config
    devices = list(dict.fromkeys(limit.metric.on for limit in found.budget if limit.metric.on is not None))
    if len(devices) > 1:
        return "", f"hwdse allocate takes one accelerator, the budget names {', '.join(devices)}"
    for part in ("weights", "activations"):
        if sorted(c.get(part, WIDTHS)) != WIDTHS:
            return "", f"the run chooses {part} from {', '.join(map(str, c[part]))} bits, hwdse allocate from 2 to 8"
    words = ["hwdse", "allocate", str(c.get("task", record.task))]
    if devices:
        file = _file(c.get("accelerators", ()), devices[0])
        if file is None:
            had = ", ".join(map(str, c.get("accelerators", ()))) or "none named"
            return "", f"none of the run's accelerators ({had}) can be read as {devices[0]} here"
        words += ["-a", file]
    for limit in found.budget:
        words += ["-b", limit.text or str(limit)]
    scheme, epochs = found.fidelity
    if epochs:
        words += ["--epochs", str(epochs)]
    if scheme != "unknown":
        words += ["--quantizers", scheme]
    given: dict[str, tuple[Any, Any]] = {
        "--method": (c.get("sensitivity"), "fit"), "--decode": (c.get("decode"), None), "--seed": (c.get("seed"), 0),
        "--device": (c.get("device"), "cpu"), "--rounding": (None if epochs else c.get("rounding"), "adaptive"),
    }  # fmt: skip
    for option, (value, default) in given.items():
        if value is not None and value != default:
            words += [option, str(value)]
    return " ".join(_quoted(word) for word in words), ""


def _quoted(word: str) -> str:
    """In double quotes where a shell needs quotes and these do; otherwise as :mod:`shlex` does."""
    return f'"{word}"' if shlex.quote(word) != word and not set(word) & set('"$`\\!') else shlex.quote(word)


def _file(accelerators: Sequence[str], name: str) -> str | None:
    """The name or path under which the run had an accelerator; by the name of the file, where that cannot be read (any more)."""
    from hwdse.costmodels import accelerator_names, load_accelerator

    if name in accelerators or (not accelerators and name in accelerator_names()):
        return name
    unread = []
    for entry in accelerators:
        try:
            if load_accelerator(entry).name == name:
                return str(entry)
        except HwdseError:  # moved, or damaged since: all but the command is solved from the record
            unread.append(str(entry))
    return next((entry for entry in unread if Path(entry).stem == name), None)


def _plain(record: SweepRecord, found: Supposed, command: str, lacking: str) -> dict[str, Any]:
    metric, p = record.score, found.prediction
    predicted = None
    if p is not None:
        low, high = sorted(_inside(record, metric.minimised(v)) for v in (p.low, p.high))
        predicted = {
            "metric": metric.key, "value": metric.minimised(p.value), "low": low, "high": high, "level": p.level, "method": METHOD,
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
