"""What a task owes hwdse, looked at wherever its code is called: a model of plain modules, one loss, one score for each sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from .errors import TaskError, TaskFailed, TraceError, text_of
from .inputs import arguments, as_inputs, like, run
from .task import Task, calling, device_of, moved

_QUANTISED = (  # packages whose modules are quantised already, or are about to be
    "torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.ao.nn.sparse.quantized", "torch.ao.nn.qat", "torch.nn.quantized",
    "torch.ao.nn.intrinsic.qat", "torch.ao.quantization.fake_quantize", "torch.ao.quantization.observer", "torchao", "bitsandbytes",
)  # fmt: skip


# The model


def model_of(task: Task) -> nn.Module:
    """A fresh network, its lazily built modules made by one pass of the example inputs.

    Raises:
        TaskError: no module; TorchScript; modules or weights that are quantised already; modules that stay lazy.
    """
    with calling(task, "model()"):
        network = task.model()
    if not isinstance(network, nn.Module):
        raise TaskError(f"task {task.name}: model() must return a torch.nn.Module, got {type(network).__name__}.")
    for path, module in network.named_modules():
        at = f" (at '{path}')" if path else ""
        if isinstance(module, torch.jit.ScriptModule):
            raise TaskError(
                f"task {task.name}: model() returns TorchScript{at}, whose layers cannot be quantised one by one. Return the Python module "
                "that it was made from."
            )
        what = _quantised(module)
        if what:
            raise TaskError(
                f"task {task.name}: model() returns a model that is quantised already{at}: {what}. Return the floating-point model; hwdse "
                "puts its own quantisers on it."
            )
    if _lazy(network):
        _materialise(task, network)
    return network


def example_of(task: Task) -> tuple[Any, ...]:
    """The inputs of one forward pass, as the task gives them."""
    with calling(task, "example_inputs()"):
        found: Any = task.example_inputs()
    if not isinstance(found, tuple | Mapping):
        raise TraceError(
            f"example_inputs must be a tuple of the forward pass's arguments, or a dict of them by keyword; got {type(found).__name__}. "
            "Write (x,) for one input."
        )
    return as_inputs(found)


def _quantised(module: nn.Module) -> str:
    """What of a module is quantised already; empty where nothing is."""
    kind = type(module)
    if f"{kind.__module__}.".startswith(tuple(f"{name}." for name in _QUANTISED)):
        return f"it holds {kind.__module__}.{kind.__name__}"
    graph = getattr(module, "graph", None) if isinstance(module, torch.fx.GraphModule) else None
    if graph is not None and any("quantized_decomposed" in str(node.target) for node in graph.nodes):
        return "its graph holds quantize and dequantize operations"
    for name, weight in module.named_parameters(recurse=False):
        if type(weight).__module__.startswith(("torchao", "bitsandbytes")) or type(weight.data).__module__.startswith("torchao"):
            return f"'{name}' is a {type(weight).__name__}"
        if name == "weight" and not is_lazy(weight) and (weight.is_quantized or not (weight.is_floating_point() or weight.is_complex())):
            return f"'{name}' is of type {str(weight.dtype).removeprefix('torch.')}"
    return ""


def _lazy(network: nn.Module) -> list[str]:
    """Parameters and buffers that have no shape yet."""
    return [name for of in (network.named_parameters(), network.named_buffers()) for name, tensor in of if is_lazy(tensor)]


def _materialise(task: Task, network: nn.Module) -> None:
    modes = {module: module.training for module in network.modules()}
    network.eval()
    example = example_of(task)
    try:
        with torch.no_grad():
            run(network, like(example, (moved(x, device_of(network)) for x in example)))
    except TaskFailed:
        raise
    except Exception as error:
        raise TaskError(
            f"task {task.name}: the model has modules that are built by their first inputs, and does not run on example_inputs(): "
            f"{text_of(error)}."
        ) from error
    for module, training in modes.items():
        module.training = training
    left = _lazy(network)
    if left:
        raise TaskError(
            f"task {task.name}: '{left[0]}' is built by its first input, and example_inputs() does not reach it; give inputs that do, or "
            "state its sizes."
        )


# The loss


def loss_of(task: Task, output: Any, target: Any, *, gradient: bool = False) -> Tensor:
    """The loss of a batch, a tensor of no dimension. ``gradient``: it is about to be differentiated.

    Raises:
        TaskError: it is not one number, or has no gradient; says what was got.
    """
    with calling(task, "loss()"):
        loss: Any = task.loss(output, target)
    got, cure = "", ""
    if isinstance(loss, Mapping):
        got, cure = f"a {type(loss).__name__} ({', '.join(map(str, loss))})"[:120], "Add its terms up."
    elif isinstance(loss, tuple | list):
        got, cure = f"a {type(loss).__name__} of {len(loss)}", "Add its terms up."
    elif not isinstance(loss, Tensor):
        got = "None" if loss is None else f"a {type(loss).__name__}"
        cure = "Return the tensor itself, without .item()." if isinstance(loss, int | float) else ""
    elif loss.numel() != 1:
        got, cure = f"{loss.numel()} numbers (shape {list(loss.shape)})", "Take their mean."
    elif not loss.is_floating_point():
        got = f"a tensor of type {str(loss.dtype).removeprefix('torch.')}"
    elif gradient and not loss.requires_grad:
        got = "one without a gradient"
        cure = "Does the forward pass, or loss(), run under no_grad, or through detach, .data or argmax? Is any weight trained?"
    if got:
        raise TaskError(
            f"task {task.name}: loss() must return one number with a gradient, the mean over the batch, got {got}. {cure}".rstrip()
        )
    return cast(Tensor, loss).reshape(())


def differentiate(task: Task, loss: Tensor) -> None:
    """The backward pass from a loss.

    Raises:
        TaskError: an operation of the model or the loss cannot be differentiated.
    """
    try:
        loss.backward()  # type: ignore[no-untyped-call]  # torch's stub
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise TaskError(f"task {task.name}: the gradient of loss() cannot be worked out: {text_of(error)}.") from error


# The scores


def scores_of(task: Task, output: Any, inputs: tuple[Any, ...], target: Any) -> Tensor:
    """(N,) scores of a batch in float32, on the CPU.

    A task whose samples are not the rows of its first input may say how many there are, ``count_samples(inputs, target) -> int``. Without
    that, one score for each row, or for each element of a target that counts (a token, a pixel), is taken.

    Raises:
        TaskError: not one number for each sample; says what was got.
    """
    with calling(task, "scores()"):
        scores: Any = task.scores(output, target)
    want = f"task {task.name}: scores() must return one number per sample, a tensor of one dimension"
    if not isinstance(scores, Tensor):
        raise TaskError(f"{want}, got {'None' if scores is None else f'a {type(scores).__name__}'}.")
    rows = _rows(inputs)
    if scores.ndim != 1:
        got = "one number (a mean?)" if not scores.ndim else f"a tensor of shape {list(scores.shape)}"
        raise TaskError(f"{want}, got {got} for a batch of {rows}.")
    if scores.is_complex():
        raise TaskError(f"{want}, got complex numbers.")
    own = getattr(task, "count_samples", None)
    if callable(own):
        with calling(task, "count_samples()"):
            positional, named = arguments(inputs)
            count = int(own(named or (positional if len(positional) > 1 else positional[0]), target))
        if len(scores) != count:
            raise TaskError(f"{want}, got {len(scores)} where count_samples() says {count}.")
    elif len(scores) != rows and not _counted(len(scores), target):
        raise TaskError(
            f"{want}, got {len(scores)} for a batch of {rows}: the mean over batches of unequal size would be wrong. Return each sample's "
            "own score, or, where samples are something else, give the task count_samples(inputs, target) -> int."
        )
    return scores.detach().float().cpu()


def _rows(inputs: tuple[Any, ...]) -> int:
    return len(inputs[0]) if inputs[0].ndim else 1


def _counted(count: int, target: Any) -> bool:
    """Whether the scores may be one for each row, or each element that counts, of a target."""
    leaves = [leaf for leaf in pytree.tree_leaves(target) if isinstance(leaf, Tensor) and leaf.ndim]
    if count == 1 and leaves and all(len(leaf) == 1 for leaf in leaves):  # one graph, one image: every target says so
        return True
    parts = [part for leaf in leaves for part in (leaf, *([leaf[:, 1:]] if leaf.ndim == 2 else ()))]  # next tokens
    if isinstance(target, list | tuple) and target and all(isinstance(one, Mapping) for one in target):  # boxes of each image
        shared = [key for key in target[0] if all(isinstance(one.get(key), Tensor) and one[key].ndim for one in target)]
        parts += [torch.cat([one[key].flatten(1)[:, 0] if one[key].ndim > 1 else one[key] for one in target]) for key in shared]
    # one score, or none, for several rows is a mean over the batch, unless just so many elements count
    return any(count in (_counting(part) if count <= 1 else {len(part), part.numel(), *_counting(part)}) for part in parts)


def _counting(target: Tensor) -> set[int]:
    """Elements without those that conventions leave out: negative labels, 255 (void), 0 (padding of sequences), False in a mask."""
    if target.dtype == torch.bool:
        return {int(target.sum())}
    if target.is_floating_point() or target.is_complex():
        return set()
    found = {int((target >= 0).sum()), int((target != 255).sum())}
    return found | ({int((target != 0).sum())} if target.ndim > 1 else set())  # of one dimension, 0 is a class
