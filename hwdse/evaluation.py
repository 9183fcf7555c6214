"""Scores of a network on a split, one per sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .contract import scores_of
from .costs import FloatArray
from .errors import TrainingDiverged
from .inputs import run
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
    with torch.no_grad(), evaluating(network):  # no inference mode: what a task or a model keeps of it could not be trained on
        for inputs, target in batches_of(task, split, device=device_of(network)):
            found.append(scores_of(task, run(network, inputs), inputs, target))
    values = torch.cat(found).numpy().astype(np.float64)
    if not np.isfinite(values).all():
        raise TrainingDiverged(f"the score on the {split} split is not finite.")
    return Evaluation(values)


ENOUGH = 30, 512  # samples: with fewer nothing is said, and with so many no more are looked at


def evaluate_exchanged(network: nn.Module, task: Task) -> tuple[Evaluation, Evaluation] | None:
    """Scores of samples of the validation split by their own outputs, and by those of other samples of their batch.

    A network whose outputs say nothing of its inputs scores the same either way, whatever the score is: no chance level has to be known.
    Outputs change places, since targets may be of any form. None where that cannot be done for enough samples: batches of one, outputs
    that are not one for each sample, scores that fail on them.
    """
    own: list[Tensor] = []
    exchanged: list[Tensor] = []
    order = torch.Generator().manual_seed(0)
    with torch.no_grad(), evaluating(network):
        for inputs, target in batches_of(task, "validation", device=device_of(network)):
            output = run(network, inputs)
            scores = scores_of(task, output, inputs, target)
            places = _elsewhere(len(scores), order)
            leaves = [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]
            if len(scores) > 1 and leaves and all(leaf.ndim and len(leaf) == len(scores) for leaf in leaves):
                other = pytree.tree_map(lambda leaf, at=places: leaf[at.to(leaf.device)] if isinstance(leaf, Tensor) else leaf, output)
                try:
                    exchanged.append(task.scores(other, target).float().cpu())
                except Exception:  # the task's own code: it may hold outputs against what only they fit
                    return None
                own.append(scores)
            if sum(map(len, own)) >= ENOUGH[1]:
                break
    if sum(map(len, own)) < ENOUGH[0]:
        return None
    first, second = (Evaluation(torch.cat(part).numpy().astype(np.float64)) for part in (own, exchanged))
    return (first, second) if np.isfinite(second.scores).all() else None


def _elsewhere(count: int, order: torch.Generator) -> Tensor:
    """(count,) for each sample another one: round a random circle, so that no order of a batch can hide behind it."""
    circle = torch.randperm(count, generator=order)
    places = torch.empty_like(circle)
    places[circle] = circle.roll(1)
    return places
