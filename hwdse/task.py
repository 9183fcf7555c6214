"""The user's side: a model, its data, its loss and its score.

A task is any object with the members of :class:`Task`; no base class is needed. ``hwdse.tasks`` holds the built-in ones.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import count
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .errors import TaskError, TaskFailed, text_of
from .inputs import Named, as_inputs
from .interrupts import check
from .metrics import Metric
from .recipe import Recipe as Recipe  # part of what a task is written with
from .recipe import Recipes as Recipes
from .storage import bytes_of, key_of

Split = Literal["train", "calibration", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Inputs = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]
ENDLESS = 100_000  # batches in a pass without a length, after which it is taken for endless


@runtime_checkable
class Task(Protocol):
    """What hwdse needs to know.

    Attributes:
        name: short, used in file names.
        metric: the score: its name, unit and direction, for example ``Metric("accuracy", "fraction", "higher")``.

    Optional members: ``recipes`` (:class:`Recipes`); ``trained = True`` where :meth:`model` comes with trained weights; or
    ``pretrained(seed)``, which gives the state dict that training with that seed ended at, or None. Without the last two, and where
    ``pretrained`` gives None, the network is trained with ``recipes.scratch`` first, and the result kept in the cache. So is that of a
    derived class with a ``model`` of its own, unless it has a ``pretrained`` of its own too. And ``count_samples(inputs, target) -> int``
    where the scores of a batch are one for each of something else than the rows of the first input, or the elements of the target.
    """

    name: str
    metric: Metric

    def model(self) -> nn.Module:
        """A fresh network. Random initialisation draws from torch's global generator, which is seeded before."""
        ...

    def example_inputs(self) -> tuple[Tensor, ...] | Mapping[str, Tensor]:
        """The inputs of one forward pass, by position or, in a mapping, by keyword. Their batch size is what costs are given for."""
        ...

    def batches(self, split: Split, seed: int) -> Iterable[tuple[Inputs, Any]]:
        """(inputs, target) pairs, one pass that starts anew at each call. ``seed`` shuffles the training split; the others ignore it.

        The first input's first dimension counts the samples. Inputs by keyword stand in a mapping.

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
    "example_inputs": "example_inputs() -> tuple of tensors, or a dict of them by keyword",
    "batches": "batches(split, seed) -> iterable of (inputs, target); split is train, calibration, validation or test",
    "loss": "loss(output, target) -> scalar tensor",
    "scores": "scores(output, target) -> one number per sample",
}


_CALLED: dict[str, tuple[object, ...]] = {
    "model": (), "example_inputs": (), "batches": ("train", 0), "loss": (None, None), "scores": (None, None)
}  # fmt: skip


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
    for name, arguments in _CALLED.items():
        _takes(task, name, arguments)
    if not isinstance(getattr(task, "metric", None), Metric):
        raise TaskError(f"task {type(task).__name__}: 'metric' must be {_MEMBERS['metric']}.")
    return task  # type: ignore[return-value]  # the members were just checked


def _takes(task: object, name: str, arguments: tuple[object, ...]) -> None:
    """Raises TaskError where a method cannot be called as it will be."""
    try:
        inspect.signature(getattr(task, name)).bind(*arguments)
    except ValueError:  # no signature to be read
        return
    except TypeError as error:
        raise TaskError(f"task {type(task).__name__}: '{name}' must be {_MEMBERS[name]} ({text_of(error)}).") from None


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


@contextlib.contextmanager
def calling(task: Task, member: str) -> Iterator[None]:
    """While open, the task's own code runs: what would end the program, such as ``sys.exit``, is said to be its doing."""
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise TaskFailed(f"task {task.name}: {member} ended the program ({text_of(error)}).") from error


def device_of(network: nn.Module) -> torch.device:
    """Where a network's parameters are."""
    return next((p.device for p in network.parameters()), torch.device("cpu"))


def moved(value: Any, device: torch.device | str) -> Any:
    """Tensors, and those in tuples, lists and dicts, on a device; anything else as it is."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=torch.device(device).type == "cuda")  # towards the CPU nobody would wait
    if isinstance(value, Named):
        return value.of(moved(v, device) for v in value)
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
    for batch in _pass(task, split, seed):
        check()  # every training, score and sensitivity comes by here
        empty = False
        if not (isinstance(batch, tuple | list) and len(batch) == 2):
            raise TaskError(f"task {task.name}: batches('{split}') must yield (inputs, target) pairs, got {type(batch).__name__}.")
        inputs = as_inputs(batch[0])
        if not inputs or not all(isinstance(x, Tensor) for x in inputs):
            got = ", ".join(type(x).__name__ for x in inputs) or "nothing"
            raise TaskError(
                f"task {task.name}: the inputs of batches('{split}') must be a tensor, a tuple of tensors, or a dict of tensors by "
                f"keyword, got {got}."
            )
        odd = next((kind for x in (*inputs, *pytree.tree_leaves(batch[1])) if isinstance(x, Tensor) and (kind := _not_dense(x))), "")
        if odd:
            raise TaskError(f"task {task.name}: batches('{split}') must give dense tensors, got a {odd} one; give x.to_dense(), or pad it.")
        if not inputs[0].ndim:
            raise TaskError(f"task {task.name}: the first input of batches('{split}') must have a dimension that counts the samples.")
        yield moved(inputs, device), moved(batch[1], device)
    if empty:
        raise TaskError(f"task {task.name}: batches('{split}') yielded nothing; each split needs at least one batch.")


def _not_dense(tensor: Tensor) -> str:
    """What kind of tensor it is whose elements do not lie side by side; empty for one whose do."""
    if tensor.is_nested:
        return "nested"
    return "quantized" if tensor.is_quantized else "" if tensor.layout == torch.strided else "sparse"


def _pass(task: Task, split: Split, seed: int) -> Iterator[Any]:
    """What the task yields, as long as it is not endless."""
    with calling(task, f"batches('{split}')"):
        batches = task.batches(split, seed)
        if not isinstance(batches, Iterable):
            raise TaskError(f"task {task.name}: batches('{split}') must give (inputs, target) pairs, got {type(batches).__name__}.")
        known, iterator = length_of(batches), iter(batches)
    for number in count():
        with calling(task, f"batches('{split}')"):
            try:
                batch = next(iterator)
            except StopIteration:
                return
        if known is None and number == ENDLESS:
            raise TaskError(
                f"task {task.name}: batches('{split}') has given {ENDLESS:,} batches and goes on: it must end after one pass. If it is so "
                "long, give it a length (__len__)."
            )
        yield batch


def length_of(batches: Iterable[Any]) -> int | None:
    """Its length, where it has one: a loader over an iterable data set has the method and no length."""
    try:
        return len(batches)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        return None


SEEN = 16  # batches of each split that a fingerprint looks at; of the calibration split all


def fingerprint(task: Task) -> str:
    """Changes with the task's code, settings and data.

    It covers the source of the whole modules that define the task's classes, the task's plain attributes, every calibration batch, and
    the first :data:`SEEN` batches of each other split. Code in other modules that those import is not covered: give another cache
    folder (``HWDSE_CACHE``), or a new ``name``, after changing it.
    """
    plain = {k: _plain(v) for k, v in getattr(task, "__dict__", {}).items() if isinstance(v, str | int | float | tuple | list | None)}
    parts: list[Any] = [task.name, plain, *sources(type(task).__mro__)]
    for split in SPLITS:
        for number, (inputs, target) in enumerate(batches_of(task, split)):
            if number == SEEN and split != "calibration":
                break
            for tensor in (*inputs, *pytree.tree_leaves(target)):
                if isinstance(tensor, Tensor):
                    parts += [list(tensor.shape), bytes_of(tensor)]
    return key_of(*parts)


def _plain(value: Any) -> Any:
    """The same in plain values; of anything else its type, as it may print its address, or not at all."""
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | None) else type(value).__qualname__


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
