"""From names on the command line to a workbench."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from hwdse.costmodels import cost_model, load_accelerator
from hwdse.formats import LayerFormat
from hwdse.names import visible
from hwdse.reports.commands import COST_MODELS
from hwdse.storage import StorageError
from hwdse.tasks import load_task
from hwdse.workbench import Say, Workbench

from .show import err
from .trust import remember

# Below this many MACs per sample, handing work to threads costs more than the work; on a busy machine, 10 times more.
SMALL = 10_000_000


def make_bench(
    task: str,
    accelerators: Sequence[str] = (),
    *,
    cost_models: Iterable[str] = COST_MODELS,
    method: str = "fit",
    seed: int = 0,
    device: str = "cpu",
    formats: Iterable[LayerFormat] | None = None,
    pins: Mapping[str, LayerFormat] | None = None,
    decode: int | None = None,
    say: Say | None = None,
) -> Workbench:
    """Loads task, accelerators and cost models by name.

    Raises:
        UnknownName: a name that nobody provides. FileFormatError: an accelerator file with a mistake.
    """
    loaded = load_task(task)
    remember(task)  # who names a task need not be asked about it again
    bench = Workbench(
        loaded,
        [load_accelerator(name) for name in dict.fromkeys(accelerators)],
        [cost_model(name) for name in cost_models],
        formats=formats,
        pins=pins,
        method=method,
        seed=seed,
        device=device,
        decode=decode,
        say=say,
    )
    return prepared(bench)


def prepared(bench: Workbench) -> Workbench:
    """A workbench as the commands use it: notes on what it lacks said, threads as suit its size."""
    _note_cache(bench)
    if not bench.graph.data_flow and any(m.metric.name == "activations" for m in bench.cost_models):
        bench.cost_models = tuple(m for m in bench.cost_models if m.metric.name != "activations")
        note("the model could only be traced layer by layer, without the tensors between them: 'activations' (peak memory) is left out.")
    if bench.graph.macs < SMALL:
        torch.set_num_threads(1)
    return bench


def note(text: str) -> None:
    """Says what the user should know, and goes on."""
    err.print(visible(f"hwdse: note: {text}"), soft_wrap=True)


def _note_cache(bench: Workbench) -> None:
    """Where nothing can be kept, everything is made anew each time: right, but slow, so it is said."""
    if bench.cache is None:
        return
    try:
        bench.cache.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(bench.cache, os.W_OK) else "permission denied"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        note(f"nothing can be kept in {bench.cache} ({reason}); training and sensitivities are repeated each time.")
        bench.cache = None


def writable(path: Path) -> None:
    """Says before the work, not after it, that its result could not be written.

    Raises:
        StorageError: a folder, or below something that is no folder, or without permission.
    """
    reason = "it is a folder" if path.is_dir() else ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        reason = reason or ("" if os.access(path.parent, os.W_OK) else "permission denied")
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise StorageError(f"cannot write {path}: {reason}. Give a file in a folder that can be written.")
