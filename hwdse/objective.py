"""What a training step minimises: the task's loss, in the recipe's precision, with an optional teacher."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .contract import loss_of
from .errors import TaskError, UsageError
from .inputs import run
from .task import Recipe, Task

Batch = tuple[tuple[Tensor, ...], Any]


class Objective:
    """``(1 - d) loss + d soft cross entropy against the teacher`` of a batch, d the recipe's ``distillation``.

    Hinton et al., "Distilling the Knowledge in a Neural Network", arXiv 1503.02531, at temperature 1; used by ADQ, arXiv 2510.19760, which
    leaves the weights of the two terms open (ours: the recipe's). A task whose output is not one tensor of logits, classes last or
    in dimension 1 of images, gives its own ``distillation(output, teacher_output) -> scalar``.

    Args:
        teacher: a network of the same inputs and outputs, in evaluation mode; needed where ``recipe.distillation`` is above 0.

    Raises:
        UsageError: distillation without a teacher.
    """

    def __init__(self, network: nn.Module, task: Task, recipe: Recipe, teacher: nn.Module | None = None) -> None:
        if recipe.distillation and teacher is None:
            raise UsageError(f"the recipe asks for distillation ({recipe.distillation:g}), but no teacher network was given.")
        self.network, self.task, self.recipe = network, task, recipe
        self.teacher = teacher.eval() if teacher is not None and recipe.distillation else None
        self._taught: tuple[Any, Any] = (None, None)  # the last batch's target and the teacher's output: probes ask again

    def __call__(self, batch: Batch) -> Tensor:
        """Scalar, in nats where the task's loss is a cross entropy."""
        inputs, target = batch
        half = self.recipe.precision == "bfloat16"
        with torch.autocast(inputs[0].device.type, torch.bfloat16, enabled=half):
            output = run(self.network, inputs)
        output = _float(output) if half else output
        loss = loss_of(self.task, output, target, gradient=torch.is_grad_enabled())
        if self.teacher is None:
            return loss
        d = self.recipe.distillation
        return (1 - d) * loss + d * self._soft(output, self._teaching(batch, half))

    def _teaching(self, batch: Batch, half: bool) -> Any:
        inputs, _ = batch
        if self._taught[0] is not batch:
            with torch.no_grad(), torch.autocast(inputs[0].device.type, torch.bfloat16, enabled=half):
                assert self.teacher is not None  # asked for only where there is one
                self._taught = batch, _float(run(self.teacher, inputs))
        return self._taught[1]

    def _soft(self, output: Any, teaching: Any) -> Tensor:
        own = getattr(self.task, "distillation", None)
        if own is not None:
            loss: Tensor = own(output, teaching)
            return loss
        tensors = isinstance(output, Tensor) and isinstance(teaching, Tensor)
        if not (tensors and output.shape == teaching.shape and output.ndim >= 2 and min(output.shape[1], output.shape[-1]) > 1):
            raise TaskError(
                f"task {self.task.name}: a network and its teacher must give logits of two classes or more, alike in shape, got "
                f"{_shape(output)} and {_shape(teaching)}. Give the task distillation(output, teacher_output), or take another teacher."
            )
        classes = 1 if output.ndim == 4 else -1
        return -(F.softmax(teaching, classes) * F.log_softmax(output, classes)).sum(classes).mean()


def _float(output: Any) -> Any:
    """Losses and scores are worked out in float32."""
    return output.float() if isinstance(output, Tensor) and output.dtype == torch.bfloat16 else output


def _shape(output: Any) -> str:
    return str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__
