"""From a model to a LayerGraph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import TraceError
from ..graph import LayerGraph
from .export import exported
from .hooks import read_calls, record
from .walk import read_program

__all__ = ["trace"]


def trace(model: nn.Module, example_inputs: tuple[Tensor, ...], *, fallback: bool = True) -> LayerGraph:
    """Lists the layers of a model, the tensors between them, and what could not be counted.

    The model is traced by ``torch.export`` in evaluation mode, without gradients, on the device it lies on (``meta`` is
    enough: no weight is read). Nothing of it changes. Shapes are those of the example inputs, the batch included.

    Args:
        model: any module whose forward pass takes tensors.
        example_inputs: the positional arguments of one forward pass, as a tuple. They are moved to the model's device.
        fallback: if the model cannot be exported (its Python code depends on values), run it once with hooks. The graph
            then has ``data_flow=False``, only modules are counted, and ``left_out`` says so.

    Raises:
        TraceError: ``model`` is no module, ``example_inputs`` no tuple, or the model does not run on them; or it cannot be
            exported and ``fallback`` is False.
    """
    if not isinstance(model, nn.Module):
        raise TraceError(f"the model must be a torch.nn.Module; got {type(model).__name__}. Pass an instance, not a class or a file.")
    if not isinstance(example_inputs, tuple):
        raise TraceError(
            f"example_inputs must be a tuple of the forward pass's arguments; got {type(example_inputs).__name__}. "
            "Write (x,) for one input."
        )
    inputs = _moved(model, example_inputs)
    try:
        return read_program(exported(model, inputs), model)
    except Exception as error:  # torch.export raises whatever the model's code raises while it is traced
        failure = error
    return _without_export(model, inputs, fallback, failure)


def _without_export(model: nn.Module, inputs: tuple[Any, ...], fallback: bool, error: Exception) -> LayerGraph:
    if not fallback:
        raise TraceError(
            f"the model must be exportable by torch.export on {_described(inputs)}; got {_sentence(error)} "
            "Remove what depends on values in its forward pass, or allow the fallback."
        ) from error
    try:
        calls, total = record(model, inputs)
    except Exception as second:  # the model's own error
        raise TraceError(
            f"the model must run on its example inputs, {_described(inputs)}; got {_sentence(second)} "
            "Pass inputs of the number, shapes and types that its forward pass takes."
        ) from second
    return read_calls(model, calls, total, f"torch.export could not trace the model: {_sentence(error)}")


def _moved(model: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    first = next(model.parameters(), next(model.buffers(), None))
    if first is None:
        return inputs
    moved: tuple[Any, ...] = pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.to(first.device), inputs)
    return moved


def _described(inputs: tuple[Any, ...]) -> str:
    found = [
        f"{str(x.dtype).removeprefix('torch.')}{list(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
        for x in pytree.tree_leaves(inputs)
    ]
    return f"({', '.join(found)})"


def _sentence(error: Exception) -> str:
    """The kind of an error and the first line of its text, as one sentence."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
    return f"{type(error).__name__}: {first[:300].rstrip('.')}."
