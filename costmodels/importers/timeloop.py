"""Timeloop: ``timeloop-mapper.stats.txt`` or ``timeloop-model.stats.txt``, one layer a file. Taken: the summary at its end.

The layer's name is nowhere inside: it is the file's name (``conv1.stats.txt``), or for the tool's own names the folder's. Energy is the
printed ``Energy`` in µJ, which has two decimals, or more exactly the energy per computation times the computations.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ...errors import FileFormatError
from .facts import Facts
from .profile import Profile, ProfileRow
from .reading import cost_of, count_of, need_files, text_of

_EACH = re.compile(r"^(?:Actual )?Computes = *(\S+)\n([a-zA-Z]*J)/Compute\n(?:    .*\n)*?    Total +=[ \t]*(\S+)[ \t]*\n", re.MULTILINE)
_UNIT = {"J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "nJ": 1e-9, "pJ": 1e-12, "fJ": 1e-15}


def read(files: Sequence[Path]) -> Profile:
    """The profile, a row a file.

    Raises:
        FileFormatError: no summary at the end (cut off, or no statistics of Timeloop), a number that is none.
    """
    need_files("Timeloop", files)
    return Profile("Timeloop", "simulated", tuple(files), tuple(_row(path) for path in files), "Cycles, Energy", only_layers=True)


def _row(path: Path) -> ProfileRow:
    text = text_of(path)
    _, found, summary = text.rpartition("Summary Stats")
    if not found:
        raise FileFormatError(path, "has no 'Summary Stats' at its end; it is cut off, or no stats.txt of Timeloop.")
    cycles = cost_of(path, _value(path, summary, r"^Cycles: *(\S*)", "Cycles"), "'Cycles' of the summary")
    macs = count_of(path, _value(path, summary, r"^(?:Algorithmic )?Computes = *(\S*)[ \t]*\n", "Computes"), "'Computes' of the summary")
    joules = _joules(path, summary)
    name = _name(path)
    facts = Facts(macs=macs)
    return ProfileRow(name, path.name, (name,), cycles=cycles, joules=joules, facts=facts, lacks="" if cycles else "0 cycles")


def _value(path: Path, summary: str, pattern: str, what: str) -> str:
    found = re.search(pattern, summary, re.MULTILINE)
    if not found:
        raise FileFormatError(path, f"has no '{what}' in its summary; it is cut off, or of another version of Timeloop.")
    return found[1]


def _joules(path: Path, summary: str) -> float | None:
    number, _, unit = _value(path, summary, r"^Energy: *(.*)$", "Energy").strip().partition(" ")
    if unit not in _UNIT:
        raise FileFormatError(path, f"must give the energy in {', '.join(_UNIT)}, got '{unit[:20]}'.", "'Energy' of the summary")
    printed = cost_of(path, number, "'Energy' of the summary")
    each = _EACH.search(summary)
    if not each or each[2] not in _UNIT:
        return _finite(path, printed, _UNIT[unit])
    computes = count_of(path, each[1], "'Computes' of the summary") or 0
    exact = (cost_of(path, each[3], "'Total' per computation") or 0.0) * computes * _UNIT[each[2]]
    close = abs(exact - (printed or 0.0) * _UNIT[unit]) <= 0.0051 * _UNIT[unit] + 0.02 * exact
    if not close:
        raise FileFormatError(path, f"is damaged: {number} {unit} in all, but {each[3]} {each[2]} for each of {computes:,} computations.")
    return _finite(path, exact or printed, 1.0 if exact else _UNIT[unit])


def _finite(path: Path, value: float | None, factor: float) -> float | None:
    joules = None if value is None else value * factor
    if joules is not None and not 0 < joules < float("inf"):
        raise FileFormatError(path, f"must give an energy above 0, got {joules} J.", "'Energy' of the summary")
    return joules


def _name(path: Path) -> str:
    """``conv1.stats.txt`` -> conv1; ``conv1/timeloop-mapper.stats.txt`` -> conv1."""
    stem = re.sub(r"(\.stats)?\.txt$", "", path.name)
    if re.fullmatch(r"timeloop-(mapper|model)(\.map.*)?|stats", stem):
        return path.absolute().parent.name
    return re.sub(r"\.timeloop-(mapper|model)$", "", stem)
