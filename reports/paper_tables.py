"""Tables to paste into a paper: what each budget came to, and the front of each limited cost, as LaTeX (booktabs) and CSV."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..names import visible
from ..records import SweepRecord
from .budgets import budget_results
from .export import csv_text
from .figures import slug
from .points import Point, measured
from .prices import limited
from .wording import cell, column, range_text, shown

if TYPE_CHECKING:
    import pandas as pd


def paper_tables(record: SweepRecord) -> dict[str, str]:
    """Name of the file -> its text. The tables of LaTeX need ``\\usepackage{booktabs}``."""
    budgets = budgets_frame(record)
    samples = record.reference.get("validation_samples")
    about = f"{record.task}; validation {record.score.name}" + (f" on {samples:,.0f} samples" if samples else "")
    parts = []
    for metric in limited(record):
        frame = front_frame_of(record, metric.key)
        if len(frame):
            said = f"Pareto front of {record.score.name} against {metric.key} ({about}; 95 % intervals in brackets)."
            parts.append(_latex(frame, said, f"tab:front-{slug(metric.key)}"))
    return {
        "budgets.csv": csv_text(budgets),
        "budgets.tex": _latex(budgets, f"Best measured point inside each budget ({about}).", "tab:budgets"),
        "fronts.tex": "\n".join(parts),
    }


def budgets_frame(record: SweepRecord) -> pd.DataFrame:
    """A line per budget: the best point inside, its costs under the limits, its scores."""
    import pandas as pd

    score, rows = record.score, []
    for b in budget_results(record):
        best = b.best
        costs = "; ".join(shown(x.metric, best.costs[x.metric.key]) for x in b.limits or ()) if best else ""
        interval = range_text(score, best.interval) if best else ""
        rows.append(
            [b.name, best.name if best else "none inside", costs, shown(score, best.score if best else None), interval,
             shown(score, best.test if best else None)]
        )  # fmt: skip
    return pd.DataFrame(rows, columns=["budget", "point", "cost", score.name, "95 % interval", "test"])


def front_frame_of(record: SweepRecord, key: str) -> pd.DataFrame:
    """The front of one cost, from the cheapest, in one unit."""
    import pandas as pd

    from ..pareto import ParetoFront

    metric, score = record.metric(key), record.score
    points = [Point.of(record, t) for t in ParetoFront.of(measured(record), (metric, score)).trials]
    factor, unit = column(metric, [p.costs[key] for p in points])
    percent = 0.01 if score.unit == "fraction" else 1.0
    rows = []
    for p in points:
        low_high = f" [{p.interval[0] / percent:.2f}, {p.interval[1] / percent:.2f}]" if p.interval else ""
        rows.append([p.name, cell(p.costs[key], factor), cell(p.score, percent, score) + low_high, cell(p.test, percent, score)])
    mark = " [%]" if percent < 1 else ""
    return pd.DataFrame(rows, columns=["point", f"{key} [{unit}]" if unit else key, f"{score.name}{mark}", f"test{mark}"])


def _latex(frame: pd.DataFrame, caption: str, label: str) -> str:
    """A floating table; every cell is escaped, so that no name in a record can break it."""
    words = sum(name in ("budget", "point") for name in frame.columns)
    plain = frame.rename(columns=_escaped).map(_escaped)
    text = plain.to_latex(
        index=False, escape=False, caption=_escaped(caption), label=label, position="t",
        column_format="l" * words + "r" * (len(frame.columns) - words),
    )  # fmt: skip
    return str(text).replace("\\begin{table}[t]\n", "\\begin{table}[t]\n\\centering\n", 1)


_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "–": "--", "≤": r"$\leq$",
    "µ": r"$\mu$",
}  # fmt: skip


_MICRO = re.compile(r"(?<=\d )u(?=[sJ]\b)|(?<=\[)u(?=[sJ]\])")  # "3 us", "[uJ]"


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(c, c) for c in _MICRO.sub("µ", visible(str(text)).replace("<=", "≤")))
