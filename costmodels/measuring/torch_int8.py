"""PyTorch's quantised operations: quint8 activations per tensor, qint8 weights per channel, quint8 results.

They have no way back to FP32: an operation without an INT8 kernel is an error there. The type of the result is checked all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..signature import Signature
from .extents import Extents, extents
from .kernel import Kernel, NoKernel

_SCALE, _ZERO = 0.05, 128  # of activations; times do not depend on them


def kernel(signature: Signature) -> Kernel:
    """The operation in INT8 on the CPU.

    Raises:
        NoKernel: this build, its engine or this processor has none.
    """
    engine = torch.backends.quantized.engine
    if engine in ("none", ""):
        raise NoKernel("this build of PyTorch has no INT8 kernels")
    try:
        call, name = _embedding(signature) if signature.op == "embedding" else _product(signature)
        result = call()
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        raise NoKernel(f"PyTorch has no INT8 kernel for it ({engine}): {(str(error) or 'no message').splitlines()[0][:160]}") from None
    if signature.op == "embedding":
        return Kernel(call, f"{name} (8-bit rows -> float32)", 32)
    if result.dtype != torch.quint8:
        raise NoKernel(f"PyTorch's {name} gave {result.dtype}, no INT8")
    return Kernel(call, f"{name} (quint8 -> quint8, {engine})", 8)


def _embedding(signature: Signature) -> tuple[Callable[[], Tensor], str]:
    """Rows are stored at 8 bits and returned as FP32: torch has no lookup that leaves them at 8."""
    e = extents(signature)
    rows, width = e.weight
    scales, zeros = torch.full((rows,), 0.02), torch.zeros(rows)
    table = torch.quantize_per_channel(torch.randn(rows, width), scales, zeros, 0, torch.quint8)
    packed = torch.ops.quantized.embedding_bag_prepack(table)
    indices, look_up = torch.randint(rows, e.input), torch.ops.quantized.embedding_byte
    return lambda: look_up(packed, indices), "quantized::embedding_byte"


def _product(signature: Signature) -> tuple[Callable[[], Tensor], str]:
    s, e, ops = signature, extents(signature), torch.ops.quantized
    x, bias = _activation(e), torch.randn(s.out_channels)
    if s.op == "linear":
        packed, linear = ops.linear_prepack(_weight(e, 0), bias), ops.linear
        return lambda: linear(x, packed, _SCALE, _ZERO), "quantized::linear"
    dims = len(e.stride)
    if s.op == "conv_transpose":
        name, nothing = f"conv_transpose{dims}d", [0] * dims
        # per tensor: the engines refuse scales per channel for a transposed kernel
        packed = getattr(ops, f"{name}_prepack")(_weight(e, None), bias, e.stride, e.padding, nothing, e.dilation, s.groups)
    else:
        name = f"conv{dims}d"
        packed = getattr(ops, f"{name}_prepack")(_weight(e, 0), bias, e.stride, e.padding, e.dilation, s.groups)
    convolve: Any = getattr(ops, name)
    return lambda: convolve(x, packed, _SCALE, _ZERO), f"quantized::{name}"


def _activation(e: Extents) -> Tensor:
    x = torch.quantize_per_tensor(torch.randn(e.input), _SCALE, _ZERO, torch.quint8)
    # as the quantised convolution before it leaves it
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _weight(e: Extents, axis: int | None) -> Tensor:
    w = torch.randn(e.weight)
    if axis is None:
        return torch.quantize_per_tensor(w, 0.02, 0, torch.qint8)
    channels = e.weight[axis]
    return torch.quantize_per_channel(w, torch.full((channels,), 0.02), torch.zeros(channels, dtype=torch.long), axis, torch.qint8)
