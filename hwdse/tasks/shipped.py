"""Trained FP32 weights that come with hwdse, so that every machine starts from one network: training ends elsewhere on another processor.

``benchmarks/shipped_weights.py --write`` makes the files again, and prints what :data:`SHA256` must then hold.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import TaskError
from ..storage import read_checkpoint
from ..task import Recipe, Task, recipes_of

FOLDER = Path(__file__).parent
SCHEMA = "hwdse.weights/1"
SEED = 0
SHA256 = {
    "digits": "c48c7931c6b3ce7bd645cd48f9a98e8bd3373d9c03f818567b2d11552887e67a",
    "digits_vit": "8ca46c5f8359f9cb6ec3165f222d30b4cfb714bf48802592ddb31bdf5d8f2134",
}


def shipped_weights(task: Task, of: type, seed: int) -> Mapping[str, Tensor] | None:
    """The state dict that a built-in task was shipped with.

    Args:
        task: asks for it.
        of: the class whose network was trained.
        seed: of initialisation and training.

    Returns:
        None where training would not make this network: for a subclass of ``of``, an instance with settings of its own, another
        recipe or another seed.

    Raises:
        TaskError: the file is absent or damaged.
    """
    own = vars(task).keys() - {"_splits"}  # the data, once they are read
    if type(task) is not of or own or seed != SEED:
        return None
    path = FOLDER / f"{task.name}.pt"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TaskError(
            f"task {task.name}: cannot read its trained weights {path}: {error.strerror or error}. Install hwdse again."
        ) from None
    if hashlib.sha256(content).hexdigest() != SHA256[task.name]:
        raise TaskError(
            f"task {task.name}: its trained weights {path} are damaged: another SHA-256 than they were shipped with. Install hwdse again."
        )
    kept = read_checkpoint(content, path)
    same = _plain(recipes_of(task).scratch).items() >= kept["recipe"].items()  # a recipe may have learnt more settings since
    return dict(kept["state"]) if same else None


def weights_file(task: Task, state: Mapping[str, Tensor]) -> bytes:
    """What :func:`shipped_weights` reads, of a network that the task's recipe has trained."""
    recipe = _plain(recipes_of(task).scratch)
    buffer = io.BytesIO()
    torch.save({"schema": SCHEMA, "seed": SEED, "recipe": recipe, "torch": str(torch.__version__), "state": dict(state)}, buffer)
    return buffer.getvalue()


def _plain(recipe: Recipe) -> dict[str, Any]:
    return asdict(recipe)
