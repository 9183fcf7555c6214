"""``hwdse accelerators calibrate``: end-to-end measurements of networks against the sum over layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hwdse.allocation_files import read_allocation
from hwdse.contract import example_of, model_of
from hwdse.costmodels import Accelerator, check_accelerator, load_accelerator
from hwdse.costmodels.calibration import Calibrated, calibrate, with_calibration
from hwdse.costmodels.file_edits import confirmed, with_files, with_top_key
from hwdse.costmodels.measuring import check_name
from hwdse.errors import FileFormatError, UsageError
from hwdse.formats import Allocation, LayerFormat
from hwdse.metrics import LATENCY
from hwdse.reading import csv_records, read_text
from hwdse.storage import write
from hwdse.tasks import load_task
from hwdse.trace import trace

from .setup import writable
from .show import print_json, print_table, print_text, telling

COLUMNS = ("task", "widths", "latency")


@dataclass(frozen=True)
class Measured:
    """One network: a task at uniform widths or under an allocation's file, and its time from start to end in seconds."""

    task: str
    widths: str
    seconds: float
    line: int


def run(name: str, file: Path, output: Path | None, json: bool) -> None:
    """Fits, prints what each network says, and writes the accelerator's file with the calibration in it."""
    accelerator, networks = load_accelerator(name), read_measured(file)
    files = _files(accelerator, output or Path(f"{accelerator.name}-calibrated.toml"))
    path = next(iter(files))
    with telling(json) as say:
        sums = []
        for number, network in enumerate(networks):
            say(f"costing {network.task} at {network.widths}", number, len(networks))
            sums.append(modelled(accelerator, network, file))
    found = calibrate(sums, [n.seconds for n in networks])
    _write(accelerator, files, found, f"{len(networks)} networks measured end to end ({file.name})")
    if json:
        rows = [
            {"task": n.task, "widths": n.widths, "sum_s": s, "measured_s": n.seconds, "left_out_error": float(e)}
            for n, s, e in zip(networks, sums, found.errors, strict=True)
        ]
        print_json({"offset_s": found.offset, "scale": found.scale, "error": found.error, "networks": rows, "file": str(path)})
        return
    print_table(
        ["network", "widths", "sum over layers", "measured", "calibrated", "off when left out"],
        [
            [n.task, n.widths, LATENCY.format(s), LATENCY.format(n.seconds), LATENCY.format(found.offset + found.scale * s), f"{e:+.1%}"]
            for n, s, e in zip(networks, sums, found.errors, strict=True)
        ],
    )
    print_text()
    print_text(
        f"t = {LATENCY.format(found.offset)} + {found.scale:.4g} x sum over layers; mean leave-one-out error {found.error:.2%}.",
        style="bold",
    )
    print_text(f"Wrote {path}: use it as -a {path}. Costs on it carry the error, and budgets within it are called at risk.")


def read_measured(path: Path) -> list[Measured]:
    """A CSV file with the columns task, widths (w4a8, or the path of an allocation) and latency with its unit (3.2 ms).

    Raises:
        FileFormatError: a column missing, a cell that is no time, or a network twice, with its line.
    """
    lines = read_text(path).splitlines(keepends=True)
    skip = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    records = [(line, row) for line, row in csv_records(path, lines[skip:], skip + 1) if not row[0].startswith("#")]
    if not records:
        raise FileFormatError(path, f"is empty; its header must be {','.join(COLUMNS)}, with a line for each network.")
    (number, first), *rows = records
    header = [cell.lower() for cell in first]
    lacking = [name for name in COLUMNS if name not in header]
    if lacking:
        raise FileFormatError(path, f"lacks the columns {', '.join(lacking)}: the header must be {','.join(COLUMNS)}.", f"line {number}")
    if twice := [name for name in COLUMNS if header.count(name) > 1]:
        raise FileFormatError(path, f"has the column {twice[0]} twice.", f"line {number}")
    found: dict[tuple[str, str], Measured] = {}
    for line, row in rows:
        if len(row) != len(header):
            raise FileFormatError(path, f"has {len(row)} cells, but the header has {len(header)}.", f"line {line}")
        one = _measured(path, line, dict(zip(header, row, strict=True)))
        before = found.setdefault((one.task, one.widths), one)
        if before is not one:
            raise FileFormatError(path, f"is {one.task} at {one.widths}, as line {before.line}; keep one, or their median.", f"line {line}")
    return list(found.values())


def _measured(path: Path, line: int, cells: dict[str, str]) -> Measured:
    if not all(cells[name] for name in COLUMNS):
        raise FileFormatError(path, f"must give {', '.join(COLUMNS)}.", f"line {line}")
    try:
        seconds = LATENCY.parse(cells["latency"])
    except UsageError as error:
        raise FileFormatError(path, str(error), f"line {line}") from None
    if seconds <= 0:
        raise FileFormatError(path, f"a latency must be above 0, got '{cells['latency']}'.", f"line {line}")
    return Measured(cells["task"], cells["widths"], seconds, line)


def modelled(accelerator: Accelerator, network: Measured, file: Path) -> float:
    """Seconds of one network on the accelerator, before calibration.

    Raises:
        FileFormatError: widths that the device cannot run, or that are neither widths nor a file.
    """
    task = load_task(network.task)
    graph = trace(model_of(task), example_of(task))
    names = [layer.name for layer in graph.quantisable]
    widths = _allocation(network, names, file)
    options = list(dict.fromkeys(widths.values()))
    total = replace(accelerator.latency, offset=0.0, scale=1.0).tabulate(graph, options).total(widths)
    if total == float("inf"):
        raise FileFormatError(file, f"{accelerator.name} cannot run {network.task} at {network.widths}.", f"line {network.line}")
    return total


def _allocation(network: Measured, layers: Sequence[str], file: Path) -> Allocation:
    if not network.widths.endswith(".json"):
        try:
            return Allocation(dict.fromkeys(layers, LayerFormat.parse(network.widths)))
        except UsageError as error:
            raise FileFormatError(file, f"{error} Or give an allocation's .json file.", f"line {network.line}") from None
    try:
        held, _ = read_allocation(file.parent / network.widths)
    except (FileFormatError, UsageError) as error:
        raise FileFormatError(file, f"'{network.widths}' is no allocation: {error}", f"line {network.line}") from None
    if set(held) != set(layers):
        raise FileFormatError(file, f"'{network.widths}' names other layers than {network.task} has.", f"line {network.line}")
    return held


def _files(accelerator: Accelerator, path: Path) -> dict[Path, Path]:
    """What will be written -> what it is made from, the accelerator's file first; every reason against writing is found here."""
    if path.exists() and path.resolve() == accelerator.file.resolve():
        writable(path)
        return {path: accelerator.file}
    if path.suffix != ".toml":
        raise UsageError(f"an accelerator's file ends in .toml, got {path}.")
    check_name(path.stem)
    files = {path: accelerator.file}
    for number, table in enumerate(accelerator.keys.table):
        beside = f"{path.stem}.csv" if len(accelerator.keys.table) == 1 else f"{path.stem}-{number + 1}.csv"
        files[path.with_name(beside)] = accelerator.file.parent / table.file
    for one in files:
        if one.exists() and not one.is_dir():
            raise UsageError(f"{one} is there already, and is not overwritten; give another file with -o, or the accelerator's own.")
        writable(one)
    return files


def _write(accelerator: Accelerator, files: dict[Path, Path], found: Calibrated, note: str) -> None:
    """The tables first, then the file that names them."""
    path, *copies = files
    text = with_calibration(read_text(accelerator.file), found, note)
    name, tables = accelerator.name, [table.file for table in accelerator.keys.table]
    if path.resolve() != accelerator.file.resolve():
        named = dict(zip(tables, (copy.name for copy in copies), strict=True))
        name, tables = path.stem, list(named.values())
        text = with_files(with_top_key(text, "name", name), named)
    text = confirmed(text, accelerator.file, name, tables, calibration={"networks": len(found.errors), "note": note})
    for copy in copies:
        write(copy, files[copy].read_bytes())
    write(path, text)
    wrong = [line for line in check_accelerator(path) if line.startswith("problem")]
    if wrong:
        raise FileFormatError(path, f"was written, but is not right: {wrong[0]}")
