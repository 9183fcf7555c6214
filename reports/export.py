"""Tables for other programs: every trial, and the front of each cost, as CSV. SI units, named in the header."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..metrics import Metric
from ..names import cell
from ..pareto import ParetoFront
from ..records import SweepRecord, TrialResult
from .points import Point, allocator, measured

if TYPE_CHECKING:
    import pandas as pd


def trials_csv(record: SweepRecord) -> str:
    """:func:`trials_frame` as CSV."""
    return csv_text(trials_frame(record))


def front_csv(record: SweepRecord) -> str:
    """:func:`front_frame` as CSV."""
    return csv_text(front_frame(record))


def csv_text(frame: pd.DataFrame) -> str:
    """CSV without an index; texts that a spreadsheet would take for a formula begin with ``'`` (:func:`hwdse.names.cell`)."""
    return frame.rename(columns=cell).map(_as_cell).to_csv(index=False, lineterminator="\n")


def _as_cell(value: Any) -> Any:
    return cell(value) if isinstance(value, str) else value


def trials_frame(record: SweepRecord) -> pd.DataFrame:
    """One line per trial, failed ones included. ``inf``: the accelerator cannot run it; blank: not measured."""
    knobs = list(dict.fromkeys(key for t in record.trials for key in t.knobs))
    known = {m.key: m for m in (record.score, *record.costs)}
    keys = list(dict.fromkeys([*known, *(key for t in record.trials for key in t.measures)]))
    slacks = list(dict.fromkeys(text for t in record.trials for text in t.slack))
    head = ["trial", "state", *(f"knob.{key}" for key in knobs), *(_headed(known.get(key), key) for key in keys)]
    head += [f"test {_headed(record.score, record.score.key)}", "validation samples", *(f"slack: {text}" for text in slacks)]
    head += ["seconds", "error", "notes", "allocation"]
    rows = []
    for t in record.trials:
        row = [t.number, t.state, *(_knob(t.knobs.get(key)) for key in knobs), *(_number(t.measures.get(key)) for key in keys)]
        row += [_number(t.test), t.samples or "", *(_number(t.slack.get(text)) for text in slacks)]
        rows.append([*row, _number(t.seconds), t.error, " ".join(t.notes), _widths(t)])
    return _frame(head, rows)


def front_frame(record: SweepRecord) -> pd.DataFrame:
    """The points of each cost's front, from the cheapest; ``front`` names the cost."""
    head = ["front", "place", "trial", "allocator", _headed(record.score, record.score.key), "95% low", "95% high"]
    head += [f"test {_headed(record.score, record.score.key)}", *(_headed(m, m.key) for m in record.costs), "allocation"]
    rows = []
    for cost in record.costs:
        for place, t in enumerate(ParetoFront.of(measured(record), (cost, record.score)).trials, 1):
            low, high = Point.of(record, t).interval or (None, None)
            row = [cost.key, place, t.number, allocator(t), _number(t.measures[record.score.key]), _number(low), _number(high)]
            rows.append([*row, _number(t.test), *(_number(t.measures.get(m.key)) for m in record.costs), _widths(t)])
    return _frame(head, rows)


def _headed(metric: Metric | None, key: str) -> str:
    unit = metric.unit if metric else ""
    return f"{key} [{unit}]" if unit else key


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _knob(value: Any) -> Any:
    return "; ".join(map(str, value)) if isinstance(value, (list, tuple)) else "" if value is None else value


def _widths(trial: TrialResult) -> str:
    return " ".join(f"{name}={widths}" for name, widths in (trial.allocation or {}).items())


def _frame(head: list[str], rows: list[list[Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=head, dtype=object)  # object: a whole number beside a blank stays whole
