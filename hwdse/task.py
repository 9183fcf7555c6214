"""The user's side: a model, its data, its loss and its score.

A task is any object with the members of :class:`Task`; no base class is needed. ``hwdse.tasks`` holds the built-in ones.
"""

from __future__ import annotations

import copy
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor, nn

from .errors import TaskError, UsageError
from .interrupts import check
from .metrics import Metric
from .storage import bytes_of, key_of

Split = Literal["train", "calibration", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Inputs = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with momentum, cosine to zero.

    Attributes:
        epochs: passes over the training split.
        lr: peak learning rate of the weights.
        quantizer_lr: learning rate (Adam, no weight decay) of the quantisers' own parameters.
        weight_decay: of weights with two or more dimensions; biases and norms have none.
        momentum: of SGD (Nesterov).
        warmup: share of the steps over which the rate rises from 0.
        accumulate: batches behind each step of the optimiser; their gradients are averaged.
        precision: ``"bfloat16"`` runs the network under autocast, with weights, losses, batch norm and quantisers' scales in float32.
        distillation: share of the loss that comes from the FP32 network's outputs; 0 is none.
        rounding: of weights where nothing is trained: ``"adaptive"`` keeps each layer's output (:mod:`hwdse.rounding`).
        bias_correction: where nothing is trained, puts the mean of each layer's output back (:mod:`hwdse.bias_correction`).
    """

    epochs: int = 5
    lr: float = 0.01
    quantizer_lr: float = 1e-3
    weight_decay: float = 5e-4
    momentum: float = 0.9
    warmup: float = 0.05
    accumulate: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    distillation: float = 0.0
    rounding: Literal["nearest", "adaptive"] = "nearest"
    bias_correction: bool = False

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            UsageError: what must hold, and what was got.
        """
        rules = {
            "epochs": (self.epochs >= 0, "0 or more"),
            "lr": (0 < self.lr < math.inf, "above 0"),
            "quantizer_lr": (0 < self.quantizer_lr < math.inf, "above 0"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "0 or more"),
            "momentum": (0 <= self.momentum < 1, "in [0, 1)"),
            "warmup": (0 <= self.warmup <= 1, "in [0, 1]"),
            "accumulate": (self.accumulate >= 1, "1 or more"),
            "precision": (self.precision in ("float32", "bfloat16"), "float32 or bfloat16"),
            "distillation": (0 <= self.distillation <= 1, "in [0, 1]"),
            "rounding": (self.rounding in ("nearest", "adaptive"), "nearest or adaptive"),
        }
        for name, (holds, what) in rules.items():
            if not holds:
                raise UsageError(f"a recipe's {name} must be {what}, got {getattr(self, name)!r}.")
        if self.epochs and (self.rounding != "nearest" or self.bias_correction):
            raise UsageError(
                "adaptive rounding and bias correction are for post-training quantisation; training undoes them: set epochs to 0."
            )

    def at(self, epochs: int, *, adaptive: bool) -> Recipe:
        """The same for so many epochs; without any, rounded adaptively or to nearest."""
        if not epochs and adaptive:
            return self.post_training()
        kept = self.distillation if epochs else 0.0
        return replace(self, epochs=epochs, distillation=kept, rounding="nearest", bias_correction=False)

    def post_training(self) -> Recipe:
        """Without training, with what makes up for it: adaptive rounding and bias correction."""
        return replace(self, epochs=0, distillation=0.0, rounding="adaptive", bias_correction=True)


@dataclass(frozen=True)
class Recipes:
    """The task's defaults: ``scratch`` trains the FP32 network, ``finetune`` starts from it under quantisation."""

    scratch: Recipe = field(default_factory=lambda: Recipe(epochs=30, lr=0.1))
    finetune: Recipe = field(default_factory=Recipe)


@runtime_checkable
class Task(Protocol):
    """What hwdse needs to know.

    Attributes:
        name: short, used in file names.
        metric: the score: its name, unit and direction, for example ``Metric("accuracy", "fraction", "higher")``.

    Optional members: ``recipes`` (:class:`Recipes`); ``trained = True`` where :meth:`model` comes with trained weights; or
    ``pretrained(seed)``, which gives the state dict that training with that seed ended at, or None. Without the last two, and where
    ``pretrained`` gives None, the network is trained with ``recipes.scratch`` first, and the result kept in the cache. So is that of a
    derived class with a ``model`` of its own, unless it has a ``pretrained`` of its own too.
    """

    name: str
    metric: Metric

    def model(self) -> nn.Module:
        """A fresh network. Random initialisation draws from torch's global generator, which is seeded before."""
        ...

    def example_inputs(self) -> tuple[Tensor, ...]:
        """The positional inputs of one forward pass. Their batch size is the batch that costs are given for."""
        ...

    def batches(self, split: Split, seed: int) -> Iterable[tuple[Inputs, Any]]:
        """(inputs, target) pairs, one pass. ``seed`` shuffles the training split; the others ignore it.

        Small calibration batches (about 8) make Fisher sensitivities better: squares of a batch's mean gradient lose what its samples
        disagree on.
        """
        ...

    def loss(self, output: Any, target: Any) -> Tensor:
        """Scalar: the mean loss over the batch, in nats where it is a cross entropy."""
        ...

    def scores(self, output: Any, target: Any) -> Tensor:
        """One number per sample; the score of a split is their mean."""
        ...


_MEMBERS = {
    "name": 'a short text, such as "keywords"',
    "metric": 'the score, such as Metric("accuracy", "fraction", "higher")',
    "model": "model() -> nn.Module",
    "example_inputs": "example_inputs() -> tuple of tensors",
    "batches": "batches(split, seed) -> iterable of (inputs, target); split is train, calibration, validation or test",
    "loss": "loss(output, target) -> scalar tensor",
    "scores": "scores(output, target) -> one number per sample",
}


def check_task(task: object) -> Task:
    """The same object, once it is known to have every member.

    Raises:
        TaskError: names what is missing or of the wrong kind, and what it must be.
    """
    lacking = [f"{name} ({what})" for name, what in _MEMBERS.items() if not hasattr(task, name)]
    if lacking:
        raise TaskError(f"task {type(task).__name__} lacks {'; '.join(lacking)}. See examples/my_task.py.")
    for name, what in _MEMBERS.items():
        if name not in ("name", "metric") and not callable(getattr(task, name)):
            raise TaskError(f"task {type(task).__name__}: '{name}' must be a method: {what}.")
    if not (isinstance(task.name, str) and task.name.strip()):  # type: ignore[attr-defined]  # it was just looked for
        raise TaskError(f"task {type(task).__name__}: 'name' must be {_MEMBERS['name']}.")
    if not isinstance(getattr(task, "metric", None), Metric):
        raise TaskError(f"task {type(task).__name__}: 'metric' must be {_MEMBERS['metric']}.")
    return task  # type: ignore[return-value]  # the members were just checked


def recipes_of(task: Task) -> Recipes:
    """The task's own training defaults, or the general ones."""
    found = getattr(task, "recipes", Recipes())
    if not isinstance(found, Recipes):
        raise TaskError(f"task {task.name}: 'recipes' must be a hwdse.task.Recipes, got {type(found).__name__}.")
    return found


def pretrained_of(task: Task, seed: int) -> Mapping[str, Any] | None:
    """The trained FP32 weights that the task gives for a seed; None where it is to be trained.

    A class whose ``model`` is its own, and whose ``pretrained`` is inherited, is trained: the weights may be of another network.

    Raises:
        TaskError: ``pretrained`` is no method, or gives something else.
    """
    give = getattr(task, "pretrained", None)
    if give is None:
        return None
    if not callable(give):
        raise TaskError(
            f"task {task.name}: 'pretrained' must be a method, pretrained(seed) -> state dict or None, got {type(give).__name__}. "
            "Rename it if it is something else."
        )
    model, weights = (next((n for n, c in enumerate(type(task).__mro__) if name in vars(c)), -1) for name in ("model", "pretrained"))
    if model < weights:
        return None
    state = give(seed)
    if state is None or (isinstance(state, Mapping) and all(isinstance(key, str) for key in state)):
        return state
    raise TaskError(f"task {task.name}: pretrained({seed}) must give a state dict or None, got {type(state).__name__}.")


def as_tuple(inputs: Inputs | list[Tensor]) -> tuple[Tensor, ...]:
    """The positional arguments of a forward pass. A list counts as a tuple: torch's DataLoader makes one of the other."""
    return tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)


def device_of(network: nn.Module) -> torch.device:
    """Where a network's parameters are."""
    return next((p.device for p in network.parameters()), torch.device("cpu"))


def moved(value: Any, device: torch.device | str) -> Any:
    """Tensors, and those in tuples, lists and dicts, on a device; anything else as it is."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=torch.device(device).type == "cuda")  # towards the CPU nobody would wait
    if isinstance(value, dict):
        there = copy.copy(value)  # of the same class, with what else it holds
        there.update({k: moved(v, device) for k, v in value.items()})
        return there
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(v, device) for v in value))
    return type(value)(moved(v, device) for v in value) if type(value) in (tuple, list) else value


def batches_of(task: Task, split: Split, seed: int = 0, device: torch.device | str = "cpu") -> Iterable[tuple[tuple[Tensor, ...], Any]]:
    """The task's batches, checked, on a device.

    Raises:
        TaskError: no batch at all, or something other than (inputs, target).
    """
    empty = True
    batches = task.batches(split, seed)
    if not isinstance(batches, Iterable):
        raise TaskError(f"task {task.name}: batches('{split}') must give (inputs, target) pairs, got {type(batches).__name__}.")
    for batch in batches:
        check()  # every training, score and sensitivity comes by here
        empty = False
        if not (isinstance(batch, tuple | list) and len(batch) == 2):
            raise TaskError(f"task {task.name}: batches('{split}') must yield (inputs, target) pairs, got {type(batch).__name__}.")
        inputs = as_tuple(batch[0])
        if not inputs or not all(isinstance(x, Tensor) for x in inputs):
            got = ", ".join(type(x).__name__ for x in inputs) or "nothing"
            raise TaskError(f"task {task.name}: the inputs of batches('{split}') must be a tensor or a tuple of tensors, got {got}.")
        yield moved(inputs, device), moved(batch[1], device)
    if empty:
        raise TaskError(f"task {task.name}: batches('{split}') yielded nothing; each split needs at least one batch.")


SEEN = 16  # batches of each split that a fingerprint looks at; of the calibration split all


def fingerprint(task: Task) -> str:
    """Changes with the task's code, settings and data.

    It covers the source of the whole modules that define the task's classes, the task's plain attributes, every calibration batch, and
    the first :data:`SEEN` batches of each other split. Code in other modules that those import is not covered: give another cache
    folder (``HWDSE_CACHE``), or a new ``name``, after changing it.
    """
    plain = {k: v for k, v in vars(task).items() if isinstance(v, (str, int, float, bool, tuple, list, type(None)))}
    parts: list[Any] = [task.name, plain, *sources(type(task).__mro__)]
    for split in SPLITS:
        for number, (inputs, target) in enumerate(batches_of(task, split)):
            if number == SEEN and split != "calibration":
                break
            for tensor in (*inputs, target):
                if isinstance(tensor, Tensor):
                    parts += [list(tensor.shape), bytes_of(tensor)]
    return key_of(*parts)


def sources(things: Iterable[Callable[..., Any]]) -> list[str]:
    """The source of each class or function and of the module around it (helpers, constants); torch's and Python's are left out."""
    found: dict[str, None] = {}
    for one in dict.fromkeys(t.func if isinstance(t, partial) else t for t in things):
        if one.__module__.partition(".")[0] in ("builtins", "torch", "typing", "abc"):
            continue
        for thing in (one, sys.modules.get(one.__module__)):
            try:
                found[inspect.getsource(thing) if thing is not None else one.__qualname__] = None
            except (OSError, TypeError):  # an interactive session has no source
                found[one.__qualname__] = None
    return list(found)
