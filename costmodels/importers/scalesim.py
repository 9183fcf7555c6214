"""SCALE-Sim: ``COMPUTE_REPORT.csv`` (cycles; its lines end with a comma), and the topology CSV that was simulated (names, shapes).

The report numbers the layers; only the topology says which they are. Taken: ``Total Cycles (incl. prefetch)`` where there is
one (version 3), else ``Total Cycles``. Rows and columns of an output are rounded up, as the tool does, which for some strides is more
than PyTorch's: the MACs then differ, and the row is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import FileFormatError, UsageError
from .facts import Facts
from .profile import Profile, ProfileRow
from .reading import column, cost_of, count_of, need_files, number_of, records_of, text_of

Records = list[tuple[int, list[str]]]
_CYCLES = ("Total Cycles (incl. prefetch)", "Total Cycles")


def read(files: Sequence[Path]) -> Profile:
    """The profile.

    Raises:
        FileFormatError: another report; a topology of another network. UsageError: not one report and at most one topology.
    """
    need_files("SCALE-Sim", files)
    reports: list[tuple[Path, Records]] = []
    topologies: list[tuple[Path, Records]] = []
    for path in files:
        records = records_of(path, text_of(path))
        first = records[0][1][0].lower() if records else ""
        (topologies if first.startswith("layer") and first != "layerid" else reports).append((path, records))
    if len(reports) != 1 or len(topologies) > 1:
        raise UsageError(f"give COMPUTE_REPORT.csv of one run, and its topology CSV; got {len(reports)} and {len(topologies)}.")
    path, records = reports[0]
    rows, about = _rows(path, records)
    if topologies:
        rows = _named(rows, path, *topologies[0])
    return Profile("SCALE-Sim", "simulated", tuple(files), tuple(rows), about, only_layers=True)


def _rows(path: Path, records: Records) -> tuple[list[ProfileRow], str]:
    line, header = records[0] if records else (1, [])
    layer, at = column(path, header, line, "LayerID"), column(path, header, line, *_CYCLES)
    found: list[ProfileRow] = []
    for number, cells in records[1:]:
        if len(cells) != len(header):
            raise FileFormatError(path, f"has {len(cells)} cells, but the header has {len(header)}; is it cut off?", f"line {number}")
        where = f"line {number}, column 'LayerID'"
        if number_of(path, cells[layer], where) != len(found):
            raise FileFormatError(path, f"must be layer {len(found)}, got '{cells[layer]}'; are lines missing?", where)
        cycles = cost_of(path, cells[at], f"line {number}, column '{header[at]}'")
        # no name: a layer of the model may be called '0', and is not this one for it
        found.append(ProfileRow(f"layer {cells[layer]}", f"{path.name}, line {number}", cycles=cycles, lacks="" if cycles else "0 cycles"))
    if not found:
        raise FileFormatError(path, "has a header but no rows.")
    return found, header[at]


def _named(rows: Sequence[ProfileRow], report: Path, path: Path, records: Records) -> list[ProfileRow]:
    """The rows with names and MACs of the topology."""
    line, header = records[0]
    if len(records) - 1 != len(rows):
        raise FileFormatError(path, f"has {len(records) - 1} layers, but {report.name} has {len(rows)}: it is of another network.")
    gemm = [cell.lower() for cell in header[1:4]] == ["m", "n", "k"]
    need = 4 if gemm else 8
    if len(header) < need:
        raise FileFormatError(path, "must have the columns of a topology: name, then IFMAP Height to Strides, or M, N, K.", f"line {line}")
    found = []
    for row, (number, cells) in zip(rows, records[1:], strict=True):
        extents = [count_of(path, cell, f"line {number}") for cell in cells[1:need]]
        if len(cells) < need or None in extents:
            raise FileFormatError(path, f"must give {need - 1} whole numbers above 0 after the name.", f"line {number}")
        macs = _macs([extent for extent in extents if extent is not None])
        if not macs:
            raise FileFormatError(path, "has a filter larger than its input.", f"line {number}")
        found.append(ProfileRow(cells[0], row.where, (cells[0],), cycles=row.cycles, facts=Facts(macs=macs), lacks=row.lacks))
    return found


def _macs(extents: Sequence[int]) -> int:
    if len(extents) == 3:
        return extents[0] * extents[1] * extents[2]
    height, width, kernel_h, kernel_w, channels, filters, stride = extents
    out_h, out_w = -(-(height - kernel_h + stride) // stride), -(-(width - kernel_w + stride) // stride)
    return max(0, out_h) * max(0, out_w) * kernel_h * kernel_w * channels * filters
