"""From a model to a LayerGraph."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import TaskFailed, TraceError, text_of
from ..graph import LayerGraph
from ..inputs import Named, arguments, as_inputs, like
from .export import exported
from .hooks import read_calls, record
from .walk import read_program

__all__ = ["trace"]


def trace(model: nn.Module, example_inputs: tuple[Tensor, ...] | Mapping[str, Tensor], *, fallback: bool = True) -> LayerGraph:
    """Lists the layers of a model, the tensors between them, and what could not be counted.

    The model is traced by ``torch.export`` in evaluation mode, without gradients, on the device it lies on (``meta`` is
    enough: no weight is read). Nothing of it changes. Shapes are those of the example inputs, the batch included.

    Args:
        model: any module whose forward pass takes tensors.
        example_inputs: the arguments of one forward pass, as a tuple, or by keyword as a mapping. They are moved to the model's device.
        fallback: if the model cannot be exported (its Python code depends on values), run it once with hooks. The graph
            then has ``data_flow=False``, only modules are counted, and ``left_out`` says so.

    Raises:
        TraceError: ``model`` is no module, ``example_inputs`` no tuple, or the model does not run on them; or it cannot be
            exported and ``fallback`` is False.
    """
    if not isinstance(model, nn.Module):
        raise TraceError(f"the model must be a torch.nn.Module; got {type(model).__name__}. Pass an instance, not a class or a file.")
    if not isinstance(example_inputs, tuple | Mapping):
        raise TraceError(
            f"example_inputs must be a tuple of the forward pass's arguments, or a dict of them by keyword; got "
            f"{type(example_inputs).__name__}. Write (x,) for one input."
        )
    inputs = _moved(model, as_inputs(example_inputs))
    try:
        return read_program(exported(model, *arguments(inputs)), model)
    except Exception as error:  # torch.export raises whatever the model's code raises while it is traced
        failure = error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise TaskFailed(f"the forward pass of the model ended the program ({text_of(error)}).") from error
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
            f"the model must run on its example inputs, {_described(inputs)}; got {_sentence(second)} {_cure(model, inputs)}"
        ) from second
    return read_calls(model, calls, total, f"torch.export could not trace the model: {_sentence(error)}")


def _cure(model: nn.Module, inputs: tuple[Any, ...]) -> str:
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        parameters = {}.values()
    named = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if named and not isinstance(inputs, Named):
        return f"Its forward pass takes {', '.join(named)} by keyword: give the inputs as a dict, {{'{named[0]}': ...}}."
    return "Pass inputs of the number, shapes and types that its forward pass takes."


def _moved(model: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    first = next(model.parameters(), next(model.buffers(), None))
    if first is None:
        return inputs
    return like(inputs, (pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.to(first.device), x) for x in inputs))


def _described(inputs: tuple[Any, ...]) -> str:
    found = [
        f"{str(x.dtype).removeprefix('torch.')}{list(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
        for x in pytree.tree_leaves(tuple(inputs))
    ]
    return f"({', '.join(found)})"


def _sentence(error: Exception) -> str:
    """The kind of an error and the first line of its text, as one sentence."""
    return f"{text_of(error)}."
