"""TensorFlow Lite's benchmark_model: ``--profiling_output_csv_file``, or what it prints with ``--enable_op_profiling``.

No plain table but sections; the rows are those of *Run Order* under *Regular Benchmark Runs*. Columns are found by their names:
newer builds have no ``start``. A delegate that takes over a part of the network is one row, unless it lists its own (XNNPACK).
Several files: the median.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ...errors import FileFormatError
from .profile import PART, Profile, ProfileRow, over_runs
from .reading import column, cost_of, need_files, number_of, text_of

_INITIAL = "initialization"
_NUMERIC = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?%?|[-+]?(nan|inf)%?", re.IGNORECASE)
_DELEGATE = re.compile(r"delegate|edgetpu|ethos-?u|custom[-_ ]?op", re.IGNORECASE)


def read(files: Sequence[Path]) -> Profile:
    """The profile.

    Raises:
        FileFormatError: no section with the run order, a cut line, a number that is none.
    """
    need_files("TFLite", files)
    rows = over_runs(files, [_rows(path, text_of(path)) for path in files])
    return Profile(
        "TFLite benchmark_model",
        "measured",
        tuple(files),
        rows,
        "average of the runs",
        times="operations' time on the host's clock",
    )


def _rows(path: Path, text: str) -> list[ProfileRow]:
    lines = text.splitlines()
    start = _run_order(path, lines)
    printed, header = _header(lines[start])
    node, average, name = (column(path, header, start + 1, *n) for n in (("node type",), ("avg_ms", "avg ms"), ("name",)))
    called = column(path, header, start + 1, "times called")
    if name != len(header) - 1:
        raise FileFormatError(path, "must have the name as its last column; another version of the tool?", f"line {start + 1}")
    found = []
    for number, line in enumerate(lines[start + 1 :], start=start + 2):
        if not line.strip() or line.lstrip().startswith(("=", "Number of nodes", "Timings")):
            break
        cells = _cells(path, number, line, printed, len(header))
        if len(cells) != len(header):
            raise FileFormatError(path, f"has {len(cells)} cells, but the header has {len(header)}; is it cut off?", f"line {number}")
        found.append(_row(path, number, cells[node], cells[average], cells[called], cells[name]))
    if not found:
        raise FileFormatError(path, "has no rows under its run order; profile again.", f"line {start + 1}")
    return found


def _run_order(path: Path, lines: Sequence[str]) -> int:
    """Index of the header of the run order of the regular runs."""
    regular = True  # what is printed by a version without the titles
    for i, line in enumerate(lines[:-1]):
        low = line.lower()
        if "profiling info" in low:
            regular = _INITIAL not in low
        if regular and re.match(r"\s*=+ *run order *=+\s*$", low):
            return i + 1
    raise FileFormatError(
        path, "has no section 'Run Order' with rows; run benchmark_model with --enable_op_profiling=true --profiling_output_csv_file=FILE."
    )


def _header(line: str) -> tuple[bool, list[str]]:
    """Whether the table is printed, with tabs between the cells, or written with commas; and the names of its columns."""
    printed = "\t" in line.strip()
    cells = line.strip().split("\t") if printed else line.split(",")
    return printed, [cell.strip().strip("[]") for cell in cells]


def _cells(path: Path, number: int, line: str, printed: bool, many: int) -> list[str]:
    """The cells of a row.

    As written, the first and the last may hold commas (``Convolution (NHWC, QS8, QC8W) IGEMM``), of which the tool makes tabs in the last
    only. Between them stand numbers, which say where the first ends.
    """
    if printed:
        return [cell.strip() for cell in line.strip().split("\t")]
    parts = [part.strip() for part in line.split(",")]
    if len(parts) < many:
        return parts
    between = many - 2
    starts = [i for i in range(1, len(parts) - between) if all(map(_NUMERIC.fullmatch, parts[i : i + between]))]
    found = []
    for i in starts or [1]:  # without numbers: the cells as they are, for the message on the one that is none
        name = ",".join(line.split(",")[i + between :]).strip().replace("\t", ",")
        found.append([", ".join(parts[:i]), *parts[i : i + between], name])
    if len(found) > 1:  # a type or a name with numbers between its commas: delegates repeat the type in the name
        found = [cells for cells in found if _letters(cells[0]) in _letters(cells[-1])]
    if len(found) != 1:
        raise FileFormatError(path, "has commas and numbers in its type or name, so that its cells cannot be told apart.", f"line {number}")
    return found[0]


def _letters(text: str) -> str:
    return re.sub(r"\W", "", text).lower()


def _row(path: Path, number: int, op: str, average: str, called: str, name: str) -> ProfileRow:
    where = f"line {number}"
    ms = cost_of(path, average, f"{where}, column 'avg_ms'")
    calls = number_of(path, called, f"{where}, column 'times called'")
    if not name or (name.startswith("[") and not re.search(r"\](:\d*)?$", name)):
        raise FileFormatError(path, f"must end with a whole name, got '{name[:40]}'; is it cut off?", where)
    inner = re.sub(r":\d+$", "", name).strip("[]")
    lacks = "" if ms else "its time is 0, below what the file can show"
    if calls != 1:
        lacks = f"it was called {called or 'no'} times in a run"
    opaque = PART if _DELEGATE.search(op) and "delegate/" not in name.lower() else ""
    names = tuple(part for part in inner.split(";") if part) if not opaque and "delegate/" not in name.lower() else ()
    seconds = None if lacks or ms is None else ms * 1e-3
    if seconds == 0:
        raise FileFormatError(path, f"must be a time, got '{average}' ms.", f"{where}, column 'avg_ms'")
    return ProfileRow(name, f"{path.name}, {where}, avg_ms", names, op, seconds, opaque=opaque, lacks=lacks)
