"""Training loops: the FP32 network, and a network whose widths an allocator may change while it trains.

Three regimes, one protocol. Post-training is ``start`` then ``finish`` (with ``observe`` on calibration batches, no weight update, for
allocators that ask for steps); fine-tuning and from-scratch training add ``observe`` after each backward pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from . import __version__
from .bias_correction import correct_biases
from .checkpoint import Checkpoint
from .formats import Allocation, LayerFormat
from .loop import Loop, RandomState, random_state, set_random_state
from .norms import frozen_statistics, reestimate_norms, untracked
from .objective import Batch, Objective
from .problem import Problem, Solution
from .quantized import QuantizedModel
from .quantizers import Scheme
from .rounding import round_adaptively
from .storage import bytes_of, key_of
from .task import Recipe, Task, batches_of, device_of

Progress = Callable[[int, int], None]  # (steps done, steps in all)


@dataclass(frozen=True)
class Step:
    """What an allocator sees after each backward pass, before the weights move.

    Attributes:
        index, total: this step and the number of steps in all.
        loss: of this mini-batch. batch_size: its samples.
        model: gradients are in its parameters.
        probe: loss of the *same* mini-batch, with the same dropout masks, under another allocation: no gradient, and batch-norm running
            statistics are left alone.
    """

    index: int
    total: int
    loss: float
    batch_size: int
    model: QuantizedModel
    probe: Callable[[Mapping[str, LayerFormat]], float]


class Allocator(Protocol):
    """Chooses widths. Sees a :class:`Problem`, never a cost model.

    Attributes:
        scheme: the quantisers it was published with; any other may be used.
        post_training_steps: calibration steps it wants where no weights are trained; 0 for most.
    """

    scheme: Scheme
    post_training_steps: int

    def start(self, model: QuantizedModel, problem: Problem) -> Allocation:
        """The first allocation."""
        ...

    def observe(self, step: Step) -> Allocation | None:
        """Another allocation, or None to keep the present one."""
        ...

    def finish(self) -> Solution:
        """The final answer, inside the budget."""
        ...

    def state(self) -> dict[str, Any]:
        """What :meth:`observe` has gathered, in plain values and tensors, for checkpoints."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state`, after :meth:`start`."""
        ...


@dataclass(frozen=True)
class Trained:
    """A finished quantised training: the solution, and each allocation's costs by (step, costs) as training went.

    Attributes:
        losses: of every step, a mean over its batches.
        notes: what must be said of the result.
        earlier: wall seconds that were spent on it before an interruption.
    """

    solution: Solution
    trace: tuple[tuple[int, Mapping[str, float]], ...] = field(default=())
    losses: tuple[float, ...] = field(default=())
    notes: tuple[str, ...] = ()
    earlier: float = 0.0


def train_float(
    network: nn.Module, task: Task, recipe: Recipe, seed: int, progress: Progress | None = None, checkpoint: Path | None = None
) -> None:
    """Trains the FP32 network in place, without a teacher.

    Args:
        checkpoint: as in :func:`train_quantized`.

    Raises:
        TrainingDiverged: a loss or a gradient that is not finite. FileFormatError: a checkpoint of another training.
    """
    start = key_of(*(bytes_of(t) for t in network.parameters()))
    kept = Checkpoint(checkpoint, {"hwdse": __version__, "start": start, "recipe": repr(recipe), "seed": seed})
    loop = Loop(Objective(network, task, recipe), "train", seed, (list(network.parameters()), []))
    saved = kept.load()
    if saved is not None:
        network.load_state_dict(saved["network"])
        loop.load_state(saved["loop"])
    network.train()
    for group in loop.steps():
        loop.backward(group)
        loop.update()
        if progress:
            progress(loop.done, loop.total)
        if kept.due:
            kept.save({"network": network.state_dict(), "loop": loop.state()})
    network.eval()


def train_quantized(
    model: QuantizedModel,
    task: Task,
    problem: Problem,
    allocator: Allocator,
    recipe: Recipe,
    *,
    seed: int,
    progress: Progress | None = None,
    teacher: nn.Module | None = None,
    checkpoint: Path | None = None,
    interval: float = 30.0,
) -> Trained:
    """Quantises a network, training it for ``recipe.epochs`` (0: post-training), while the allocator chooses the widths.

    The budget of every allocation is worked out from the tables and kept in the trace; the last one is re-checked.

    Args:
        teacher: FP32 network for ``recipe.distillation``.
        checkpoint: file to go on from, where it exists, and to write every ``interval`` seconds. The caller removes it once it has
            stored the result, so that nothing is lost between the two.

    Raises:
        TrainingDiverged: a loss or gradient that is not finite. InfeasibleBudget: from the allocator. FileFormatError: a checkpoint of
            another model, recipe or allocator.
    """
    network, learn, began = model.network, recipe.epochs > 0, time.monotonic()
    if learn and untracked(network):
        reestimate_norms(network, task, seed)  # from scratch: with initial statistics the calibration inputs mean nothing
    model.observe(batches_of(task, "calibration", device=device_of(network)))
    parameters = model.parameters()  # before start, which may want gradients of frozen weights
    objective = Objective(network, task, recipe, teacher)
    loop = Loop(objective, "train" if learn else "calibration", seed, parameters)
    if not learn:
        loop.total = allocator.post_training_steps
    kept = Checkpoint(checkpoint, _identity(model, problem, allocator, recipe, seed, loop.total), interval)
    saved, earlier = kept.load(), 0.0
    allocation = allocator.start(model, problem)
    trace: list[tuple[int, Mapping[str, float]]] = [(0, problem.cost_of(allocation))]
    if saved is None:
        model.set(allocation, calibrate=True)
    else:
        model.load_state(saved["model"])
        allocator.load_state(saved["allocator"])
        trace = [(step, dict(costs)) for step, costs in saved["trace"]]
        loop.load_state(saved["loop"])
        earlier = saved["seconds"]
    network.train(learn)
    for group in loop.steps():
        states = loop.backward(group)
        size = sum(len(inputs[0]) for inputs, _ in group)
        changed = allocator.observe(Step(loop.done, loop.total, loop.losses[-1], size, model, _probe(model, objective, group, states)))
        loop.update()
        if changed is not None:
            model.set(changed, calibrate=not learn)
            trace.append((loop.done, problem.cost_of(changed)))
        if learn:
            _adapt(model)
        if progress:
            progress(loop.done, loop.total)
        if kept.due:
            parts = {"model": model.state(), "allocator": allocator.state(), "loop": loop.state(), "trace": trace}
            kept.save({**parts, "seconds": earlier + time.monotonic() - began})
    network.zero_grad(set_to_none=True)
    solution = allocator.finish()
    if solution.allocation != model.allocation:
        model.set(solution.allocation, calibrate=not learn)
        trace.append((loop.done, solution.costs))
        if learn:
            _adapt(model)
    if learn:
        reestimate_norms(network, task, seed)
    notes = () if learn else _without_training(model, task, recipe, progress)
    if kept.failed:
        notes = (*notes, f"an interruption would have lost the training from then on: {kept.failed.rstrip('.')}")
    network.eval()
    return Trained(solution, tuple(trace), tuple(loop.losses), notes, earlier)


def _adapt(model: QuantizedModel) -> None:
    """A step of what quantisers learn outside the gradient; at a width just changed to, a fresh codebook."""
    for weight, quantizer, number in model.distinct_weights():
        if not number.floating:
            quantizer.adapt(weight, number)


def _without_training(model: QuantizedModel, task: Task, recipe: Recipe, progress: Progress | None) -> tuple[str, ...]:
    """The recipe's post-training options; what must be said of them."""
    data = batches_of(task, "calibration", device=device_of(model.network))
    if recipe.rounding == "adaptive":
        kept = round_adaptively(model, data, correct_bias=recipe.bias_correction, progress=progress)
        return (f"adaptive rounding does not apply to {', '.join(kept)}: rounded to nearest",) if kept else ()
    if recipe.bias_correction:
        correct_biases(model, data, progress)
    return ()


def _identity(model: QuantizedModel, problem: Problem, allocator: Allocator, recipe: Recipe, seed: int, total: int) -> dict[str, Any]:
    """What makes a checkpoint one of this training."""
    return {
        "hwdse": __version__,
        "model": model.graph.fingerprint,
        "start": key_of(*(bytes_of(t) for t in model.network.parameters())),
        "tables": key_of(*(a.tobytes() for t in (problem.loss, *problem.costs) for a in t.numbers)),
        "settings": repr(
            {k: v for k, v in sorted(vars(allocator).items()) if isinstance(v, str | int | float | bool | LayerFormat | None)}
        ),
        "quantisers": str(model.scheme),
        "allocator": type(allocator).__name__,
        "budget": [f"{c} {c.limit!r}" for c in problem.budget],
        "recipe": repr(recipe),
        "seed": seed,
        "steps": total,
    }


def _probe(
    model: QuantizedModel, objective: Objective, group: list[Batch], states: list[RandomState]
) -> Callable[[Mapping[str, LayerFormat]], float]:
    def loss_at(allocation: Mapping[str, LayerFormat]) -> float:
        before, after = model.allocation, random_state()
        assert before is not None  # set before the first step
        model.set(allocation)
        try:
            with torch.no_grad(), frozen_statistics(model.network):
                total = 0.0
                for batch, random in zip(group, states, strict=True):
                    set_random_state(random)
                    total += float(objective(batch)) / len(group)
                return total
        finally:
            set_random_state(after)
            model.set(before)

    return loss_at
