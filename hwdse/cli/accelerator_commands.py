"""``hwdse accelerators ...``. Everything heavy is imported inside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json, TaskName, decimal, examples, whole_number

accelerators = typer.Typer(
    help="List, show and check accelerator files; import profiles; measure this machine.",
    no_args_is_help=True,
    epilog=examples("hwdse accelerators list", "hwdse accelerators show npu", "hwdse accelerators check my_chip.toml"),
)


@accelerators.command("list")
def accelerators_list(json: Json = False) -> None:
    """The shipped accelerators."""
    from .accelerators import run_list

    run_list(json)


@accelerators.command("show")
def accelerators_show(name: Annotated[str, typer.Argument(metavar="NAME", help="Shipped name or path.")], json: Json = False) -> None:
    """What one accelerator's file says: provenance, precision, memory, tables."""
    from .accelerators import run_show

    run_show(name, json)


@accelerators.command("check")
def accelerators_check(file: Annotated[Path, typer.Argument(metavar="FILE", help="An accelerator file.")], json: Json = False) -> None:
    """Explains every fault of an accelerator file; exit status 2 if there is one."""
    from .accelerators import run_check

    run_check(file, json)


@accelerators.command(
    "new", epilog=examples("hwdse accelerators new my_chip --like npu", "hwdse accelerators new my_gpu --like t4 -o hardware")
)
def accelerators_new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of your accelerator, as in latency@NAME.")],
    like: Annotated[str, typer.Option(help="Shipped name or path of the file to start from.")] = "npu",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")] = Path(),
    json: Json = False,
) -> None:
    """Writes a commented file to start from: a copy of another, marked as one."""
    from .accelerators import run_new

    run_new(name, like, output, json)


@accelerators.command("schema")
def accelerators_schema(
    table: Annotated[bool, typer.Option("--table", help="The schema of a row of a look-up table instead.")] = False,
) -> None:
    """The file format as JSON Schema, for editors and programs."""
    from .accelerators import run_schema

    run_schema(table)


@accelerators.command(
    "import",
    epilog=examples(
        "hwdse accelerators import trtexec profile.json layers.json --task digits --widths w8a8 -o orin.csv",
        "hwdse accelerators import onnxruntime trace.json --task digits -o cpu.csv",
        "hwdse accelerators import vela net_per-layer.csv net_summary.csv --task digits --widths w8a8 --by-order -o u55.csv",
        "hwdse accelerators import scalesim COMPUTE_REPORT.csv topology.csv --task digits --widths w8a8 --clock 500e6 -o array.csv",
        last="A row is a layer's cost only where its name, or its shape alone, says so, and where nothing in the file speaks against it. "
        "Rows of several layers at once are listed, not divided. Export the model under its own module names, and profile at the batch "
        "size of the task.",
    ),
)
def accelerators_import(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help="trtexec, onnxruntime, tflite, vela, scalesim, timeloop or zigzag.")],  # noqa: A002
    files: Annotated[
        list[Path], typer.Argument(metavar="FILES...", help="What the tool wrote; several runs of one network: their median.")
    ],
    task: Annotated[str, typer.Option(help="Task whose model was profiled: a built-in one, or my_package.my_module:MyTask.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Look-up table to write (hwdse.table/1, CSV).")],
    widths: Annotated[
        str | None, typer.Option(help="Widths that every layer ran at, such as w8a8; where the files say them, a check.")
    ] = None,
    allocation: Annotated[Path | None, typer.Option(help="Allocation file that was deployed: the widths of each layer.")] = None,
    clock: Annotated[
        float | None,
        typer.Option(
            parser=decimal(), metavar="NUMBER", help="Clock in Hz, such as 500e6, where the tool counts cycles and no file states it."
        ),
    ] = None,
    by_order: Annotated[
        bool, typer.Option("--by-order", help="Join what is left in the order of execution; kinds and number must agree.")
    ] = False,
    json: Json = False,
) -> None:
    """A profiler's or simulator's output as a look-up table of the task's layers; and what was fused or did not fit."""
    from .import_profile import run

    run(format, files, task, widths, allocation, clock, by_order, output, json)


@accelerators.command(
    "measure",
    epilog=examples(
        "hwdse accelerators measure digits -o my_cpu.csv",
        "hwdse accelerators measure digits --backend onnxruntime --threads 4 -o my_cpu4.csv",
        "hwdse accelerators measure cifar10 --device cuda --repeats 50 --seconds-per-layer 1 -o my_gpu.csv",
        last="Each distinct shape is timed alone, in FP32 and in INT8 where there is an INT8 kernel; on an idle machine, please.",
    ),
)
def accelerators_measure(
    task: TaskName,
    output: Annotated[Path, typer.Option("--output", "-o", help="Look-up table to write (hwdse.table/1, CSV).")],
    backend: Annotated[str, typer.Option(help="torch or onnxruntime (pip install onnx onnxruntime).")] = "torch",
    device: Annotated[str, typer.Option(help="cpu; with torch also cuda, cuda:1.")] = "cpu",
    threads: Annotated[int, typer.Option(parser=whole_number(1), metavar="INTEGER", help="Threads of one operation, on the CPU.")] = 1,
    repeats: Annotated[
        int, typer.Option(parser=whole_number(3), metavar="INTEGER", help="Samples of each time, one in every round over all layers.")
    ] = 30,
    seconds_per_layer: Annotated[
        float,
        typer.Option(
            parser=decimal(),
            metavar="NUMBER",
            help="Seconds that the samples of one shape take together, at each width; a slow layer takes longer.",
        ),
    ] = 0.5,
    accelerator: Annotated[
        Path | None, typer.Option(help="Accelerator file to write, whose name is its own; default: the table's, with .toml.")
    ] = None,
    table_only: Annotated[bool, typer.Option("--table-only", help="Write no accelerator file.")] = False,
    json: Json = False,
) -> None:
    """Times the task's layers on this machine, and writes them as a table and an accelerator file. No other tool is needed."""
    from .measure import run

    run(task, backend, device, threads, repeats, seconds_per_layer, output, accelerator, table_only, json)


@accelerators.command(
    "calibrate",
    epilog=examples(
        "hwdse accelerators calibrate my_chip.toml measured.csv -o my_chip_calibrated.toml",
        last="measured.csv: a header task,widths,latency and a line per network, digits,w8a8,1.3 ms; widths may be an allocation's file.",
    ),
)
def accelerators_calibrate(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Shipped name or path of an accelerator file.")],
    measured: Annotated[Path, typer.Argument(metavar="CSV", help="Times of whole networks, 3 or more.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default NAME-calibrated.toml. The accelerator's own: in place.")
    ] = None,
    json: Json = False,
) -> None:
    """Fits the time of whole networks to the sum over their layers, and says how far off it is for a network left out."""
    from .calibrate import run

    run(name, measured, output, json)
