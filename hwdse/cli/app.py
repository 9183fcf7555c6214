"""The commands and their options. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


def _examples(*commands: str, last: str = "") -> str:
    """The end of a help page: one command a line (a blank line is what keeps lines apart there)."""
    return "\n\n".join(["Examples:", *commands, *([last] if last else [])])


app = typer.Typer(
    name="hwdse",
    help="Explore mixed-precision quantisation for real hardware: measured accuracy against BitOPs, memory, latency and energy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog=_examples("hwdse profile digits -a mpic", 'hwdse allocate digits -a mpic -b "latency <= 70% of w8a8"', "hwdse COMMAND --help"),
)
accelerators = typer.Typer(
    help="List, show and check accelerator files; import profiles; measure this machine.",
    no_args_is_help=True,
    epilog=_examples("hwdse accelerators list", "hwdse accelerators show npu", "hwdse accelerators check my_chip.toml"),
)
app.add_typer(accelerators, name="accelerators")


class Rounding(StrEnum):
    """How weights are rounded where nothing is trained."""

    adaptive = "adaptive"
    nearest = "nearest"


TaskName = Annotated[str, typer.Argument(metavar="TASK", help="Built-in task (digits) or my_package.my_module:MyTask.")]
Accelerators = Annotated[
    list[str] | None, typer.Option("--accelerator", "-a", help="Shipped name or path of an accelerator file; repeat for several.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, nothing else, on standard output.")]
Seed = Annotated[int, typer.Option(help="Seed of initialisation and training.")]
Points = Annotated[int, typer.Option(min=2, help="Limits to solve for on each accelerator.")]
MeasureFront = Annotated[bool, typer.Option("--measure", help="Also score every point on the validation split, without training.")]
Decode = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="TOKENS", help="Cost of generating one token of a decoder with so many in its cache, not of the traced pass."
    ),
]
Device = Annotated[str, typer.Option(help="Where to train and score: cpu, cuda, cuda:1.")]
Storage = Annotated[
    str | None,
    typer.Option(envvar="HWDSE_STORAGE", help="Keep the study on a server: postgresql://USER@HOST/DATABASE; default: in the run folder."),
]
Onnx = Annotated[bool, typer.Option(help="Write the network as ONNX too; needs pip install 'hwdse[onnx]'.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, as left by hwdse sweep.")]
Method = Annotated[str, typer.Option("--method", help="fit (Fisher trace, measured error), fit_noise, fit_exact, hessian or measured.")]
Budgets = Annotated[
    list[str] | None,
    typer.Option("--budget", "-b", help='Hard limit, such as "latency <= 3 ms" or "weights <= 50% of w8a8"; repeat for several.'),
]


def _version(value: bool) -> None:
    if value:
        from hwdse import __version__

        typer.echo(f"hwdse {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    del version  # handled by its callback, before anything else


@app.command(
    epilog=_examples(
        "hwdse profile digits",
        "hwdse profile digits -a t4 -a npu --at w8a8 --at w4a4 --json",
        "hwdse profile digits -a npu --detail",
        "hwdse profile my_models:Decoder -a my_gpu --decode 4096",
    )
)
def profile(
    task: TaskName,
    accelerator: Accelerators = None,
    at: Annotated[list[str] | None, typer.Option("--at", help="Uniform widths to cost; default w8a8 and w4a4.")] = None,
    decode: Decode = None,
    detail: Annotated[bool, typer.Option("--detail", help="Arithmetic, traffic, share of the peak, and what bounds each layer.")] = False,
    json: Json = False,
) -> None:
    """Per-layer table: shapes, MACs, parameters, and costs at given widths on each accelerator; and what could not be counted."""
    from .profile import run

    run(task, accelerator or [], at or ["w8a8", "w4a4"], decode, detail, json)


@app.command(
    epilog=_examples(
        "hwdse sensitivity digits",
        "hwdse sensitivity digits --method measured --figure layers.png",
        "hwdse sensitivity digits --audit --figure audit.png",
    )
)
def sensitivity(
    task: TaskName,
    method: Method = "fit",
    audit: Annotated[
        bool,
        typer.Option("--audit", help="Rank correlation of every method's prediction with the measured loss: which to trust on this model."),
    ] = False,
    figure: Annotated[
        Path | None, typer.Option(help="Where to draw it (png or svg); default TASK-sensitivity.png, or TASK-audit.png.")
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Expected loss increase per layer and width, as a table and a figure."""
    from .sensitivity import run

    run(task, method, audit, figure, seed, json)


@app.command(epilog=_examples("hwdse audit digits -a t4 -a mpic", "hwdse audit digits --count 1000 --figure proxies.svg"))
def audit(
    task: TaskName,
    accelerator: Accelerators = None,
    count: Annotated[int, typer.Option(min=20, help="Allocations to sample.")] = 400,
    decode: Decode = None,
    figure: Annotated[Path | None, typer.Option(help="Where to draw it (png or svg); default TASK-proxies.png.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """May BitOPs stand in for latency here? Rank correlation of BitOPs and average bits with what each accelerator takes. No training."""
    from .audit import run

    run(task, accelerator or [], count, decode, figure, seed, json)


@app.command(
    epilog=_examples(
        'hwdse allocate digits -b "weights <= 50% of w8a8"',
        'hwdse allocate digits -a mpic -b "latency <= 1.2 ms" -b "energy <= 7 uJ"',
        'hwdse allocate digits -a mpic -b "latency <= 1.2 ms" --allocator adaqat --epochs 5',
    )
)
def allocate(
    task: TaskName,
    budget: Budgets = None,
    accelerator: Annotated[str | None, typer.Option("--accelerator", "-a", help="Shipped name or path of an accelerator file.")] = None,
    allocator: Annotated[str, typer.Option(help="qbitopt, adaqat, adq or uniform.")] = "qbitopt",
    epochs: Annotated[int, typer.Option(min=0, help="Fine-tuning epochs; 0 is post-training.")] = 0,
    method: Method = "fit",
    quantizers: Annotated[
        str | None, typer.Option(help="WEIGHT+ACTIVATION@RANGES, such as lsq_channel+lsq@mse; default: the allocator's own.")
    ] = None,
    rounding: Annotated[Rounding, typer.Option(help="Post-training: adaptive (with bias correction) or nearest.")] = Rounding.adaptive,
    distillation: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the loss that comes from the FP32 network's outputs; default: the task's.")
    ] = None,
    measure: Annotated[bool, typer.Option(help="Measure the score on the validation split.")] = True,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File for the allocation; default TASK-allocation.json.")] = None,
    decode: Decode = None,
    device: Device = "cpu",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """One allocation inside the budget: widths, costs, slack, the binding limit, and what one more unit of it would buy."""
    from .allocate import run

    run(
        task, budget or [], accelerator, allocator, epochs, method, quantizers, rounding.value, distillation, measure, output,
        decode, device, seed, json,
    )  # fmt: skip


@app.command(
    epilog=_examples(
        "hwdse compare digits -a npu -a mpic -a bitfusion",
        'hwdse compare digits -a npu -a mpic --metric energy -b "weights <= 50% of w8a8" --measure',
    )
)
def compare(
    task: TaskName,
    accelerator: Accelerators = None,
    metric: Annotated[str, typer.Option(help="What to compare by: latency, energy, interval or weights.")] = "latency",
    budget: Budgets = None,
    points: Points = 16,
    measure: MeasureFront = False,
    decode: Decode = None,
    figure: Annotated[Path | None, typer.Option(help="Where to draw it (png or svg); default TASK-compare.png.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """The front that each of several accelerators allows, from the same sensitivities, in one table and one figure."""
    from .fronts import Request, run_compare

    run_compare(Request(task, metric, budget or [], points, measure, decode, figure, seed, json), accelerator or [])


@app.command(
    "explore-hardware",
    epilog=_examples(
        "hwdse explore-hardware digits npu --vary 'precision.weights=[4, 8];[2, 4, 8]'",
        "hwdse explore-hardware digits npu --vary 'memory[dram].bytes_per_s=6.4e9;12.8e9;25.6e9' --metric latency --measure",
        last="A key is written as in the file, dotted; values as TOML writes them, apart by semicolons. Several --vary are combined.",
    ),
)
def explore_hardware(
    task: TaskName,
    accelerator: Annotated[str, typer.Argument(metavar="ACCELERATOR", help="Shipped name or path of the file to vary.")],
    vary: Annotated[list[str] | None, typer.Option("--vary", metavar="KEY=VALUES", help="A key of the file and its values.")] = None,
    metric: Annotated[str, typer.Option(help="What to compare by: latency, energy, interval or weights.")] = "latency",
    budget: Budgets = None,
    points: Points = 16,
    measure: MeasureFront = False,
    decode: Decode = None,
    figure: Annotated[Path | None, typer.Option(help="Where to draw it (png or svg); default TASK-hardware.png.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Is INT2 worth it here? Varies keys of an accelerator's file and shows the front that each variant allows."""
    from .fronts import Request, run_explore

    run_explore(Request(task, metric, budget or [], points, measure, decode, figure, seed, json), accelerator, vary or [])


@app.command(
    epilog=_examples(
        "hwdse sweep my_sweep.toml",
        'hwdse sweep --task digits -a mpic -b "latency <= 70% of w8a8" --trials 20 -o runs/mine',
        "hwdse sweep my_sweep.toml --workers 4",
        last="Stopped (Ctrl-C)? The same command goes on from there. Several -b are several budgets, tried one by one; limits that "
        "must hold together go into a sweep file.",
    )
)
def sweep(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE.toml]", help="A sweep file (schema hwdse.sweep/1).")] = None,
    task: Annotated[str | None, typer.Option(help="Task; in place of, or overriding, the file's.")] = None,
    accelerator: Accelerators = None,
    budget: Budgets = None,
    allocator: Annotated[list[str] | None, typer.Option(help="Allocators to use; default all three.")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials in all, baselines included.")] = None,
    epochs: Annotated[list[int] | None, typer.Option(help="Fine-tuning epochs to choose from.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything.")] = None,
    decode: Decode = None,
    device: Annotated[str | None, typer.Option(help="Where to train and score: cpu, cuda, cuda:1.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that run trials; 0 watches those started elsewhere.")] = 1,
    engine: Annotated[str, typer.Option(help="Where they run: local, or ray (a Ray cluster: RAY_ADDRESS, or one made here).")] = "local",
    gpus: Annotated[
        float | None, typer.Option(min=0, help="GPUs of one worker on a Ray cluster, such as 0.25; default: 1 with --device cuda.")
    ] = None,
    storage: Storage = None,
    study: Annotated[str | None, typer.Option(help="Name of the study on the server; default: the run folder's.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Run folder; default runs/NAME.")] = None,
    report: Annotated[bool, typer.Option(help="Write the report at the end.")] = True,
    init: Annotated[Path | None, typer.Option("--init", metavar="NEW.toml", help="Only write a commented sweep file.")] = None,
    json: Json = False,
) -> None:
    """Many trials over allocators, accelerators and budgets: a Pareto front of measured points, and the report."""
    if init is not None:
        from .sweep_file import run_init

        run_init(init, task, accelerator or [], budget or [], json)
        return
    from .sweep import run

    values = {
        "task": task, "accelerators": accelerator, "budgets": budget, "allocators": allocator,
        "trials": trials, "epochs": epochs, "seed": seed, "decode": decode, "device": device,
    }  # fmt: skip
    given = {key: value for key, value in values.items() if value is not None}
    run(file, given, output, report, json, workers, storage, study, engine, gpus)


@app.command(
    epilog=_examples(
        "hwdse worker runs/demo",
        "HWDSE_STORAGE=postgresql://me@server/studies hwdse worker /shared/runs/demo --study demo",
        last="The password stands in PGPASSWORD or ~/.pgpass. Trained weights are shared through HWDSE_CACHE, checkpoints through RUN.",
    )
)
def worker(
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="The run folder; with --storage default runs/STUDY.")] = None,
    storage: Storage = None,
    study: Annotated[str | None, typer.Option(help="Name of the study on the server; default: the only one there.")] = None,
    json: Json = False,
) -> None:
    """Takes part in a sweep: runs its trials until none is left. Start as many as you like, on as many machines; any may die."""
    from .worker import run as take_part

    take_part(run, storage, study, json)


@app.command(
    epilog=_examples("hwdse status runs/demo", "hwdse status postgresql://me@host/studies --study demo", "hwdse status runs/demo --json")
)
def status(
    run: Annotated[str | None, typer.Argument(metavar="RUN|URL", help="A run folder, or the server where a study is kept.")] = None,
    storage: Storage = None,
    study: Annotated[str | None, typer.Option(help="Name of the study on the server, where it holds several.")] = None,
    json: Json = False,
) -> None:
    """Where a run stands: trials done, running and failed, time left, the best of each budget. Disturbs nothing."""
    from .status import run as show

    show(run, storage, study, json)


@app.command(epilog=_examples("hwdse report runs/demo", "hwdse report runs/demo --figures pdf,svg --style paper"))
def report(
    run: RunFolder,
    figures: Annotated[str, typer.Option(metavar="FORMATS", help="Of the figure files: pdf, png, svg, apart by commas; none.")] = "png,svg",
    style: Annotated[str, typer.Option(help="Of the figure files: page, paper (a column of 3.5 inches), slides.")] = "page",
    json: Json = False,
) -> None:
    """Writes report.html, the figures with their captions, and tables as CSV and LaTeX, from the run's records alone."""
    from .report import run as write

    write(run, figures, style, json)


@app.command(
    epilog=_examples(
        'hwdse pick runs/demo --max "latency@mpic = 1.2 ms"',
        'hwdse pick runs/demo --min "accuracy = 97 %" -o widths.json',
        'hwdse pick runs/demo --sure "accuracy >= 94 %" --confidence 99% --knee latency@mpic',
        'hwdse pick runs/demo --lexicographic accuracy,latency@mpic,weights --tolerance "0.5 %"',
        'hwdse pick runs/demo --max "latency@mpic = 1.2 ms" --export deployed',
        'hwdse pick runs/demo --what-if "latency@mpic <= 0.8 ms" --what-if "weights <= 30% of w8a8"',
    )
)
def pick(
    run: RunFolder,
    maximum: Annotated[
        list[str] | None, typer.Option("--max", help='Limit on a cost, such as "latency = 3 ms"; repeat for several.')
    ] = None,
    minimum: Annotated[list[str] | None, typer.Option("--min", help='Least score, such as "accuracy = 97 %".')] = None,
    sure: Annotated[
        list[str] | None, typer.Option(help='Score that the lower confidence bound must reach, such as "accuracy >= 97 %".')
    ] = None,
    confidence: Annotated[str | None, typer.Option(help="Of --sure: one-sided, from the validation samples; default 95%.")] = None,
    knee: Annotated[
        str | None, typer.Option(metavar="METRIC", help="The knee of the front against this cost, in place of the best score.")
    ] = None,
    lexicographic: Annotated[
        str | None, typer.Option(metavar="METRICS", help="Metrics in order of importance, such as accuracy,latency@mpic,weights.")
    ] = None,
    tolerance: Annotated[
        str | None, typer.Option(help='What counts as equal by the first of them, such as "0.5 %"; default: what noise explains.')
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Copy the allocation file here.")] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Hand it over there: widths, checkpoint, costs, ONNX; see hwdse export.")
    ] = None,
    onnx: Onnx = True,
    what_if: Annotated[
        list[str] | None,
        typer.Option(
            "--what-if",
            help="Instead: the best allocation under a budget that was not run, and the score to expect; several together.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """The best measured point inside the limits, its allocation, and its neighbours; or the knee, or the first in an order of metrics."""
    from .pick import Wanted
    from .pick import run as choose

    wanted = Wanted(maximum or [], minimum or [], sure or [], confidence, knee, lexicographic, tolerance)
    if what_if:
        from .what_if import run as suppose

        wanted.nothing("--what-if", output, export)
        suppose(run, what_if, json)
        return
    choose(run, wanted, output, export, onnx, json)


@app.command("export", epilog=_examples("hwdse export runs/demo 17 -o deployed", "hwdse export runs/demo 17 -o deployed --no-onnx"))
def export_(
    run: RunFolder,
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="Its number.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    onnx: Onnx = True,
    json: Json = False,
) -> None:
    """Hands a trial over: allocation, checkpoint, costs worked out again, and ONNX files (QDQ, QONNX) that compute what PyTorch does."""
    from .export import run as hand_over

    hand_over(run, trial, output, onnx, json)


@app.command(epilog=_examples("hwdse explain runs/demo 10", "hwdse explain runs/demo 10 --layer block1.conv1"))
def explain(
    run: RunFolder,
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="Its number.")],
    layer: Annotated[str | None, typer.Option(help="One layer, with its widths one step up and down.")] = None,
    json: Json = False,
) -> None:
    """Why these bits: what each layer is expected to lose and costs, and what one bit more or less would change."""
    from .explain import run_explain

    run_explain(run, trial, layer, json)


@app.command(epilog=_examples("hwdse diff runs/one runs/two"))
def diff(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="A run folder.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another.")],
    json: Json = False,
) -> None:
    """Two runs side by side: hypervolume of their fronts against one reference point, and who is better at how many costs."""
    from .explain import run_diff

    run_diff(first, second, json)


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
    "new", epilog=_examples("hwdse accelerators new my_chip --like npu", "hwdse accelerators new my_gpu --like t4 -o hardware")
)
def accelerators_new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of your accelerator, as in latency@NAME.")],
    like: Annotated[str, typer.Option(help="Shipped name or path of the file to start from.")] = "npu",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")] = Path(),
    json: Json = False,
) -> None:
    """Writes a commented file to start from: a copy of another, marked as one."""
    from .accelerators import run_new

    run_new(name, like, output, json)


@accelerators.command("schema")
def accelerators_schema(
    table: Annotated[bool, typer.Option("--table", help="Of a row of a look-up table instead.")] = False,
) -> None:
    """The file format as JSON Schema, for editors and programs."""
    from .accelerators import run_schema

    run_schema(table)


@accelerators.command(
    "import",
    epilog=_examples(
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
        float | None, typer.Option(help="Clock in Hz, such as 500e6, where the tool counts cycles and no file states it.")
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
    epilog=_examples(
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
    threads: Annotated[int, typer.Option(min=1, help="Threads of one operation, on the CPU.")] = 1,
    repeats: Annotated[int, typer.Option(min=3, help="Samples of each time, one in every round over all layers.")] = 30,
    seconds_per_layer: Annotated[
        float, typer.Option(help="Seconds that the samples of one shape take together, at each width; a slow layer takes longer.")
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
    epilog=_examples(
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
