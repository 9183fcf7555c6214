"""Finding, reading and checking accelerator files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FileFormatError, UnknownName, UsageError
from .accelerator import Accelerator
from .accelerator_file import check_keys, read_keys
from .analytic.models import compute_model, energy_model
from .keys_read import without_effect
from .table_file import read_table
from .table_rows import Row

if TYPE_CHECKING:
    from .accelerator_format import AcceleratorKeys

_FOLDER = Path(__file__).parent / "accelerators"


def accelerator_names() -> list[str]:
    """Names of the accelerators that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_accelerator(name_or_path: str | Path) -> Accelerator:
    """An accelerator by the name of a shipped one, or by the path of a file.

    Raises:
        UnknownName: neither. FileFormatError: a file with a mistake.
    """
    path = _find(name_or_path)
    keys = read_keys(path)
    accelerator = _built(path, keys)
    problems = contradictions(accelerator)
    if problems:
        raise problems[0]
    return accelerator


def check_accelerator(path: str | Path) -> list[str]:
    """What is wrong with an accelerator file, a line each beginning with ``problem:``; else what it holds, ``ok:`` lines."""
    try:
        found = _find(path)
        problems, keys = check_keys(found)
        if keys is not None:
            accelerator = _built(found, keys)
            problems = contradictions(accelerator)
    except UsageError as error:
        return [f"problem: {error}"]
    if problems:
        return [f"problem: {problem}" for problem in problems]
    p = accelerator.precision
    pairs = ", ".join(map(str, p.native))
    lines = [f"ok: {accelerator.name} gives {', '.join(m.metric.key for m in accelerator.cost_models())}."]
    lines.append(f"ok: runs {pairs}; other widths: {p.unsupported}.")
    if accelerator.rows:
        shapes = len({row.signature for row in accelerator.rows})
        lines.append(f"ok: look-up tables with {len(accelerator.rows)} rows of {shapes} shapes.")
    lines.extend(f"ok: {key} has no effect: no cost of this accelerator depends on it." for key in without_effect(accelerator))
    lines.extend(f"ok: no sha256 is stated for {t.file}." for t in accelerator.keys.table if t.sha256 is None)
    return lines


def _find(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    if text in accelerator_names():
        return _FOLDER / f"{text}.toml"
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text or "\\" in text:
        return Path(name_or_path)
    raise UnknownName("accelerator", text, accelerator_names(), "Or give the path of a .toml file.")


def _built(path: Path, keys: AcceleratorKeys) -> Accelerator:
    clock = keys.clock.hz if keys.clock else None
    rows: list[Row] = []
    inside = _FOLDER.parent if path.parent.resolve() == _FOLDER.resolve() else path.parent  # shipped tables have a folder of their own
    for table in keys.table:
        if not (path.parent / table.file).resolve().is_relative_to(inside.resolve()):
            raise FileFormatError(path, f"must stay in the folder of the accelerator's file, got '{table.file}'.", "key 'table.file'")
        if (path.parent / table.file).is_dir():
            raise FileFormatError(path, f"must name a CSV file, got '{table.file}'.", "key 'table.file'")
        rows.extend(read_table(path.parent / table.file, clock, table.sha256))
    return Accelerator(keys.name, keys.description, path, keys, tuple(rows))


def contradictions(accelerator: Accelerator) -> list[FileFormatError]:
    """What each key allows by itself, but not together with the others."""
    k, path = accelerator.keys, accelerator.file
    found = []

    def problem(where: str, text: str) -> None:
        found.append(FileFormatError(path, text, f"key '{where}'"))

    try:
        precision = accelerator.precision
    except UsageError as error:
        where = "promote" if "promote" in str(error) else "pairs"
        return [FileFormatError(path, str(error), f"key 'precision.{where}'")]
    if precision.executed(precision.other) is None:
        problem("precision.other", f"is {precision.other}, which the device cannot run: {', '.join(map(str, precision.native))}.")
    if k.name in accelerator_names() and path.parent.resolve() != _FOLDER.resolve():
        problem("name", f"is '{k.name}', the name of an accelerator that comes with the package: results could not be told apart.")
    names = [level.name for level in k.memory]
    for name in {n for n in names if names.count(n) > 1}:
        problem("memory", f"has two levels named '{name}'.")
    if k.compute is None and not accelerator.rows:
        problem("compute", "is missing, and there is no look-up table either: the file gives no latency.")
    if k.compute is None and k.missing == "analytic":
        problem("missing", "is 'analytic', but the file has no analytic model: add [compute], or write 'error'.")
    if k.conversion is not None and not (k.conversion.s or k.conversion.elements_per_s or k.conversion.pj_per_element):
        problem("conversion", "says nothing: give s, elements_per_s or pj_per_element, or leave it out.")
    gives_energy = k.energy is not None or any(row.joules is not None for row in accelerator.rows)
    if k.conversion is not None and k.conversion.pj_per_element and not gives_energy:
        problem("conversion.pj_per_element", "is not used: the file gives no energy. Add [energy] or a table with energies.")
    try:
        compute_model(k)
    except UsageError as error:
        problem("compute", str(error))
    try:
        energy_model(k)
    except UsageError as error:
        problem("energy", str(error))
    return found
