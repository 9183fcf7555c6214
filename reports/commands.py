"""The command that makes a point again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from ..metrics import UNITS
from ..records import SweepRecord, TrialResult
from .limits import Limit, budget_limits, budget_of
from .points import allocator

_WIDTHS = [2, 3, 4, 5, 6, 7, 8]  # what `hwdse allocate` chooses from
SWEEP_FILE = "sweep.toml"  # the configuration of the run, as the page offers it


@dataclass(frozen=True)
class Reproduction:
    """A command, and what must be said of it."""

    command: str
    said: str


def reproduction(record: SweepRecord, trial: TrialResult) -> Reproduction:
    """``hwdse allocate`` where it can say what the trial tried; else the sweep, in which the trial has its number.

    What ``allocate`` cannot say: given widths (baselines, refinements of another trial), and other widths to choose from than its own.
    """
    made = _allocate(record, trial)
    if made is not None:
        said = "The same widths, and the same score on the same kind of machine with the same versions."
        return Reproduction(shlex.join(made), said)
    baseline, given = trial.knobs.get("widths") is not None, trial.knobs.get("allocation") is not None
    more = ["--trials", str(trial.number + 1)] if baseline else []
    why = "Its widths were given, not chosen" if baseline or given else "No single command says what it tried"
    said = f"{why}: the sweep makes it again under the same number. Its configuration goes into {SWEEP_FILE}."
    return Reproduction(shlex.join(["hwdse", "sweep", SWEEP_FILE, *more, "-o", "runs/again"]), said)


def sweep_file(config: Mapping[str, Any]) -> str:
    """The configuration of a run as ``hwdse sweep`` reads it; empty where the record holds none.

    Every value of a configuration is text, a number, or a list of such, which JSON and TOML write alike; what is not set is left out.
    """
    if "schema" not in config:
        return ""
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in config.items() if value is not None)


def _allocate(record: SweepRecord, trial: TrialResult) -> list[str] | None:
    knobs, config = trial.knobs, record.config
    widths = [config.get(part) or _WIDTHS for part in ("weights", "activations")]
    if knobs.get("widths") or knobs.get("allocation") or any(sorted(w) != _WIDTHS for w in widths):
        return None
    budget = _budget(record, trial)
    device = _accelerator(config.get("accelerators") or (), knobs.get("accelerator"))
    if budget is None or device is None:
        return None
    made = ["hwdse", "allocate", str(config.get("task") or record.task), *(["-a", device] if device else [])]
    for text in budget:
        made += ["-b", text]
    made += ["--allocator", allocator(trial), "--epochs", str(knobs.get("epochs") or 0), "--seed", str(knobs.get("seed") or 0)]
    settings = {
        "--quantizers": knobs.get("scheme"),
        "--method": config.get("sensitivity"),
        "--rounding": config.get("rounding"),
        "--decode": config.get("decode"),
        "--device": config.get("device"),
    }
    for flag, value in settings.items():
        made += [flag, str(value)] if value is not None else []
    return [*made, "-o", f"trial-{trial.number}.json"]


def _accelerator(known: Sequence[str], name: Any) -> str | None:
    """As the command names it: a shipped name, or the path of its file; "" for none, None where it cannot be told."""
    if name is None or name in known:
        return str(name or "")
    paths = [path for path in known if PurePath(path).stem == name]
    return paths[0] if len(paths) == 1 else None


def _budget(record: SweepRecord, trial: TrialResult) -> list[str] | None:
    """The limits as text: as written, or, where the trial aimed below them, as numbers in the stored unit."""
    texts = [str(text) for text in trial.knobs.get("budget") or ()]
    if list(budget_of(trial)) == texts:
        return texts
    limits, factor = budget_limits(record, budget_of(trial)), trial.knobs.get("tightness")
    if limits is None or not isinstance(factor, int | float):
        return None
    return [_exact(limit, factor) for limit in limits]


def _exact(limit: Limit, factor: float) -> str:
    symbol = next((s for s, scale in UNITS.get(limit.metric.unit, {"": 1.0}).items() if scale == 1.0), "")
    return f"{limit.metric.key} <= {limit.value * factor!r} {symbol}".rstrip()
