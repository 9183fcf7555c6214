"""The command that measures: a point of the run again, or a budget that was not run."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from ..metrics import UNITS
from ..records import SweepRecord, TrialResult
from .limits import Limit, budget_of, trial_limits
from .points import allocator

WIDTHS = [2, 3, 4, 5, 6, 7, 8]  # what `hwdse allocate` chooses from unless told
COST_MODELS = ("bitops", "weights", "activations", "average_bits")  # the hardware-independent ones that `hwdse allocate` knows
DEVICE_METRICS = ("latency", "energy", "interval")
SWEEP_FILE = "sweep.toml"  # the configuration of the run, as the page offers it
DEFAULTS = {
    "--quantizers": None, "--method": "fit", "--rounding": "adaptive", "--decode": None, "--device": "cpu", "--epochs": 0, "--seed": 0,
}  # fmt: skip


class NoCommand(Exception):
    """``hwdse allocate`` cannot say it; the text is why."""


@dataclass(frozen=True)
class Reproduction:
    """A command, and what must be said of it."""

    command: str
    said: str


def reproduction(record: SweepRecord, trial: TrialResult) -> Reproduction:
    """``hwdse allocate`` with what the trial tried; where that cannot be told, the sweep, in which the trial has its number."""
    knobs = trial.knobs
    device = knobs.get("accelerator")
    about = {"--quantizers": knobs.get("scheme"), "--epochs": knobs.get("epochs") or 0, "--seed": knobs.get("seed") or 0}
    said = "Run where the sweep was: the same widths, and the same score on the same kind of machine with the same versions."
    again = ["-o", f"{allocation_stem(record.task)}-{trial.number}-again.json"]
    try:
        if knobs.get("widths"):
            words = allocate_words(record, ["--widths", str(knobs["widths"])], device, about)
        elif knobs.get("allocation"):
            words = allocate_words(record, ["--allocation", f"{allocation_stem(record.task)}-{trial.number}.json"], device, about)
            said = f"The allocation is the file that the page saves. {said}"
        else:
            choose = [part for text in _budget(record, trial) for part in ("-b", text)] + ["--allocator", allocator(trial)]
            words = allocate_words(record, choose, device, about)
    except NoCommand as error:
        said = f"No single command makes it: {error}. The sweep makes it again under the same number, from {SWEEP_FILE}."
        return Reproduction(quoted(["hwdse", "sweep", SWEEP_FILE, "-o", "runs/again"]), said)
    return Reproduction(quoted([*words, *again]), said)


def allocation_stem(task: str) -> str:
    """What the page calls the allocation files that it saves, before the trial's number."""
    return re.sub(r"[^\w.-]+", "-", task, flags=re.ASCII)


def allocate_words(record: SweepRecord, choose: Sequence[str], device: str | None, about: Mapping[str, Any]) -> list[str]:
    """``hwdse allocate`` in a run's settings; what is the command's default is left out.

    Args:
        choose: who chooses the widths, inside which budget; or the widths.
        device: the accelerator's name; None for none.
        about: further options and their values.

    Raises:
        NoCommand: a limit on what ``hwdse allocate`` does not know, or an accelerator of which the record does not say the file.
    """
    config = record.config
    lacking = [name for name in map(_limited, choose) if name not in (None, *COST_MODELS)]
    if lacking:
        raise NoCommand(f"hwdse allocate has no {lacking[0]}, a cost model of the sweep's own")
    words = ["hwdse", "allocate", str(config.get("task") or record.task)]
    if device is not None:
        words += ["-a", _entry(record, device)]
    words += choose
    for option, part in (("--weight-bits", "weights"), ("--activation-bits", "activations")):
        widths = sorted(config.get(part) or WIDTHS)
        words += [option, ",".join(map(str, widths))] if widths != WIDTHS else []
    epochs = about.get("--epochs") or 0
    settings = {
        "--method": config.get("sensitivity"), "--decode": config.get("decode"), "--device": config.get("device"),
        "--rounding": None if epochs else config.get("rounding"), **about,
    }  # fmt: skip
    for option, default in DEFAULTS.items():
        value = settings.get(option)
        words += [option, str(value)] if value is not None and value != default else []
    return words


def _limited(text: str) -> str | None:
    """The metric of a budget's text that depends on no accelerator; None for one of an accelerator's, and for what is no limit."""
    match = re.match(r"\s*([\w.]+)\s*(<=|≤|<|=)", text)
    return match[1] if match and match[1] not in DEVICE_METRICS else None


def _entry(record: SweepRecord, device: str) -> str:
    """The name or file under which the run had an accelerator."""
    known = record.provenance.get("accelerators")
    if known is None:  # a record of before these were kept: a file is mostly called as what it holds
        known = {PurePath(entry).stem: entry for entry in record.config.get("accelerators") or ()}
    if device not in known:
        raise NoCommand(f"the record does not say from which file {device} was read")
    return str(known[device])


def quoted(words: Iterable[str]) -> str:
    """One line for a shell: in double quotes, which every shell knows, where quotes are needed and these do; else as :mod:`shlex` does."""
    return " ".join(f'"{w}"' if shlex.quote(w) != w and not set(w) & set('"$`\\!') else shlex.quote(w) for w in words)


def sweep_file(config: Mapping[str, Any]) -> str:
    """The configuration of a run as ``hwdse sweep`` reads it; empty where the record holds none.

    Every value of a configuration is text, a number, or a list of such, which JSON and TOML write alike; what is not set is left out.
    """
    if "schema" not in config:
        return ""
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in config.items() if value is not None)


def _budget(record: SweepRecord, trial: TrialResult) -> list[str]:
    """The limits as text: as written, or, where the trial aimed below them, as numbers in the stored unit.

    Raises:
        NoCommand: limits that the record cannot resolve.
    """
    texts = [str(text) for text in trial.knobs.get("budget") or ()]
    if list(budget_of(trial)) == texts:
        return texts
    limits = trial_limits(record, trial)
    if limits is None:
        raise NoCommand("the record does not say what its budget was in numbers")
    return [_exact(limit) for limit in limits]


def _exact(limit: Limit) -> str:
    symbol = next((s for s, scale in UNITS.get(limit.metric.unit, {"": 1.0}).items() if scale == 1.0), "")
    return f"{limit.metric.key} <= {limit.value!r} {symbol}".rstrip()
