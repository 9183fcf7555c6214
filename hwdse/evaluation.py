"""Scores of a network on a split, one per sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .costs import FloatArray
from .errors import TaskError, TrainingDiverged
from .intervals import Interval, interval_of
from .quantized import evaluating
from .task import Split, Task, batches_of, device_of


@dataclass(frozen=True)
class Evaluation:
    """Scores of one split, one per sample."""

    scores: FloatArray

    @property
    def mean(self) -> float:
        """The score."""
        return float(self.scores.mean())

    @property
    def samples(self) -> int:
        """How many samples stand behind it."""
        return len(self.scores)

    @property
    def interval(self) -> Interval | None:
        """Its 95 % interval, from the spread over samples."""
        return interval_of(self.scores)


def evaluate(network: nn.Module, task: Task, split: Split) -> Evaluation:
    """Scores a network on a split, in evaluation mode, where its parameters are.

    Raises:
        TaskError: ``scores`` does not give one finite number per sample.
    """
    found: list[Tensor] = []
    with torch.inference_mode(), evaluating(network):
        for inputs, target in batches_of(task, split, device=device_of(network)):
            scores = task.scores(network(*inputs), target)
            if not isinstance(scores, Tensor) or scores.ndim != 1:
                raise TaskError(f"task {task.name}: scores() must return one number per sample, a tensor of one dimension.")
            found.append(scores.float().cpu())
    values = torch.cat(found).numpy().astype(np.float64)
    if not np.isfinite(values).all():
        raise TrainingDiverged(f"the score on the {split} split is not finite.")
    return Evaluation(values)


ENOUGH = 30, 512  # samples: with fewer nothing is said, and with so many no more are looked at


def evaluate_exchanged(network: nn.Module, task: Task) -> tuple[Evaluation, Evaluation] | None:
    """Scores on samples of the validation split against their own targets, and against those half a batch away.

    A network whose outputs say nothing of its inputs scores the same either way, whatever the score is: no chance level has to be known.
    None where too few samples lie in batches of different targets.
    """
    own: list[Tensor] = []
    exchanged: list[Tensor] = []
    with torch.inference_mode(), evaluating(network):
        for inputs, target in batches_of(task, "validation", device=device_of(network)):
            other = pytree.tree_map(lambda t: t.roll(len(t) // 2, 0) if isinstance(t, Tensor) and t.ndim else t, target)
            if _differ(target, other):
                output = network(*inputs)
                own.append(task.scores(output, target).float().cpu())
                exchanged.append(task.scores(output, other).float().cpu())
            if sum(map(len, own)) >= ENOUGH[1]:
                break
    if sum(map(len, own)) < ENOUGH[0]:
        return None
    first, second = (Evaluation(torch.cat(part).numpy().astype(np.float64)) for part in (own, exchanged))
    return first, second


def _differ(one: Any, other: Any) -> bool:
    pairs = zip(pytree.tree_leaves(one), pytree.tree_leaves(other), strict=True)
    return any(isinstance(a, Tensor) and not torch.equal(a, b) for a, b in pairs)
