"""Commands on a task: what it costs, what it loses, and the widths to choose. Everything heavy is imported inside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import (
    Accelerators,
    Budgets,
    Decode,
    Device,
    Formats,
    Json,
    MeasureFront,
    Method,
    Points,
    Rounding,
    Seed,
    TaskName,
    decimal,
    examples,
    whole_number,
)

app = typer.Typer()


@app.command(
    epilog=examples(
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
    epilog=examples(
        "hwdse sensitivity digits",
        "hwdse sensitivity digits --method measured --figure layers.png",
        "hwdse sensitivity digits --audit --figure audit.png",
    )
)
def sensitivity(
    task: TaskName,
    method: Method = "fit",
    formats: Formats = None,
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

    run(task, method, formats, audit, figure, seed, json)


@app.command(epilog=examples("hwdse audit digits -a t4 -a mpic", "hwdse audit digits --count 1000 --figure proxies.svg"))
def audit(
    task: TaskName,
    accelerator: Accelerators = None,
    count: Annotated[int, typer.Option(parser=whole_number(20), metavar="INTEGER", help="Allocations to sample.")] = 400,
    decode: Decode = None,
    figure: Annotated[Path | None, typer.Option(help="Where to draw it (png or svg); default TASK-proxies.png.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """May BitOPs stand in for latency here? Rank correlation of BitOPs and average bits with what each accelerator takes. No training."""
    from .audit import run

    run(task, accelerator or [], count, decode, figure, seed, json)


@app.command(
    epilog=examples(
        'hwdse allocate digits -b "weights <= 50% of w8a8"',
        'hwdse allocate digits -a mpic -b "latency <= 1.2 ms" -b "energy <= 7 uJ"',
        'hwdse allocate digits -a mpic -b "latency <= 1.2 ms" --allocator adaqat --epochs 5',
        "hwdse allocate digits -a mpic --widths w4a8",
        "hwdse allocate digits -a mpic --allocation runs/demo/allocations/17.json --epochs 5",
        'hwdse allocate digits -a mpic -b "latency <= 1.2 ms" --what-if runs/demo',
    )
)
def allocate(
    task: TaskName,
    budget: Budgets = None,
    accelerator: Annotated[str | None, typer.Option("--accelerator", "-a", help="Shipped name or path of an accelerator file.")] = None,
    allocator: Annotated[str | None, typer.Option(help="qbitopt (default), adaqat, adq or uniform.")] = None,
    widths: Annotated[str | None, typer.Option(metavar="WxAy", help="Instead of choosing: these for every layer, such as w4a8.")] = None,
    allocation: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Instead of choosing: the widths in an allocation file, edited or not.")
    ] = None,
    formats: Formats = None,
    weight_bits: Annotated[str | None, typer.Option(metavar="LIST", help="Widths to choose from, such as 2,4,8; default: 2 to 8.")] = None,
    activation_bits: Annotated[str | None, typer.Option(metavar="LIST", help="The same for activations.")] = None,
    epochs: Annotated[int, typer.Option(parser=whole_number(0), metavar="INTEGER", help="Fine-tuning epochs; 0 is post-training.")] = 0,
    method: Method = "fit",
    quantizers: Annotated[
        str | None, typer.Option(help="WEIGHT+ACTIVATION@RANGES, such as lsq_channel+lsq@mse; default: the allocator's own.")
    ] = None,
    rounding: Annotated[Rounding, typer.Option(help="Post-training: adaptive (with bias correction) or nearest.")] = Rounding.adaptive,
    distillation: Annotated[
        float | None,
        typer.Option(
            parser=decimal(0, 1),
            metavar="NUMBER",
            help="Share of the loss that comes from the FP32 network's outputs; default: the task's.",
        ),
    ] = None,
    measure: Annotated[bool, typer.Option(help="Measure the score on the validation split.")] = True,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File for the allocation; default TASK-allocation.json.")] = None,
    what_if: Annotated[
        Path | None,
        typer.Option("--what-if", metavar="RUN", help="Instead of measuring: what to expect of the budget, by what that run has measured."),
    ] = None,
    decode: Decode = None,
    device: Device = "cpu",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """One allocation inside the budget: widths, costs, slack, the binding limit, and what one more unit of it would buy.

    Or what given widths cost and score.
    """
    from .allocate import Request, expected, run

    asked = Request(
        task, budget or [], accelerator, allocator, widths, allocation, formats, weight_bits, activation_bits, epochs, method, quantizers,
        rounding.value, distillation, measure, output, decode, device, seed,
    )  # fmt: skip
    if what_if is not None:
        expected(asked, what_if, json)
    else:
        run(asked, json)


@app.command(
    epilog=examples(
        "hwdse compare digits -a npu -a mpic -a bitfusion",
        'hwdse compare digits -a npu -a mpic --metric energy -b "weights <= 50% of w8a8" --measure',
    )
)
def compare(
    task: TaskName,
    accelerator: Accelerators = None,
    metric: Annotated[str, typer.Option(help="What to compare by: latency, energy, interval or weights.")] = "latency",
    budget: Budgets = None,
    formats: Formats = None,
    points: Points = 16,
    measure: MeasureFront = False,
    decode: Decode = None,
    figure: Annotated[Path | None, typer.Option(help="Where to draw it (png or svg); default TASK-compare.png.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """The front that each of several accelerators allows, from the same sensitivities, in one table and one figure."""
    from .fronts import Request, run_compare

    run_compare(Request(task, metric, budget or [], formats, points, measure, decode, figure, seed, json), accelerator or [])


@app.command(
    "explore-hardware",
    epilog=examples(
        "hwdse explore-hardware digits npu --vary 'precision.weights=[4, 8];[2, 4, 8]'",
        "hwdse explore-hardware digits npu --vary 'precision.native=[];[\"mxfp4\"]' --vary compute.macs_per_s.mxfp4=4e12 "
        "--formats 'int2..int8, mxfp4'",
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
    formats: Formats = None,
    points: Points = 16,
    measure: MeasureFront = False,
    decode: Decode = None,
    figure: Annotated[Path | None, typer.Option(help="Where to draw it (png or svg); default TASK-hardware.png.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Is INT2 worth it here? Varies keys of an accelerator's file and shows the front that each variant allows."""
    from .fronts import Request, run_explore

    run_explore(Request(task, metric, budget or [], formats, points, measure, decode, figure, seed, json), accelerator, vary or [])
