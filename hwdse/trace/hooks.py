"""The fallback for models that cannot be exported: one real forward pass that notes which modules were called, and with what.

Each of those modules is then traced by itself, so that the counting rules are the same. There is no data flow, and there are no
ties; the products made outside of these modules are measured by a second counter and stated.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from torch.utils.hooks import RemovableHandle

from ..graph import Layer, LayerGraph, LeftOut
from ..inputs import run
from .deployed import numbers_of, unused
from .export import evaluation, exported
from .owners import Names, Owners, joined, quantisable_module
from .walk import read_program

Call = tuple[str, nn.Module, tuple[Any, ...], dict[str, Any]]


def record(model: nn.Module, inputs: tuple[Any, ...]) -> tuple[list[Call], int]:
    """(the calls of modules that can hold counted layers, multiply-accumulates that PyTorch's own counter sees).

    Raises whatever the model raises. Buffers that the pass changes are put back.
    """
    calls: list[Call] = []
    inside: list[nn.Module] = []  # counted modules whose call has not ended: what they call is found when they are traced

    def note(path: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if args and isinstance(args[0], PackedSequence):  # as many rows, in one sequence
                args = (args[0].data,)
            if not inside:
                calls.append((path, module, *_forms((args, kwargs))))
            inside.append(module)

        return enter

    def leave(module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        if inside:
            inside.pop()

    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    counted = [(path, module) for path, module in model.named_modules() if _counted(module)]
    handles: list[RemovableHandle] = [m.register_forward_pre_hook(note(path), with_kwargs=True) for path, m in counted]
    handles += [m.register_forward_hook(leave, always_call=True) for _, m in counted]
    counter = _Counter()
    try:
        with evaluation(model), _unfused(), counter:
            run(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
    return calls, counter.flops // 2


def read_calls(model: nn.Module, calls: list[Call], total: int, reason: str) -> LayerGraph:
    """The layers of the modules that :func:`record` saw called; ``reason`` says why there is no data flow."""
    owners = Owners(model)
    layers: list[Layer] = []
    names = Names()
    used: dict[str, int] = {}
    seen: set[str] = set()
    left_out = [LeftOut("data flow", f"unknown, so no edges, no ties, no activation memory; {reason}")]
    for path, module, args, kwargs in calls:
        try:
            inner = read_program(exported(module, *_filled((args, kwargs))), module, path, names)
        except Exception as error:  # whatever torch.export raises, of this one module
            left_out.append(LeftOut(path, f"a module that could not be traced: {type(error).__name__}; its work is not counted"))
            continue
        for layer in inner.layers:
            weight = None if layer.weight is None else owners.canonical(joined(path, layer.weight))
            layers.append(replace(layer, weight=weight, extra_params=0 if path in seen else layer.extra_params))
        seen.add(path)  # a module called twice has one bias
        rest = {parameter.name: parameter.elements for parameter in inner.parameters}
        for name, parameter in module.named_parameters():
            whole = owners.canonical(joined(path, name))
            used[whole] = max(used.get(whole, 0), numbers_of(parameter) - rest.get(name, 0))
    missing = total - sum(layer.macs for layer in layers)
    if missing > 0:
        left_out.append(LeftOut("products outside of modules", f"{missing} multiply-accumulates that belong to no counted module"))
    parameters, items = unused(model, used)
    return LayerGraph(tuple(layers), {}, (), (), (), (*left_out, *items), data_flow=False, parameters=tuple(parameters))


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """PyTorch's table of floating-point operations, two per multiply-accumulate, without the hooks of its own counter."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += int(formula(*args, **(kwargs or {}), out_val=out))
        return out


@contextmanager
def _unfused() -> Iterator[None]:
    """Switches off fused kernels of attention and recurrent layers, into which PyTorch's counter does not see."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TF32")
        with (
            sdpa_kernel(SDPBackend.MATH),
            torch.backends.mkldnn.flags(enabled=False),
            torch.backends.cudnn.flags(enabled=False),
        ):
            yield


def _counted(module: nn.Module) -> bool:
    return quantisable_module(module) or isinstance(module, (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention))


@dataclass(frozen=True)
class _Form:
    """A tensor without its contents: on the meta device, where it holds no memory, and the device it was on."""

    meta: torch.Tensor
    device: torch.device


def _forms(arguments: Any) -> Any:
    """The arguments with forms in place of tensors; one tensor given twice (self-attention) stays one."""
    seen: dict[int, _Form] = {}

    def form(x: torch.Tensor) -> _Form:
        return seen.setdefault(id(x), _Form(torch.empty_like(x, device="meta"), x.device))

    return pytree.tree_map_only(torch.Tensor, form, arguments)


def _filled(arguments: Any) -> Any:
    """Arguments of zeros, which are valid indices as well."""
    seen: dict[int, torch.Tensor] = {}

    def fill(x: _Form) -> torch.Tensor:
        return seen.setdefault(id(x), torch.zeros_like(x.meta, device=x.device))

    return pytree.tree_map_only(_Form, fill, arguments)
