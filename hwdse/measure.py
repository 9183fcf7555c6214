"""Quantise, train, score: how a network comes to its measured score, for every command, sweep and benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from .evaluation import Evaluation, evaluate
from .problem import Problem
from .quantized import QuantizedModel
from .quantizers import Scheme
from .task import Recipe
from .training import Allocator, Progress, Trained, train_quantized
from .workbench import Workbench


@dataclass(frozen=True, eq=False)
class Measurement:
    """A network in the formats that an allocator chose.

    Attributes:
        model: the network with its quantisers.
        trained: the solution, and how it was come to.
        score: on the validation split; None where it was not taken.
    """

    model: QuantizedModel
    trained: Trained
    score: Evaluation | None


def measure(
    bench: Workbench,
    problem: Problem,
    allocator: Allocator,
    scheme: Scheme,
    recipe: Recipe,
    *,
    seed: int,
    score: bool = True,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Measurement:
    """Quantises the FP32 network, lets an allocator choose while it trains, and scores what came of it.

    Args:
        bench: the task with its FP32 network.
        problem: choices, losses, costs and limits, over the formats of ``scheme``.
        allocator: who chooses, or holds, the formats.
        scheme: the quantisers.
        recipe: epochs (0: post-training), rounding, distillation (from the FP32 network).
        seed: of quantisers and of the order of the data.
        score: whether the validation split is scored.
        progress: told (steps done, steps in all).
        checkpoint: file from which an interrupted training goes on.

    Raises:
        InfeasibleBudget: nothing is inside the budget. TrainingDiverged: the loss is not finite.
    """
    torch.manual_seed(seed)
    model = bench.quantized(scheme)
    teacher = bench.network() if recipe.distillation else None
    trained = train_quantized(
        model, bench.task, problem, allocator, recipe, seed=seed, progress=progress, checkpoint=checkpoint, teacher=teacher
    )
    return Measurement(model, trained, evaluate(model.network, bench.task, "validation") if score else None)
