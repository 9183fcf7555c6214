"""The shape of one operation, as a look-up table and an analytic model see it.

A :class:`Signature` is made from a traced layer or from a row of a table; two that are equal cost the same on a device,
as far as their shape decides. It says how many operations and how many elements are involved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

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
        length: keys of an attention; multiply-accumulates per output element of a recurrent layer.
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
    length: int = 1

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
        if self.length > 1:
            return f"{self.op} {self.in_channels}->{self.out_channels}, batch {self.batch}, {self.tokens} tokens, length {self.length}"
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
    """The signature of a traced layer; None for what no table can describe (three-dimensional convolutions, complex numbers)."""
    if layer.numbers > 1:
        return None
    if layer.kind == "conv":
        return _convolution(layer)
    if layer.kind == "linear":
        rows, batch = math.prod(layer.input_shape[:-1]), layer.input_shape[0] if len(layer.input_shape) > 1 else 1
        return Signature("linear", batch, layer.weight_shape[1], layer.weight_shape[0], tokens=rows // batch if batch else 1)
    batch = layer.input_shape[0] if layer.input_shape else 1
    last = layer.output_shape[-1] if layer.output_shape else 1
    tokens = math.prod(layer.output_shape[:-1]) // batch if batch else 1
    inner = layer.weight_shape[0] if layer.kind == "embedding" and layer.weight_shape else layer.input_shape[-1]
    length = 1
    if layer.kind == "attention":
        length = layer.other_shape[-2] if layer.other_shape else max(1, layer.macs // max(1, 2 * math.prod(layer.output_shape)))
    elif layer.kind == "recurrent":
        length = max(1, layer.macs // max(1, math.prod(layer.output_shape)))
    return Signature(layer.kind, batch, inner, last, tokens=max(1, tokens), length=length)


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


class OpWork(NamedTuple):
    """What an analytic model needs to know of one operation.

    ``macs = batch · out_h · out_w · out_channels · in_channels_per_group · kernel_h · kernel_w``: of a transposed convolution with the
    extent of its input, of a linear layer with all rows in ``batch``, of a three-dimensional convolution with depth folded into height.

    Attributes:
        op: its name.
        weights, inputs, outputs: elements read and written once each. The second operand of a product of two activations counts as
            ``inputs``; of an embedding only the rows that are looked up count as ``weights``.
        out_channels: over all groups.
    """

    op: str
    macs: float
    weights: float
    inputs: float
    outputs: float
    batch: float = 1.0
    out_h: float = 1.0
    out_w: float = 1.0
    out_channels: float = 1.0
    in_channels_per_group: float = 1.0
    groups: float = 1.0
    kernel_h: float = 1.0
    kernel_w: float = 1.0
    stride_h: float = 1.0
    stride_w: float = 1.0


@dataclass(frozen=True)
class Work:
    """N operations: the numbers of :class:`OpWork` as (N,) arrays."""

    ops: tuple[str, ...]
    macs: FloatArray
    weights: FloatArray
    inputs: FloatArray
    outputs: FloatArray
    batch: FloatArray
    out_h: FloatArray
    out_w: FloatArray
    out_channels: FloatArray
    in_channels_per_group: FloatArray
    groups: FloatArray
    kernel_h: FloatArray
    kernel_w: FloatArray
    stride_h: FloatArray
    stride_w: FloatArray

    @classmethod
    def of(cls, rows: Sequence[OpWork]) -> Work:
        """From one row per operation."""
        numbers = np.array([row[1:] for row in rows], np.float64).reshape(len(rows), len(OpWork._fields) - 1)
        return cls(tuple(row.op for row in rows), *numbers.T)

    def __len__(self) -> int:
        return len(self.ops)

    def __getitem__(self, i: int) -> OpWork:
        return OpWork(self.ops[i], *(float(getattr(self, name)[i]) for name in OpWork._fields[1:]))

    @property
    def positions(self) -> FloatArray:
        """(N,) batch · rows · columns of the output."""
        return self.batch * self.out_h * self.out_w

    @property
    def kernel(self) -> FloatArray:
        """(N,) elements of the kernel."""
        return self.kernel_h * self.kernel_w

    @cached_property
    def op_array(self) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
        """(N,) operation names."""
        return np.array(self.ops, np.str_)


def work_of_layer(layer: Layer) -> OpWork:
    """From the counts of the trace."""
    signature = signature_of(layer)
    inputs, outputs = layer.numbers * math.prod(layer.input_shape), layer.numbers * math.prod(layer.output_shape)
    if signature is not None and layer.kind == "embedding":
        return work_of_signature(signature)
    if signature is not None and layer.kind in ("conv", "linear"):
        return work_of_signature(signature)._replace(macs=layer.macs, inputs=inputs, outputs=outputs)
    if layer.kind == "conv" and layer.numbers == 1:  # three-dimensional
        unbatched = len(layer.input_shape) == len(layer.kernel) + 1
        batch, channels = (1, layer.input_shape[0]) if unbatched else layer.input_shape[:2]
        counted = layer.input_shape if layer.transposed else layer.output_shape
        return OpWork(
            "conv", layer.macs, layer.params, inputs, outputs, batch, math.prod(counted[-3:-1]), counted[-1],
            layer.output_shape[0 if unbatched else 1], channels / layer.groups, layer.groups,
            math.prod(layer.kernel[:-1]), layer.kernel[-1], math.prod(layer.stride[:-1]) or 1, layer.stride[-1] if layer.stride else 1,
        )  # fmt: skip
    if layer.kind == "attention" and layer.other_shape:  # keys, and values of the output's width
        inputs += math.prod(layer.other_shape[:-1]) * (layer.other_shape[-1] + layer.output_shape[-1])
    elif layer.kind in ("matmul", "attention"):  # the other factor: macs over the rows of the first
        rows = layer.input_shape[-2] if len(layer.input_shape) > 1 else 1
        inputs += math.prod(layer.other_shape) if layer.other_shape else layer.macs // rows
    if not layer.macs:
        return OpWork(signature.op if signature else layer.kind, 0.0, layer.params, inputs, outputs)
    out_channels = layer.output_shape[-1] if layer.output_shape else 1
    inner = layer.macs / outputs if outputs else layer.macs  # whole products: macs = rows · out_channels · inner
    return OpWork(
        signature.op if signature else layer.kind, layer.macs, layer.params, inputs, outputs, layer.macs / (out_channels * inner),
        out_channels=out_channels, in_channels_per_group=inner,
    )  # fmt: skip


def work_of_signature(signature: Signature) -> OpWork:
    """For a row of a table."""
    s = signature
    inner, kernel = s.in_channels / s.groups, s.kernel_h * s.kernel_w
    if s.op == "embedding":
        looked_up = s.batch * s.tokens * s.out_channels
        return OpWork(s.op, 0.0, looked_up, 0.0, looked_up)
    weights = s.out_channels * inner * kernel
    if not s.spatial:
        rows = s.batch * s.tokens
        return OpWork(
            s.op, rows * weights, weights, rows * s.in_channels, rows * s.out_channels, rows,
            out_channels=s.out_channels, in_channels_per_group=inner,
        )  # fmt: skip
    counted = (s.in_h, s.in_w) if s.op == "conv_transpose" else (s.out_h, s.out_w)
    return OpWork(
        s.op, s.batch * math.prod(counted) * weights, weights, s.batch * s.in_channels * s.in_h * s.in_w,
        s.batch * s.out_channels * s.out_h * s.out_w, s.batch, *counted, s.out_channels, inner, s.groups, s.kernel_h, s.kernel_w,
        s.stride_h, s.stride_w,
    )  # fmt: skip
