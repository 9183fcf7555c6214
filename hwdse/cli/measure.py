"""``hwdse accelerators measure``: the time of a task's layers on this machine, as a table and an accelerator file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from hwdse.contract import example_of, model_of
from hwdse.costmodels import check_accelerator
from hwdse.costmodels.measuring import (
    FP32,
    INT8,
    MOSTLY_CALL,
    NOISY,
    Measurement,
    NotTimed,
    Timing,
    accelerator_text,
    backend,
    check_name,
    measure,
    name_of,
    table_of,
)
from hwdse.costmodels.table_file import read_table
from hwdse.errors import FileFormatError, UsageError
from hwdse.metrics import LATENCY
from hwdse.storage import write
from hwdse.tasks import load_task
from hwdse.trace import trace

from .setup import writable
from .show import print_json, print_table, print_text, telling


def run(
    task: str,
    backend_name: str,
    device: str,
    threads: int,
    repeats: int,
    seconds: float,
    output: Path,
    accelerator: Path | None,
    table_only: bool,
    json: bool,
) -> None:
    """Measures, writes, and says what was measured, what was not, and how to use it."""
    timer = backend(backend_name, device, threads)
    file = _file(output, accelerator, table_only)
    loaded = load_task(task)
    torch.manual_seed(0)
    model, inputs = model_of(loaded), example_of(loaded)
    with telling(json) as say:
        say("tracing", 0, 1)
        graph = trace(model, inputs)
        found = measure(graph, timer, model, inputs, repeats=repeats, seconds=seconds, say=say)
    text = table_of(found, [f"Layers of the task {task} (graph {graph.fingerprint})."])
    write(output, text)
    read_table(output)  # what cannot be read back is a fault of ours, and is said here
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    if file is not None:
        write(file, accelerator_text(file.stem, found, output.name, sha256, task))
        wrong = [line for line in check_accelerator(file) if line.startswith("problem")]
        if wrong:
            raise FileFormatError(file, f"was written, but is not right: {wrong[0]}")
    if json:
        print_json({"task": task, **_facts(found), "table": str(output), "sha256": sha256, "accelerator": file and str(file)})
        return
    _print(found, task)
    print_text()
    print_text(f"Wrote {output}: {len(found.rows)} rows." if file is None else f"Wrote {output} ({len(found.rows)} rows) and {file}.")
    if file is None:
        print_text(f"To use it, name it in a [[table]] of an accelerator file beside it, with sha256 = {sha256}.")
        return
    at = INT8 if INT8 in found.widths else FP32
    print_text(f'Next: hwdse profile {task} -a {file}, or hwdse allocate {task} -a {file} -b "latency <= 110% of {at}"', indent=2)


def _file(output: Path, accelerator: Path | None, table_only: bool) -> Path | None:
    """Where the accelerator file goes; every reason against writing is found here, before anything is measured."""
    if table_only and accelerator is not None:
        raise UsageError("--accelerator and --table-only contradict each other; give one of them.")
    file = None if table_only else accelerator or output.with_suffix(".toml")
    if file is not None:
        if file.suffix != ".toml" or output.suffix == ".toml":
            raise UsageError(f"the table is a .csv file, the accelerator a .toml file; got {output} and {file}.")
        if file.resolve().parent != output.resolve().parent:
            raise UsageError(f"the accelerator's file names its table and must lie in the same folder: {output.resolve().parent}.")
        check_name(file.stem)
    for path in filter(None, (output, file)):
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is there already, and is not overwritten; give another name with -o, or remove it.")
        writable(path)
    return file


def _facts(found: Measurement) -> dict[str, Any]:
    uses = {shape.signature: shape.layers for shape in found.shapes}
    return {
        "tool": found.tool,
        "device": found.device,
        "threads": found.threads,
        "about": found.about,
        "measured": [
            {
                "shape": str(row.signature),
                "layers": uses[row.signature],
                "widths": str(row.widths),
                **_timed(row.timing),
                "ran": row.ran,
            }
            for row in found.rows
        ],
        "not_measured": [{"layers": one.layers, "widths": one.widths or None, "reason": one.reason} for one in found.left],
        "sums": {str(pair): dict(zip(("seconds", "layers"), found.total(pair), strict=True)) for pair in found.widths},
        "network": {"widths": str(FP32), **_timed(found.network)} if found.network else None,
        "no_network": found.no_network or None,
        "empty_call": {str(widths): _timed(empty) for widths, empty in found.empty.items()},
        "copy_bytes_per_s": found.copy_rate,
    }


def _timed(timing: Timing) -> dict[str, Any]:
    return {
        "latency_s": timing.seconds,
        "latency_std_s": timing.spread,
        "samples": timing.samples,
        "calls": timing.calls,
        "noisy": timing.noisy,
    }


def _print(found: Measurement, task: str) -> None:
    print_text(f"{task}: {found.tool} on {found.device}, {found.threads} thread{'s' * (found.threads > 1)}", style="bold")
    rows = []
    for shape in found.shapes:
        fp32, int8 = found.time(shape.signature, FP32), found.time(shape.signature, INT8)
        rows.append([str(shape.signature), str(len(shape.layers)), *_columns(fp32, int8)])
    print_table(["layer", "uses", "FP32", "spread", "INT8", "spread", "speed-up"], rows)
    print_text()
    sums = {pair: found.total(pair) for pair in found.widths}
    said = [f"{LATENCY.format(total)} in {name_of(pair)} ({layers} layers)" for pair, (total, layers) in sums.items()]
    print_text(f"Sum over layers: {'; '.join(said)}.")
    if found.network is not None:
        sentence = f"The whole network in FP32: {_pm(found.network)}"
        if FP32 in sums:
            sentence += f", {found.network.seconds / sums[FP32][0]:.2f} times the sum"
        print_text(
            f"{sentence}. The sum is not the time of the network: it has no normalisation, additions or "
            "pooling. With three or more networks measured, hwdse accelerators calibrate fits one to the other; this one's line is "
            f"{task},{FP32},{found.network.seconds:.6g} s",
            indent=2,
        )
    else:
        print_text(f"The whole network was not measured. {found.no_network}.", indent=2)
    calls = ", ".join(f"{_pm(empty)} in {name_of(widths)}" for widths, empty in found.empty.items())
    print_text(f"A call with a single product to do takes {calls}. That is part of every time above, and was not subtracted.", indent=2)
    if found.mostly_call:
        print_text(
            f"{len(found.mostly_call)} of {len(found.rows)} times are below {MOSTLY_CALL} such calls: they say more about the call than "
            "about the layer.",
            indent=2,
        )
    noisy = [f"{row.signature} in {name_of(row.widths)} ({row.timing.relative:.0%})" for row in found.rows if row.timing.noisy]
    if noisy:
        print_text()
        print_text(
            f"Noisy, spread above {NOISY:.0%} ({len(noisy)}); measure again on an idle machine, or with more --seconds-per-layer",
            style="bold",
        )
        for line in noisy:
            print_text(f"  {line}", indent=4)
    _print_left(found.left)


def _columns(fp32: Timing | None, int8: Timing | None) -> list[str]:
    times = [text for one in (fp32, int8) for text in (("-", "-") if one is None else (LATENCY.format(one.seconds), f"{one.relative:.1%}"))]
    return [*times, f"{fp32.seconds / int8.seconds:.2f}" if fp32 and int8 else "-"]


def _pm(timing: Timing) -> str:
    return f"{LATENCY.format(timing.seconds)} (spread {timing.relative:.1%})"


def _print_left(left: tuple[NotTimed, ...]) -> None:
    if not left:
        return
    print_text()
    print_text(f"Not measured ({len(left)})", style="bold")
    for one in left:
        print_text(f"  {', '.join(one.layers)}{f' at {one.widths}' if one.widths else ''}: {one.reason}", indent=4)
    print_text(
        'Their cost is an error until it is known. Add rows from another tool, or set missing = "analytic" in the accelerator file: its '
        "roofline then estimates them, and says so."
    )
