"""From names on the command line to a workbench."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hwdse.costmodels import cost_model, load_accelerator
from hwdse.tasks import load_task
from hwdse.workbench import Say, Workbench

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
    return Workbench(
        load_task(task),
        [load_accelerator(name) for name in dict.fromkeys(accelerators)],
        [cost_model(name) for name in cost_models],
        weights=weights,
        activations=activations,
        method=method,
        seed=seed,
        say=say,
    )
