"""Commands that make a run, and those that read one. Everything heavy is imported inside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Accelerators, Budgets, Decode, Formats, Json, Onnx, RunFolder, Storage, Trust, decimal, examples, whole_number

app = typer.Typer()


@app.command(
    epilog=examples(
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
    formats: Formats = None,
    allocator: Annotated[list[str] | None, typer.Option(help="Allocators to use; default all three.")] = None,
    trials: Annotated[
        int | None, typer.Option(parser=whole_number(1), metavar="INTEGER", help="Trials in all, baselines included.")
    ] = None,
    epochs: Annotated[list[int] | None, typer.Option(help="Fine-tuning epochs to choose from.")] = None,
    seed: Annotated[int | None, typer.Option(parser=whole_number(0, 2**32 - 1), metavar="INTEGER", help="Seed of everything.")] = None,
    decode: Decode = None,
    device: Annotated[str | None, typer.Option(help="Where to train and score: cpu, cuda, cuda:1.")] = None,
    workers: Annotated[
        int, typer.Option(parser=whole_number(0), metavar="INTEGER", help="Processes that run trials; 0 watches those started elsewhere.")
    ] = 1,
    engine: Annotated[str, typer.Option(help="Where they run: local, or ray (a Ray cluster: RAY_ADDRESS, or one made here).")] = "local",
    gpus: Annotated[
        float | None,
        typer.Option(
            parser=decimal(0), metavar="NUMBER", help="GPUs of one worker on a Ray cluster, such as 0.25; default: 1 with --device cuda."
        ),
    ] = None,
    keep_checkpoints: Annotated[
        str | None,
        typer.Option(metavar="front|all|none", help="front (default): of fronts, baselines and the best inside each budget; none: none."),
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
        "task": task, "accelerators": accelerator, "budgets": budget, "formats": formats, "allocators": allocator,
        "trials": trials, "epochs": epochs, "seed": seed, "decode": decode, "device": device,
        "keep_checkpoints": keep_checkpoints,
    }  # fmt: skip
    given = {key: value for key, value in values.items() if value is not None}
    run(file, given, output, report, json, workers, storage, study, engine, gpus)


@app.command(
    epilog=examples(
        "hwdse worker runs/demo",
        "HWDSE_STORAGE=postgresql://me@server/studies hwdse worker /shared/runs/demo --study demo",
        last="The password stands in PGPASSWORD or ~/.pgpass. Trained weights are shared through HWDSE_CACHE, checkpoints through RUN.",
    )
)
def worker(
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="The run folder; with --storage default runs/STUDY.")] = None,
    storage: Storage = None,
    study: Annotated[str | None, typer.Option(help="Name of the study on the server; default: the only one there.")] = None,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Takes part in a sweep: runs its trials until none is left. Start as many as you like, on as many machines; any may die."""
    from .worker import run as take_part

    take_part(run, storage, study, trust, json)


@app.command(
    epilog=examples("hwdse status runs/demo", "hwdse status postgresql://me@host/studies --study demo", "hwdse status runs/demo --json")
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


@app.command(epilog=examples("hwdse report runs/demo", "hwdse report runs/demo --figures pdf,svg --style paper"))
def report(
    run: RunFolder,
    figures: Annotated[str, typer.Option(metavar="FORMATS", help="Formats of figure files: pdf, png, svg, with commas; none.")] = "png,svg",
    style: Annotated[str, typer.Option(help="Style of figure files: page, paper (a column of 3.5 inches), slides.")] = "page",
    json: Json = False,
) -> None:
    """Writes report.html, the figures with their captions, and tables as CSV and LaTeX, from the run's records alone."""
    from .report import run as write

    write(run, figures, style, json)


@app.command(
    epilog=examples(
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
    minimum: Annotated[
        list[str] | None, typer.Option("--min", help='Least score, such as "accuracy = 97 %"; one that is better when lower has a --max.')
    ] = None,
    sure: Annotated[
        list[str] | None, typer.Option(help='Score that the confidence bound must keep, such as "accuracy >= 97 %" or "mse <= 0.1".')
    ] = None,
    confidence: Annotated[str | None, typer.Option(help="For --sure: one-sided, from the validation samples; default 95%.")] = None,
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
    trust: Trust = False,
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
    choose(run, wanted, output, export, onnx, trust, json)


@app.command("export", epilog=examples("hwdse export runs/demo 17 -o deployed", "hwdse export runs/demo 17 -o deployed --no-onnx"))
def export_(
    run: RunFolder,
    trial: Annotated[int, typer.Argument(parser=whole_number(), metavar="TRIAL", help="Its number.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    onnx: Onnx = True,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Hands a trial over: allocation, checkpoint, costs worked out again, and ONNX files (QDQ, QONNX) that compute what PyTorch does."""
    from .export import run as hand_over

    hand_over(run, trial, output, onnx, trust, json)


@app.command(epilog=examples("hwdse explain runs/demo 10", "hwdse explain runs/demo 10 --layer block1.conv1"))
def explain(
    run: RunFolder,
    trial: Annotated[int, typer.Argument(parser=whole_number(), metavar="TRIAL", help="Its number.")],
    layer: Annotated[str | None, typer.Option(help="One layer, with its widths one step up and down.")] = None,
    json: Json = False,
) -> None:
    """Why these bits: what each layer is expected to lose and costs, and what one bit more or less would change."""
    from .explain import run_explain

    run_explain(run, trial, layer, json)


@app.command(epilog=examples("hwdse repair runs/demo"))
def repair(run: RunFolder, json: Json = False) -> None:
    """Looks at every file of a run, makes again what the study and the record still know, and says what is left to do."""
    from .repair import run as mend

    mend(run, json)


@app.command(epilog=examples("hwdse diff runs/one runs/two"))
def diff(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="A run folder.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another.")],
    json: Json = False,
) -> None:
    """Two runs side by side: hypervolume of their fronts against one reference point, and who is better at how many costs."""
    from .explain import run_diff

    run_diff(first, second, json)
