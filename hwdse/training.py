"""Training loops: the FP32 network, and a network whose widths an allocator may change while it trains.

Three regimes, one protocol. Post-training is ``start`` then ``finish`` (with ``observe`` on calibration batches, no weight update, for
allocators that ask for steps); fine-tuning and from-scratch training add ``observe`` after each backward pass.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from .bits import Allocation, BitWidths
from .costs import FloatArray
from .errors import TaskError, TrainingDiverged
from .problem import Problem, Solution
from .quantized import QuantizedModel, evaluating
from .quantizers import Scheme
from .task import Recipe, Split, Task, batches_of

Progress = Callable[[int, int], None]  # (steps done, steps in all)
REESTIMATED = 50  # batches for the batch-norm statistics


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
    probe: Callable[[Mapping[str, BitWidths]], float]


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


@dataclass(frozen=True)
class Trained:
    """A finished quantised training: the solution, and each allocation's costs by (step, costs) as training went."""

    solution: Solution
    trace: tuple[tuple[int, Mapping[str, float]], ...] = field(default=())


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


def evaluate(network: nn.Module, task: Task, split: Split) -> Evaluation:
    """Scores a network on a split, in evaluation mode.

    Raises:
        TaskError: ``scores`` does not give one finite number per sample.
    """
    found: list[Tensor] = []
    with torch.inference_mode(), evaluating(network):
        for inputs, target in batches_of(task, split):
            scores = task.scores(network(*inputs), target)
            if not isinstance(scores, Tensor) or scores.ndim != 1:
                raise TaskError(f"task {task.name}: scores() must return one number per sample, a tensor of one dimension.")
            found.append(scores.float().cpu())
    values = torch.cat(found).numpy().astype(np.float64)
    if not np.isfinite(values).all():
        raise TrainingDiverged(f"the score on the {split} split is not finite.")
    return Evaluation(values)


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
    batches = task.batches(split, seed)
    size = getattr(batches, "__len__", None)
    count = size() if size is not None else sum(1 for _ in batches)
    if not count:
        raise TaskError(f"task {task.name}: batches('{split}') yielded nothing; each split needs at least one batch.")
    return int(count)


def _backward(network: nn.Module, task: Task, inputs: tuple[Tensor, ...], target: Any, step: int) -> float:
    """Forward and backward; the loss.

    Raises:
        TrainingDiverged: a loss that is not finite.
    """
    loss = task.loss(network(*inputs), target)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise TrainingDiverged(f"the loss is {value} at step {step}; lower the learning rate, or look at the data.")
    loss.backward()  # type: ignore[no-untyped-call]  # torch's stub
    return value


def train_float(network: nn.Module, task: Task, recipe: Recipe, seed: int, progress: Progress | None = None) -> None:
    """Trains the FP32 network in place."""
    per_epoch = _count(task, "train", seed)
    total = recipe.epochs * per_epoch
    optimizers = _optimizers(list(network.parameters()), [], recipe, total)
    network.train()
    done = 0
    for epoch in range(recipe.epochs):
        for inputs, target in batches_of(task, "train", seed * 1000 + epoch):
            network.zero_grad(set_to_none=True)
            _backward(network, task, inputs, target, done)
            for optimizer, schedule in optimizers:
                optimizer.step()
                schedule.step()
            done += 1
            if progress:
                progress(done, total)
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
) -> Trained:
    """Quantises a network, training it for ``recipe.epochs`` (0: post-training), while the allocator chooses the widths.

    The budget of every allocation is worked out from the tables and kept in the trace; the last one is re-checked.

    Raises:
        TrainingDiverged: a loss that is not finite. InfeasibleBudget: from the allocator.
    """
    network = model.network
    model.observe(batches_of(task, "calibration"))
    learn = recipe.epochs > 0
    split: Split = "train" if learn else "calibration"
    per_epoch = _count(task, split, seed) if learn or allocator.post_training_steps else 0
    total = recipe.epochs * per_epoch if learn else allocator.post_training_steps
    epochs = recipe.epochs if learn else math.ceil(total / per_epoch) if total else 0
    optimizers = _optimizers(*model.parameters(), recipe, total) if learn else []  # before start: it may want gradients of frozen weights
    allocation = allocator.start(model, problem)
    model.set(allocation, calibrate=True)
    trace: list[tuple[int, Mapping[str, float]]] = [(0, problem.cost_of(allocation))]
    network.train(learn)
    done = 0
    for epoch in range(epochs):
        for inputs, target in batches_of(task, split, seed * 1000 + epoch):
            if done >= total:
                break
            network.zero_grad(set_to_none=True)
            for quantizer in model.inputs.values():
                quantizer.zero_grad(set_to_none=True)
            random = torch.get_rng_state()
            loss = _backward(network, task, inputs, target, done)
            step = Step(done, total, loss, len(inputs[0]), model, _probe(model, task, inputs, target, random))
            changed = allocator.observe(step)
            for optimizer, schedule in optimizers:
                optimizer.step()
                schedule.step()
            done += 1
            if changed is not None:
                model.set(changed, calibrate=not learn)
                trace.append((done, problem.cost_of(changed)))
            if progress:
                progress(done, total)
    network.zero_grad(set_to_none=True)
    solution = allocator.finish()
    if solution.allocation != model.allocation:
        model.set(solution.allocation, calibrate=not learn)
        trace.append((done, solution.costs))
    if learn:
        reestimate_norms(model.network, task, seed)
    network.eval()
    return Trained(solution, tuple(trace))


def _probe(
    model: QuantizedModel, task: Task, inputs: tuple[Tensor, ...], target: Any, random: Tensor
) -> Callable[[Mapping[str, BitWidths]], float]:
    def loss_at(allocation: Mapping[str, BitWidths]) -> float:
        before, after = model.allocation, torch.get_rng_state()
        assert before is not None  # set before the first step
        model.set(allocation)
        torch.set_rng_state(random)
        try:
            with torch.no_grad(), frozen_statistics(model.network):
                return float(task.loss(model.network(*inputs), target))
        finally:
            torch.set_rng_state(after)
            model.set(before)

    return loss_at


def _norms(network: nn.Module) -> list[nn.modules.batchnorm._NormBase]:
    """Batch and instance norms that keep running statistics."""
    return [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._NormBase) and m.running_mean is not None]


@contextlib.contextmanager
def frozen_statistics(network: nn.Module) -> Iterator[None]:
    """While open, norms in training mode use the batch's statistics and leave their running ones alone."""
    norms = {m: (m.momentum, m.num_batches_tracked.clone()) for m in _norms(network) if m.training and m.num_batches_tracked is not None}
    for norm in norms:
        norm.momentum = 0.0  # running = 1 x running + 0 x batch
    try:
        yield
    finally:
        for norm, (momentum, count) in norms.items():
            norm.momentum = momentum
            norm.num_batches_tracked = count


def reestimate_norms(network: nn.Module, task: Task, seed: int) -> None:
    """Batch-norm running statistics anew, as plain averages over up to :data:`REESTIMATED` training batches at the final widths.

    Widths that changed during training leave running averages of a network that no longer exists.
    """
    norms = _norms(network)
    if not norms:
        return
    momenta = {norm: norm.momentum for norm in norms}
    modes = {m: m.training for m in network.modules()}
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
        norm.train()
    try:
        with torch.no_grad():
            for number, (inputs, _) in enumerate(batches_of(task, "train", seed)):
                if number == REESTIMATED:
                    break
                network(*inputs)
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum
        for module, training in modes.items():
            module.training = training
