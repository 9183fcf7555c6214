"""``hwdse accelerators calibrate``: end-to-end measurements of networks against the sum over layers."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hwdse.bits import Allocation, BitWidths
from hwdse.costmodels import Accelerator, check_accelerator, load_accelerator
from hwdse.costmodels.accelerator_file import decode, read_bytes
from hwdse.costmodels.calibration import Calibrated, calibrate, with_calibration
from hwdse.errors import FileFormatError, UsageError
from hwdse.metrics import LATENCY
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
    path = output or Path(f"{accelerator.name}-calibrated.toml")
    if path.exists() and path.resolve() != accelerator.file.resolve():
        raise UsageError(f"{path} is there already, and is not overwritten; give another file with -o, or the accelerator's own.")
    writable(path)
    with telling(json) as say:
        sums = []
        for number, network in enumerate(networks):
            say(f"costing {network.task} at {network.widths}", number, len(networks))
            sums.append(modelled(accelerator, network, file))
    found = calibrate(sums, [n.seconds for n in networks])
    _write(accelerator, path, found, f"{len(networks)} networks measured end to end ({file.name})")
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
        FileFormatError: a column missing, or a cell that is no width, no file or no time, with its line.
    """
    text = decode(path, read_bytes(path))
    rows = csv.reader(line for line in text.splitlines() if not line.startswith("#"))
    header = [cell.strip().lower() for cell in next(rows, [])]
    lacking = [name for name in COLUMNS if name not in header]
    if lacking:
        raise FileFormatError(path, f"lacks the columns {', '.join(lacking)}: the header must be {','.join(COLUMNS)}.", "line 1")
    found = []
    for line, row in enumerate(rows, 2):
        cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
        if not any(cells.values()):
            continue
        if not all(cells.get(name) for name in COLUMNS):
            raise FileFormatError(path, f"must give {', '.join(COLUMNS)}.", f"line {line}")
        try:
            seconds = LATENCY.parse(cells["latency"])
        except UsageError as error:
            raise FileFormatError(path, str(error), f"line {line}") from None
        if seconds <= 0:
            raise FileFormatError(path, f"a latency must be above 0, got '{cells['latency']}'.", f"line {line}")
        found.append(Measured(cells["task"], cells["widths"], seconds, line))
    return found


def modelled(accelerator: Accelerator, network: Measured, file: Path) -> float:
    """Seconds of one network on the accelerator, before calibration.

    Raises:
        FileFormatError: widths that the device cannot run, or that are neither widths nor a file.
    """
    task = load_task(network.task)
    graph = trace(task.model(), task.example_inputs())
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
            return Allocation(dict.fromkeys(layers, BitWidths.parse(network.widths)))
        except UsageError as error:
            raise FileFormatError(file, f"{error} Or give an allocation's .json file.", f"line {network.line}") from None
    try:
        beside = file.parent / network.widths
        held = Allocation.from_json(decode(beside, read_bytes(beside)), beside)
    except (FileFormatError, UsageError) as error:
        raise FileFormatError(file, f"'{network.widths}' is no allocation: {error}", f"line {network.line}") from None
    if set(held) != set(layers):
        raise FileFormatError(file, f"'{network.widths}' names other layers than {network.task} has.", f"line {network.line}")
    return held


def _write(accelerator: Accelerator, path: Path, found: Calibrated, note: str) -> None:
    text = with_calibration(accelerator.file.read_text(encoding="utf-8-sig"), found, note)
    if path.resolve() != accelerator.file.resolve():
        text = text.replace(f'name = "{accelerator.name}"', f'name = "{path.stem}"', 1)
        for table in accelerator.keys.table:
            beside = path.with_suffix(f".{Path(table.file).name}")
            write(beside, (accelerator.file.parent / table.file).read_bytes())
            text = text.replace(f'"{table.file}"', f'"{beside.name}"')
    write(path, text)
    wrong = [line for line in check_accelerator(path) if line.startswith("problem")]
    if wrong:
        raise FileFormatError(path, f"was written, but is not right: {wrong[0]}")
