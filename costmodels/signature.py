"""The shape of one operation, as a look-up table and an analytic model see it.

A :class:`Signature` is made from a traced layer or from a row of a table; two that are equal cost the same on a device,
as far as their shape decides. It says how many operations and how many elements are involved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from ..costs import FloatArray
from ..graph import Layer

Op = Literal["conv", "depthwise", "conv_transpose", "linear", "embedding", "matmul", "attention", "recurrent"]
OPS: tuple[str, ...] = get_args(Op)


@dataclass(frozen=True)
class Signature:
    """Operation and shape; extents that do not apply are 1 (sizes) or 0 (padding).

    Attributes:
        op: one of :data:`OPS`. ``depthwise``: one input channel per group.
        batch: samples of one call.
        in_h, in_w, kernel_h ... groups: of convolutions; a one-dimensional convolution has height 1.
        tokens: rows of a linear layer (or of a product) beyond the batch.
    """

    op: str
    batch: int
    in_channels: int
    out_channels: int
    in_h: int = 1
    in_w: int = 1
    kernel_h: int = 1
    kernel_w: int = 1
    stride_h: int = 1
    stride_w: int = 1
    pad_h: int = 0
    pad_w: int = 0
    dilation_h: int = 1
    dilation_w: int = 1
    groups: int = 1
    tokens: int = 1

    @property
    def spatial(self) -> bool:
        """Whether height, kernel, stride and so on mean something."""
        return self.op in ("conv", "depthwise", "conv_transpose")

    @property
    def out_h(self) -> int:
        """Rows of the output, floored."""
        return _extent(self.op, self.in_h, self.kernel_h, self.stride_h, self.pad_h, self.dilation_h)

    @property
    def out_w(self) -> int:
        """Columns of the output, floored."""
        return _extent(self.op, self.in_w, self.kernel_w, self.stride_w, self.pad_w, self.dilation_w)

    def __str__(self) -> str:
        if not self.spatial:
            return f"{self.op} {self.in_channels}->{self.out_channels}, batch {self.batch}, {self.tokens} tokens"
        groups = f", {self.groups} groups" if self.groups > 1 else ""
        return (
            f"{self.op} {self.in_channels}->{self.out_channels} {self.kernel_h}x{self.kernel_w} stride {self.stride_h}x"
            f"{self.stride_w} at {self.in_h}x{self.in_w}, batch {self.batch}{groups}"
        )


def _extent(op: str, size: int, kernel: int, stride: int, pad: int, dilation: int) -> int:
    span = dilation * (kernel - 1)
    if op == "conv_transpose":
        return (size - 1) * stride - 2 * pad + span + 1
    return (size + 2 * pad - span - 1) // stride + 1


def signature_of(layer: Layer) -> Signature | None:
    """The signature of a traced layer; None for what no table can describe (three-dimensional convolutions)."""
    if layer.kind == "conv":
        return _convolution(layer)
    if layer.kind == "linear":
        rows, batch = math.prod(layer.input_shape[:-1]), layer.input_shape[0] if len(layer.input_shape) > 1 else 1
        return Signature("linear", batch, layer.weight_shape[1], layer.weight_shape[0], tokens=rows // batch if batch else 1)
    batch = layer.input_shape[0] if layer.input_shape else 1
    last = layer.output_shape[-1] if layer.output_shape else 1
    tokens = math.prod(layer.output_shape[:-1]) // batch if batch else 1
    inner = layer.weight_shape[0] if layer.kind == "embedding" and layer.weight_shape else layer.input_shape[-1]
    return Signature(layer.kind, batch, inner, last, tokens=max(1, tokens))


def _convolution(layer: Layer) -> Signature | None:
    dims = len(layer.kernel)
    if not 1 <= dims <= 2:
        return None
    unbatched = len(layer.input_shape) == dims + 1
    batch, channels = (1, layer.input_shape[0]) if unbatched else layer.input_shape[:2]
    outputs = layer.output_shape[0 if unbatched else 1]

    def two(values: Sequence[int], missing: int) -> tuple[int, int]:
        values = tuple(values) or (missing,) * dims
        return (missing, values[0]) if dims == 1 else (values[0], values[1])

    op = "conv_transpose" if layer.transposed else "depthwise" if layer.depthwise else "conv"
    return Signature(
        op, batch, channels, outputs, *two(layer.input_shape[-dims:], 1), *two(layer.kernel, 1), *two(layer.stride, 1),
        *two(layer.padding, 0), *two(layer.dilation, 1), layer.groups,
    )  # fmt: skip


@dataclass(frozen=True)
class Work:
    """What an analytic model needs to know of N operations, (N,) arrays of numbers.

    Attributes:
        ops: N operation names.
        macs: multiply-accumulates.
        weights, inputs, outputs: elements read and written once each. The second operand of a product of two activations
            counts as ``inputs``; of an embedding only the rows that are looked up count as ``weights``.
        out_channels, in_channels_per_group, positions: per output element: ``macs = positions · out_channels ·
            in_channels_per_group · kernel``, with ``positions`` = batch · rows · columns of the output.
        kernel: elements of the kernel.
    """

    ops: tuple[str, ...]
    macs: FloatArray
    weights: FloatArray
    inputs: FloatArray
    outputs: FloatArray
    out_channels: FloatArray
    in_channels_per_group: FloatArray
    positions: FloatArray
    kernel: FloatArray

    @classmethod
    def of(cls, rows: Sequence[tuple[str, Sequence[float]]]) -> Work:
        """From (operation, the eight numbers in the order of the attributes)."""
        numbers = np.array([row for _, row in rows], np.float64).reshape(len(rows), 8)
        return cls(tuple(op for op, _ in rows), *numbers.T)

    def __len__(self) -> int:
        return len(self.ops)

    @cached_property
    def op_array(self) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
        """(N,) operation names."""
        return np.array(self.ops, np.str_)


def work_of_layer(layer: Layer) -> tuple[str, tuple[float, ...]]:
    """One row of :meth:`Work.of`, from the counts of the trace."""
    signature = signature_of(layer)
    op = signature.op if signature else "conv"
    inputs, outputs = math.prod(layer.input_shape), math.prod(layer.output_shape)
    weights = layer.params
    if layer.kind == "embedding":
        inputs, weights = 0, outputs
    elif layer.kind in ("matmul", "attention"):
        # macs / rows of the first operand: the other operand of a product; keys and values of an attention
        inputs += layer.macs // (layer.input_shape[-2] if len(layer.input_shape) > 1 else 1)
    out_channels, per_group, kernel = 1.0, 1.0, 1.0
    if layer.kind == "conv":
        unbatched = len(layer.input_shape) == len(layer.kernel) + 1
        channels = layer.input_shape[0 if unbatched else 1]
        out_channels, per_group = float(layer.output_shape[0 if unbatched else 1]), channels / layer.groups
        kernel = float(math.prod(layer.kernel))
    elif layer.macs:
        out_channels = float(layer.output_shape[-1]) if layer.output_shape else 1.0
        # whole products: macs = positions · out_channels · inner
        per_group = layer.macs / outputs if outputs else float(layer.macs)
    positions = layer.macs / (out_channels * per_group * kernel) if layer.macs else 0.0
    return op, (layer.macs, weights, inputs, outputs, out_channels, per_group, positions, kernel)


def work_of_signature(signature: Signature) -> tuple[str, tuple[float, ...]]:
    """One row of :meth:`Work.of`, for a row of a table."""
    s = signature
    inner, kernel = s.in_channels / s.groups, float(s.kernel_h * s.kernel_w)
    if s.op == "embedding":
        looked_up = s.batch * s.tokens * s.out_channels
        return s.op, (0.0, looked_up, 0.0, looked_up, 1.0, 1.0, 0.0, 1.0)
    positions = float(s.batch * s.out_h * s.out_w if s.spatial else s.batch * s.tokens)
    counted = s.batch * s.in_h * s.in_w if s.op == "conv_transpose" else positions
    macs = counted * s.out_channels * inner * kernel
    inputs = s.batch * s.in_channels * (s.in_h * s.in_w if s.spatial else s.tokens)
    weights = s.out_channels * inner * kernel
    return s.op, (macs, weights, inputs, positions * s.out_channels, s.out_channels, inner, counted, kernel)
