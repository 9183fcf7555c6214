"""The steps of a training: batches in order, gradients, optimisers with their schedule, and what a checkpoint needs of them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from .contract import differentiate
from .errors import TaskError, TrainingDiverged
from .objective import Batch, Objective
from .task import Recipe, Split, Task, batches_of, device_of, length_of

RandomState = dict[str, Any]


def random_state() -> RandomState:
    """Random-number state of the CPU and of every GPU."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def set_random_state(state: RandomState) -> None:
    """The inverse of :func:`random_state`."""
    torch.set_rng_state(state["cpu"])
    for device, of_device in enumerate(state["cuda"][: torch.cuda.device_count()]):  # it may go on where there are fewer
        torch.cuda.set_rng_state(of_device, device)


def everyones_random_state() -> RandomState:
    """Random-number state of Python and numpy as well, which augmentations may draw from; plain values and tensors."""
    numpys: Any = np.random.get_state(legacy=True)
    return {**random_state(), "python": random.getstate(), "numpy": (numpys[0], numpys[1].tolist(), *numpys[2:])}


def set_everyones_random_state(state: RandomState) -> None:
    """The inverse of :func:`everyones_random_state`."""
    set_random_state(state)
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])


class Loop:
    """Steps of one training.

    Args:
        objective: what is minimised.
        split, seed: where the batches come from.
        parameters: (the network's, the quantisers').

    Attributes:
        done, total: steps. losses: of the steps done, means over their batches.
    """

    def __init__(self, objective: Objective, split: Split, seed: int, parameters: tuple[list[nn.Parameter], list[nn.Parameter]]) -> None:
        self.objective, self.split, self.seed = objective, split, seed
        self.task, self.recipe = objective.task, objective.recipe
        self.total = self.recipe.epochs * self.per_epoch if self.recipe.epochs else 0
        self.done, self.losses = 0, list[float]()
        self._opening: RandomState | None = None  # random state in which the running epoch began
        self._resumed: RandomState | None = None  # and where it was interrupted
        self._parameters = [p for group in parameters for p in group]
        self.optimizers = _optimizers(*parameters, self.recipe, self.total) if self.recipe.epochs else []

    @cached_property
    def per_epoch(self) -> int:
        """Steps of one pass."""
        return math.ceil(_count(self.task, self.split, self.seed) / self.recipe.accumulate)

    def steps(self) -> Iterator[list[Batch]]:
        """The batches of each step still to be done.

        An epoch's order depends on the seed and its number, and on the random state in which the epoch began, if the task draws from it:
        an interrupted epoch is opened in that state again, its batches passed over, and the state of the interruption put back.
        """
        while (before := self.done) < self.total:
            epoch, skipped = divmod(self.done, self.per_epoch)
            group: list[Batch] = []
            device = device_of(self.objective.network)
            if skipped and self._opening is not None:
                set_everyones_random_state(self._opening)
            elif not skipped:
                self._opening = everyones_random_state()
            for number, batch in enumerate(batches_of(self.task, self.split, self.seed * 1000 + epoch, device)):
                if number < skipped * self.recipe.accumulate:
                    if number == skipped * self.recipe.accumulate - 1 and self._resumed is not None:
                        set_everyones_random_state(self._resumed)
                        self._resumed = None
                    continue
                group.append(batch)
                if len(group) == self.recipe.accumulate:
                    yield group
                    group = []
                    if self.done >= self.total:
                        return
            if group:
                yield group
            if self.done == before:
                raise TaskError(
                    f"task {self.task.name}: batches('{self.split}') gave fewer batches than the {self.per_epoch * self.recipe.accumulate} "
                    "that its length, or its first pass, promised; every pass must give the same number."
                )

    def backward(self, group: list[Batch]) -> list[RandomState]:
        """Forward and backward of a step's batches; the random states before each, for probes.

        Raises:
            TrainingDiverged: a loss or a gradient that is not finite.
        """
        for parameter in self._parameters:
            parameter.grad = None
        states, total = [], 0.0
        for batch in group:
            states.append(random_state())
            loss = self.objective(batch) / len(group)
            total += float(loss.detach())
            if not math.isfinite(total):
                raise TrainingDiverged(f"the loss is {total} at step {self.done}; lower the learning rate, or look at the data.")
            differentiate(self.task, loss)
        self.losses.append(total)
        return states

    def update(self) -> None:
        """One step of every optimiser and schedule.

        Raises:
            TrainingDiverged: a gradient that is not finite; it names the parameter.
        """
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if self.optimizers and gradients and not math.isfinite(float(torch.nn.utils.get_total_norm(gradients))):
            named = [n for n, p in self.objective.network.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()]
            where = f"of '{named[0].replace('.parametrizations', '').replace('.original', '')}'" if named else "of a quantiser"
            raise TrainingDiverged(f"the gradient {where} is not finite at step {self.done}; lower the learning rate.")
        for optimizer, schedule in self.optimizers:
            optimizer.step()
            schedule.step()
        self.done += 1

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "done": self.done,
            "losses": self.losses,
            "random": everyones_random_state(),
            "opening": self._opening,
            "optimizers": [(optimizer.state_dict(), schedule.last_epoch) for optimizer, schedule in self.optimizers],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        self.done, self.losses = state["done"], list(state["losses"])
        for (optimizer, schedule), (saved, step) in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
            schedule.last_epoch = step
        self._opening, self._resumed = state["opening"], state["random"]
        set_everyones_random_state(state["random"])


def _optimizers(own: list[nn.Parameter], quantizers: list[nn.Parameter], recipe: Recipe, total: int) -> list[tuple[Any, Any]]:
    """(optimiser, schedule) of the network and of the quantisers: they are separate, with cosine to zero after a warm-up."""
    trained = [p for p in own if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    made: list[torch.optim.Optimizer] = [torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)]
    if quantizers:
        made.append(torch.optim.Adam(quantizers, lr=recipe.quantizer_lr))
    rise = max(1, round(recipe.warmup * total))

    def shape(step: int) -> float:
        return min(1.0, (step + 1) / rise) * 0.5 * (1 + math.cos(math.pi * min(step / max(total, 1), 1.0)))

    return [(o, torch.optim.lr_scheduler.LambdaLR(o, shape)) for o in made]


def _count(task: Task, split: Split, seed: int) -> int:
    """Batches of one pass."""
    known = length_of(task.batches(split, seed))
    return known or sum(1 for _ in batches_of(task, split, seed))
