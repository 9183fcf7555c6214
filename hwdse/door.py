"""The door: one batch of each split through the model, its loss and its score, before anything long runs."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .contract import example_of, loss_of, scores_of
from .errors import TaskError
from .inputs import Named, run
from .quantized import evaluating
from .soundness import unlikely
from .storage import bytes_of
from .task import SPLITS, Split, Task, batches_of, calling, device_of, moved

Batch = tuple[tuple[Tensor, ...], Any]


def at_the_door(task: Task, network: nn.Module, device: torch.device, *, trained: bool) -> tuple[str, ...]:
    """Looks at the data, the loss and the scores of a task, with one batch of each split.

    Args:
        task: checked by :func:`~hwdse.task.check_task`.
        network: its model, which stays as it is. device: where it will run.
        trained: whether it is trained already; scores and losses of untrained ones need not be finite in evaluation mode.

    Returns:
        What must be said of results, a sentence each without its full stop.

    Raises:
        TaskError: what the task owes, what was got, and what to do.
    """
    first = {split: _first(task, split) for split in SPLITS}
    notes = (*_example_fits(task, first["calibration"][0]), *_shuffled(task, first["train"]))
    network = copy.deepcopy(network).to(device)
    _learnable(task, network, first["calibration" if trained else "train"], trained)
    _scored(task, network, first["validation"], trained)
    return notes


def _first(task: Task, split: Split) -> Batch:
    """The first batch of a pass, once another pass has begun with the same."""
    with calling(task, f"batches('{split}')"):
        passes = task.batches(split, 0), task.batches(split, 0)
    if passes[0] is passes[1] and hasattr(passes[0], "__next__"):
        raise TaskError(
            f"task {task.name}: batches('{split}') must start a new pass at each call; it gives one iterator every time, which is used up "
            "by the first pass."
        )
    one = next(iter(batches_of(task, split)))
    try:
        two = next(iter(batches_of(task, split)))
    except TaskError:
        raise TaskError(
            f"task {task.name}: batches('{split}') must start a new pass at each call; the second call yields nothing."
        ) from None
    if split in ("validation", "test") and not _same(one, two):
        raise TaskError(
            f"task {task.name}: batches('{split}') must give the same samples in the same order at each call, as scores of networks are "
            "compared sample by sample; two calls began with different batches. Do not shuffle, and draw nothing at random there."
        )
    return one


def _same(one: Batch, two: Batch) -> bool:
    tensors = [[x for x in pytree.tree_leaves(batch) if isinstance(x, Tensor)] for batch in (one, two)]
    return len(tensors[0]) == len(tensors[1]) and all(
        a.shape == b.shape and a.dtype == b.dtype and bytes_of(a) == bytes_of(b) for a, b in zip(*tensors, strict=True)
    )


def _shuffled(task: Task, first: Batch) -> tuple[str, ...]:
    """A training split whose order is the same for every seed."""
    batches = iter(batches_of(task, "train", 1))
    if _same(first, next(batches)) and next(batches, None) is not None:
        return ("batches('train') begins with the same batch for every seed: epochs do not differ in their order",)
    return ()


def _example_fits(task: Task, inputs: tuple[Tensor, ...]) -> tuple[str, ...]:
    """Costs are those of the example inputs, scores those of the data: they must be of one kind.

    Raises:
        TaskError: another number of inputs, other names, another number of dimensions, or whole numbers against fractions.
    """
    example = example_of(task)
    names = [x.names if isinstance(x, Named) else () for x in (example, inputs)]
    if len(example) != len(inputs) or sorted(names[0]) != sorted(names[1]):
        given = [f"{len(x)} ({', '.join(n)})" if n else str(len(x)) for x, n in zip((example, inputs), names, strict=True)]
        raise TaskError(f"task {task.name}: example_inputs() gives {given[0]} inputs, batches() {given[1]}; they must be the same.")
    pairs = list(zip(example, inputs, strict=True))
    if names[0]:
        theirs = dict(zip(names[1], inputs, strict=True))
        pairs = [(x, theirs[name]) for name, x in zip(names[0], example, strict=True)]
    notes = []
    for number, (x, y) in enumerate(pairs):
        if not isinstance(x, Tensor):
            continue
        which = f"input '{names[0][number]}'" if names[0] else f"input {number + 1}" if len(pairs) > 1 else "the input"
        if x.ndim != y.ndim or (x.is_floating_point() != y.is_floating_point()):
            raise TaskError(
                f"task {task.name}: {which} of example_inputs() is {_form(x)}, that of batches() {_form(y)}; costs would be those of "
                "another network than is scored. Give example_inputs() the form of the data."
            )
        if x.shape[1:] != y.shape[1:] or x.dtype != y.dtype:
            notes.append(
                f"example_inputs() gives {which} as {_form(x)}, which costs are counted for; the data give {_form(y)}, which scores are "
                "measured on"
            )
    return tuple(notes)


def _form(x: Tensor) -> str:
    return f"{str(x.dtype).removeprefix('torch.')}{list(x.shape)}"


def _learnable(task: Task, network: nn.Module, batch: Batch, trained: bool) -> None:
    """The loss of one batch. Whether it has a gradient is looked at where one is taken.

    Raises:
        TaskError: no single finite number.
    """
    inputs, target = _there(batch, network)
    network.train(not trained)
    with torch.no_grad():
        output = run(network, inputs)
        if output is None:
            raise TaskError(f"task {task.name}: the forward pass of the model returns nothing.")
        loss = loss_of(task, output, target)
    if not torch.isfinite(loss):
        where = "" if all(bool(torch.isfinite(x).all()) for x in inputs) else " The batch's inputs are not finite themselves."
        raise TaskError(
            f"task {task.name}: the loss of the first {'calibration' if trained else 'training'} batch is {float(loss.detach())}; look at "
            f"batches() and loss().{where}"
        )


def _scored(task: Task, network: nn.Module, batch: Batch, trained: bool) -> None:
    """The scores of one batch.

    Raises:
        TaskError: not one finite number for each sample.
    """
    inputs, target = _there(batch, network)
    with torch.no_grad(), evaluating(network):  # no inference mode: what a task or a model keeps of it could not be trained on
        output = run(network, inputs)
        scores = scores_of(task, output, inputs, target)
        floats = [x for x in pytree.tree_leaves(output) if isinstance(x, Tensor) and x.is_floating_point()]
        sound = trained or all(bool(torch.isfinite(x).all()) for x in floats)
    if sound and not bool(torch.isfinite(scores).all()):
        raise TaskError(f"task {task.name}: scores() must be finite; in the first validation batch one is {_broken(scores)}.")
    said = unlikely(task.metric, float(scores.double().mean())) if sound else ""
    if said:
        raise TaskError(f"task {task.name}: {said}. Divide the scores by 100, or give the metric another unit.")


def _broken(scores: Tensor) -> float:
    return float(scores[~torch.isfinite(scores)][0])


def _there(batch: Batch, network: nn.Module) -> Batch:
    device = device_of(network)
    return moved(batch[0], device), moved(batch[1], device)
