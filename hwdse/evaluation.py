"""Scores of a network on a split, one per sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

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
