"""Numbers for the page's script: small enough to mail, exact where something is decided by them.

Measures and limits are written in full: which points are inside a limit must not depend on rounding. Cells of tables only feed
breakdowns, so they keep eight digits, each entry as its distinct values and one character per option that says which.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..costs import CostTable
from ..formats import Allocation, LayerFormat

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
MOST_CELLS = 400_000  # of all tables together: about 2 MB; what is beyond is left out, and said to be


def plain(value: float | None) -> float | str | None:
    """JSON has no infinity: ``"inf"`` for what a device cannot run, None for what nobody measured."""
    if value is None or math.isnan(value):
        return None
    return value if math.isfinite(value) else "inf"


def rounded(value: float, digits: int = 8) -> float | str | None:
    """The same to so many significant digits."""
    return plain(float(f"{value:.{digits}g}"))


def coded(indices: Iterable[int], of: int) -> str:
    """Indices below ``of`` as characters of :data:`DIGITS`: one each up to 64, else two."""
    if of <= len(DIGITS):
        return "".join(DIGITS[i] for i in indices)
    return "".join(DIGITS[i // 64] + DIGITS[i % 64] for i in indices)


def coded_allocation(allocation: Allocation | None, layers: Sequence[str], place: Mapping[LayerFormat, int]) -> str:
    """The option of each layer, in order; option 0 stands for a layer that has no width."""
    if not allocation:
        return ""
    return coded((place[allocation[name]] if name in allocation else 0 for name in layers), len(place) + 1)


def embedded_tables(
    tables: Mapping[str, CostTable], layers: Sequence[str], place: Mapping[LayerFormat, int]
) -> tuple[dict[str, Any], list[str]]:
    """Tables as JSON by key, and the keys of those left out for their size."""
    found: dict[str, Any] = {}
    left: list[str] = []
    room = MOST_CELLS
    at = {name: i for i, name in enumerate(layers)}
    for key, table in tables.items():
        cells = table.cells.size + (0 if table.edges is None else 2 * table.edges.cells.shape[1] * len(table.edges))
        if cells > room:
            left.append(key)
            continue
        room -= cells
        found[key] = _table(table, at, place)
    return found, left


def _table(table: CostTable, at: Mapping[str, int], place: Mapping[LayerFormat, int]) -> dict[str, Any]:
    """``entries``: [row, layer, distinct values, which of them per option, source per option or one for all]."""
    entries = []
    for e in range(len(table.row)):
        values, which = np.unique(table.cells[e], return_inverse=True)
        sources = table.sources[e]
        source = "".join(map(str, sources[:1] if (sources == sources[:1]).all() else sources))
        entries.append([
            int(table.row[e]), at[table.layers[table.layer[e]]], [rounded(v) for v in values], coded(which, len(values)), source,
        ])  # fmt: skip
    several = table.rows > 1
    return {
        "options": [place[o] for o in table.options],
        "fixed": [rounded(v) for v in table.fixed],
        "rows": list(table.row_names) if several else [],
        "entries": entries,
        "edges": _edges(table, at),
    }


def _edges(table: CostTable, at: Mapping[str, int]) -> list[list[Any]]:
    """[row, first layer, second layer, class of each option there and here, costs by class]: few options differ to an edge."""
    if table.edges is None:
        return []
    found = []
    for p in range(len(table.edges)):
        first, second = (at[table.layers[i]] for i in table.edges.ends[p])
        some, rows = np.unique(table.edges.cells[p], axis=0, return_inverse=True)
        few, columns = np.unique(some, axis=1, return_inverse=True)
        count = max(few.shape)
        found.append([
            int(table.edges.row[p]), first, second, coded(rows.ravel(), count), coded(columns.ravel(), count), count > len(DIGITS),
            [[rounded(v) for v in line] for line in few],
        ])  # fmt: skip
    return found
