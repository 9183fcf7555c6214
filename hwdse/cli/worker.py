"""``hwdse worker``: takes part in a sweep that ``hwdse sweep`` has made; and the team of workers that ``hwdse sweep --workers`` starts."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hwdse.errors import UnknownName, UsageError
from hwdse.sweeps import Place, Progress, SweepConfig, Team, run_worker
from hwdse.sweeps.finding import find_study
from hwdse.sweeps.knobs import Plan
from hwdse.sweeps.workers import environment, here
from hwdse.workbench import Say, Workbench

from .setup import make_bench, note
from .show import err, print_json, seconds, telling
from .trust import allow

ENGINES = ("local", "ray")
STORAGE = "HWDSE_STORAGE"  # the URL by environment: an argument would show its password to everyone who lists processes


def run(folder: Path | None, storage: str | None, study: str | None, trust: bool, json: bool) -> None:
    """Runs it."""
    if folder is None and storage is None:
        raise UsageError("give the run folder of a sweep, or the URL of its server: hwdse worker runs/demo, or hwdse worker --storage URL")
    if storage is None and folder is not None and not (folder / "study.db").exists():
        raise UsageError(f"there is no sweep in {folder}; hwdse sweep -o {folder} makes one, and workers take part in it.")
    place, values = find_study(folder, storage, study)
    config = SweepConfig.make(place, **values)
    allow(config.task, place.folder, trust)
    began = time.perf_counter()
    with telling(json) as say:
        bench = bench_of(config, say)
        count = run_worker(bench, config, place, _lines(), note)
    if json:
        print_json({"run": str(place.folder), "study": place.study, "trials": count, "seconds": time.perf_counter() - began})
    else:
        err.print(f"{count} trials run here, {seconds(time.perf_counter() - began)}; nothing is left to do.", soft_wrap=True)


def bench_of(config: SweepConfig, say: Say) -> Workbench:
    """The workbench of a sweep, with what takes time done: the FP32 network trained, its sensitivities taken."""
    bench = make_bench(
        config.task, config.accelerators, cost_models=config.cost_models, method=config.sensitivity, seed=config.seed,
        formats=config.options, device=config.device, decode=config.decode, say=say,
    )  # fmt: skip
    Plan.of(config, bench)  # a budget that nobody can meet is said before anything is trained
    bench.reference  # noqa: B018  # trains the FP32 network now, under its own progress line
    bench.loss()
    return bench


def check_engine(engine: str, gpus: float | None) -> None:
    """Before anything takes time.

    Raises:
        UsageError: no such engine, one that is not installed, or a share of GPUs without Ray.
    """
    if engine not in ENGINES:
        raise UnknownName("engine", engine, ENGINES)
    if gpus is not None and engine != "ray":
        raise UsageError("--gpus is a worker's share of the GPUs of a Ray cluster: give --engine ray too. Here workers take them by turns.")
    if engine == "ray" and importlib.util.find_spec("ray") is None:
        raise UsageError("--engine ray needs Ray: pip install 'hwdse[ray]'.")


def make_team(place: Place, device: str, count: int, bench: Workbench, engine: str = "local", gpus: float | None = None) -> Team:
    """``count`` workers, which share what the workbench has made.

    Args:
        engine: ``local``: on this machine, sharing its cores and its GPUs by turns. ``ray``: where a Ray cluster has room.
        gpus: of one worker, for Ray; None: one where ``device`` is a GPU.

    Raises:
        UsageError: nothing can be shared, since the cache cannot be written; a cluster that cannot run them.
    """
    if count and bench.cache is None:
        raise UsageError("workers share the trained weights through the cache, which cannot be written; set HWDSE_CACHE to a folder.")
    command = [
        sys.executable,
        "-P",
        "-c",
        "from hwdse.cli import main; main()",
        "worker",
        str(place.folder),
        "--study",
        place.study,
        "--trust",
    ]
    storage = {STORAGE: place.url} if place.url is not None else {}
    if engine == "ray":
        from hwdse.sweeps.on_ray import on_ray

        needs = (1.0 if device.startswith("cuda") else 0.0) if gpus is None else gpus
        return Team(count, on_ray(command, storage, needs, shared=place.url is not None, say=note), place.folder / "logs", note)
    environments = [environment(number, count, _gpus() if device == "cuda" else ()) for number in range(count)]
    for one in environments:
        one.pop(STORAGE, None)
        one.update(storage)
    return Team(count, here(command, environments), place.folder / "logs", note)


def _gpus() -> list[str]:
    import torch

    stated = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return [one.strip() for one in stated.split(",") if one.strip()] or [str(n) for n in range(torch.cuda.device_count())]


def _lines() -> Callable[[Progress], None]:
    """One line per trial, which is what a log wants."""
    last = [""]

    def line(p: Progress) -> None:
        if p.what != last[0]:
            last[0] = p.what
            failed = f", {p.failed} failed" if p.failed else ""
            err.print(f"{p.trials_done}/{p.trials} done{failed}, {p.running} running: {p.what}", soft_wrap=True)

    return line
