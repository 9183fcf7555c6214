"""Arm's Vela compiler for Ethos-U: ``NETWORK_per-layer.csv`` (cycles), and ``NETWORK_summary_....csv`` (the clock).

``Op Cycles`` is the longest of the NPU's and the memories' cycles, as Vela estimates them. An operation on the CPU has 0, and so has
what was fused into the row above: both mean that there is no number. The summary's totals must be those of the layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from ...errors import FileFormatError, UsageError
from .facts import Facts
from .ops import kinds_of
from .profile import Profile, ProfileRow
from .reading import column, cost_of, count_of, need_files, number_of, records_of, text_of

Records = list[tuple[int, list[str]]]


def read(files: Sequence[Path]) -> Profile:
    """The profile.

    Raises:
        FileFormatError: neither of the two files; a summary of another network, or a table that is cut off.
        UsageError: not exactly one table of layers.
    """
    need_files("Vela", files)
    layers: list[tuple[Path, Records]] = []
    summaries: list[tuple[Path, Records]] = []
    for path in files:
        records = records_of(path, text_of(path))
        header = [cell.lower() for cell in records[0][1]] if records else []
        (summaries if "core_clock" in header else layers).append((path, records))
    if len(layers) != 1 or len(summaries) > 1:
        raise UsageError(f"give one per-layer CSV of Vela, and its summary CSV; got {len(layers)} and {len(summaries)}.")
    path, records = layers[0]
    if not text_of(path).endswith("\n"):  # a name that is cut off might be another layer's
        raise FileFormatError(path, "is cut off: its last line does not end.")
    rows = _rows(path, records)
    clock = _clock(*summaries[0], path, rows) if summaries else None
    return Profile("Vela", "simulated", tuple(files), tuple(rows), "Op Cycles", clock)


def _rows(path: Path, records: Records) -> list[ProfileRow]:
    line, header = records[0] if records else (1, [])
    original = column(path, header, line, "Original Operator", "TFLite_operator")
    lowered, cycles, macs, name = (column(path, header, line, n) for n in ("NNG Operator", "Op Cycles", "MAC Count", "Name"))
    target = column(path, header, line, "Target") if "target" in [cell.lower() for cell in header] else None  # not before version 4
    found = []
    for number, cells in records[1:]:
        if cells == header:
            continue
        if len(cells) != len(header):
            raise FileFormatError(path, f"has {len(cells)} cells, but the header has {len(header)}; is it cut off?", f"line {number}")
        on_cpu = target is not None and cells[target].upper() == "CPU"
        spent = cost_of(path, cells[cycles], f"line {number}, column 'Op Cycles'")
        count = count_of(path, cells[macs], f"line {number}, column 'MAC Count'")
        lacks = "" if spent else "it runs on the CPU, which Vela does not estimate" if on_cpu else "0 cycles: it is part of another row"
        # a Mean that became a convolution is no convolution of the model; neither is the Relu of one
        op = cells[original] if on_cpu or kinds_of(cells[lowered]) else cells[lowered]
        where = f"{path.name}, line {number}"
        found.append(
            ProfileRow(cells[name] or cells[original], where, (cells[name],), op, cycles=None if on_cpu else spent, facts=Facts(macs=count),
                       lacks="it runs on the CPU, which Vela does not estimate" if on_cpu else lacks)
        )  # fmt: skip
    if not found:
        raise FileFormatError(path, "has a header but no rows.")
    return found


def _clock(path: Path, records: Records, layers: Path, rows: Sequence[ProfileRow]) -> float:
    """Hz from the summary, whose totals must be the sums of the rows."""
    line, header = records[0]
    if len(records) != 2 or len(records[1][1]) != len(header):
        raise FileFormatError(path, "must be a header and one line of as many cells, one network.", f"line {line}")
    number, cells = records[1]
    clock = cost_of(path, cells[column(path, header, line, "core_clock")], f"line {number}, column 'core_clock'")
    if clock is None:
        raise FileFormatError(path, "must give the clock in Hz, got 0.", f"line {number}, column 'core_clock'")
    sums = {"cycles_total": sum(row.cycles or 0.0 for row in rows), "nn_macs": float(sum(row.facts.macs or 0 for row in rows))}
    for name, total in sums.items():
        if name in header:
            stated = number_of(path, cells[header.index(name)], f"line {number}, column '{name}'") or 0.0
            if not math.isclose(stated, total, rel_tol=0.01):
                raise FileFormatError(
                    path, f"says {stated:,.0f}, but {layers.name} sums to {total:,.0f}: another network, or a file that is cut off.",
                    f"column '{name}'",
                )  # fmt: skip
    return clock
