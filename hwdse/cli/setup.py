"""From names on the command line to a workbench."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from hwdse.costmodels import cost_model, load_accelerator
from hwdse.tasks import load_task
from hwdse.workbench import Say, Workbench

# Below this many MACs per sample, handing work to threads costs more than the work; on a busy machine, 10 times more.
SMALL = 10_000_000
COST_MODELS = ("bitops", "weights", "activations", "average_bits")


def make_bench(
    task: str,
    accelerators: Sequence[str] = (),
    *,
    cost_models: Iterable[str] = COST_MODELS,
    method: str = "fit",
    seed: int = 0,
    weights: Iterable[int] = range(2, 9),
    activations: Iterable[int] = range(2, 9),
    say: Say | None = None,
) -> Workbench:
    """Loads task, accelerators and cost models by name.

    Raises:
        UnknownName: a name that nobody provides. FileFormatError: an accelerator file with a mistake.
    """
    bench = Workbench(
        load_task(task),
        [load_accelerator(name) for name in dict.fromkeys(accelerators)],
        [cost_model(name) for name in cost_models],
        weights=weights,
        activations=activations,
        method=method,
        seed=seed,
        say=say,
    )
    if bench.graph.macs < SMALL:
        torch.set_num_threads(1)
    return bench
