"""Counting rules: from a node of the traced graph to what a layer needs. One rule per family of operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any

from torch.fx import Node

from ..graph import Kind
from .macs import Contraction, attention_macs, chained_macs, conv_macs, einsum_labels
from .ops import arguments, base_name, words

IsConstant = Callable[[Node], bool]


class NoRule(Exception):
    """An operation that holds products which no rule counts; the text says why."""


@dataclass(frozen=True)
class Draft:
    """A layer before it has a name. ``weight`` and ``bias`` are constant operands; ``input`` is the quantised one."""

    kind: Kind
    op: str
    macs: int
    input: Node
    output_shape: tuple[int, ...]
    weight: Node | None = None
    weight_shape: tuple[int, ...] = ()
    bias: Node | None = None
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    transposed: bool = False
    other_shape: tuple[int, ...] = ()


def shape(node: Node) -> tuple[int, ...]:
    """The shape of a node's (first) value.

    Raises:
        NoRule: the shape depends on the data.
    """
    value = node.meta["val"]
    value = value[0] if isinstance(value, (tuple, list)) else value
    try:
        return tuple(int(extent) for extent in value.shape)
    except Exception as error:  # torch raises several private types here
        raise NoRule(f"the shape {tuple(value.shape)} depends on the data") from error


def stored(node: Node) -> tuple[int, ...]:
    """The shape without extents that are only repeated by a stride of 0 (expanded weights)."""
    strides = node.meta["val"].stride()
    return tuple(1 if stride == 0 else extent for extent, stride in zip(shape(node), strides, strict=True))


def numbers_in(node: Node) -> int:
    """Real numbers in an element of a node's (first) value: 2 of complex ones, whose product with another has as many real ones each."""
    value = node.meta["val"]
    return 2 if (value[0] if isinstance(value, (tuple, list)) else value).is_complex() else 1


def _contraction(node: Node, left: Node, right: Node, labels: tuple[str, str, str], const: IsConstant, op: str) -> Draft | None:
    first, second, output = labels
    product = Contraction(first, shape(left), second, shape(right), output)
    if not product.contracted:
        return None
    given = arguments(node)
    bias = given.get("self" if op == "addmm" else "bias")
    bias = bias if isinstance(bias, Node) and const(bias) else None
    macs = product.macs * numbers_in(left) * numbers_in(right)
    if const(right):
        weight, groups = product.weight(second, stored(right), first)
        return Draft("linear", op, macs, left, shape(node), right, weight, bias, groups=groups)
    if const(left):
        weight, groups = product.weight(first, stored(left), second)
        return Draft("linear", op, macs, right, shape(node), left, weight, bias, groups=groups)
    return Draft("matmul", "matmul" if op != "einsum" else op, macs, left, shape(node), other_shape=shape(right))


def _matmul_labels(left: int, right: int) -> tuple[str, str, str]:
    batch = "abcdefgh"[: max(left, right, 2) - 2]
    first = batch[len(batch) - max(left - 2, 0) :] + ("m" if left > 1 else "") + "k"
    second = batch[len(batch) - max(right - 2, 0) :] + "k" + ("n" if right > 1 else "")
    return first, second, batch + ("m" if left > 1 else "") + ("n" if right > 1 else "")


def _product(first: str, second: str) -> Callable[[Node, IsConstant], Draft | None]:
    """mm, bmm, matmul, mv, dot and the forms that add to them: both operands by the names of their schema."""

    def rule(node: Node, const: IsConstant) -> Draft | None:
        given = arguments(node)
        left, right = given[first], given[second]
        if const(left) and const(right):
            return None
        labels = _matmul_labels(len(shape(left)), len(shape(right)))
        return _contraction(node, left, right, labels, const, "matmul" if first == "self" else "addmm")

    return rule


def _linear(node: Node, const: IsConstant) -> Draft | None:
    given = arguments(node)
    left, right = given["input"], given["weight"]
    batch = "abcdefgh"[: len(shape(left)) - 1]
    out = "n" if len(shape(right)) == 2 else ""
    return _contraction(node, left, right, (batch + "k", out + "k", batch + out), const, "linear")


def _tensordot(node: Node, const: IsConstant) -> Draft | None:
    given = arguments(node)
    left, right = given["self"], given["other"]
    first = [chr(ord("a") + i) for i in range(len(shape(left)))]
    second = [chr(ord("A") + i) for i in range(len(shape(right)))]
    for i, j in zip(given["dims_self"], given["dims_other"], strict=True):
        second[j] = first[i]
    output = "".join(c for c in (*first, *second) if not (c in first and c in second))
    if const(left) and const(right):
        return None
    return _contraction(node, left, right, ("".join(first), "".join(second), output), const, "tensordot")


def _einsum(node: Node, const: IsConstant) -> Draft | None:
    given = arguments(node)
    operands = given["tensors"]
    if all(const(operand) for operand in operands):
        return None
    labels, output = einsum_labels(given["equation"], [len(shape(operand)) for operand in operands])
    if len(operands) == 1:
        return None
    if len(operands) > 2:
        extents = [shape(operand) for operand in operands]
        macs = chained_macs(labels, extents, output, given["path"])
        macs *= min(4, prod(numbers_in(operand) for operand in operands))
        first = next(operand for operand in operands if not const(operand))
        weight = next((operand for operand in operands if const(operand)), None)
        if weight is None:
            return Draft("matmul", "einsum", macs, first, shape(node))
        return Draft("linear", "einsum", macs, first, shape(node), weight, stored(weight))
    return _contraction(node, operands[0], operands[1], (labels[0], labels[1], output), const, "einsum")


def _conv(node: Node, const: IsConstant) -> Draft | None:
    given = arguments(node)
    image, weight = given["input"], given["weight"]
    transposed = bool(given.get("transposed", "transpose" in base_name(node)))
    kernel = shape(weight)
    macs = conv_macs(shape(image), shape(node), kernel, transposed) * numbers_in(image) * numbers_in(weight)
    if not const(weight):
        return Draft("matmul", "conv", macs, image, shape(node))
    rank = len(kernel) - 2
    dilation = _spatial(given["dilation"], rank)
    padding = given["padding"]
    if padding == "same":  # an even kernel pads one more at the end, as PyTorch does
        padding = [d * (k - 1) // 2 for d, k in zip(dilation, kernel[2:], strict=True)]
    elif padding == "valid":
        padding = [0]
    return Draft(
        "conv",
        "conv",
        macs,
        image,
        shape(node),
        weight,
        kernel,
        given["bias"] if isinstance(given["bias"], Node) and const(given["bias"]) else None,
        _spatial(given["stride"], rank),
        _spatial(padding, rank),
        dilation,
        int(given["groups"]),
        transposed,
    )


def _spatial(value: Any, rank: int) -> tuple[int, ...]:
    values = [value] if isinstance(value, int) else list(value)
    return tuple(int(v) for v in (values * rank if len(values) == 1 else values))


def _embedding(node: Node, const: IsConstant) -> Draft | None:
    given = arguments(node)
    if not const(given["weight"]):
        return None
    return Draft("embedding", "embedding", 0, given["indices"], shape(node), given["weight"], shape(given["weight"]))


def _attention(node: Node, const: IsConstant) -> Draft | None:
    given = arguments(node)
    query, key = given["query"], given["key"]
    first = next((n for n in (query, key, given["value"]) if not const(n)), None)
    if first is None:
        return None
    return Draft(
        "attention", "attention", attention_macs(shape(query), shape(key), shape(node)), first, shape(node), other_shape=shape(key)
    )


_PRODUCTS = {
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "matmul": ("self", "other"),
    "mv": ("self", "vec"),
    "dot": ("self", "tensor"),
    "vdot": ("self", "other"),
    "addmm": ("mat1", "mat2"),
    "addmv": ("mat", "vec"),
    "baddbmm": ("batch1", "batch2"),
    "addbmm": ("batch1", "batch2"),
}
CONVOLUTIONS = words("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution _convolution")

RULES: Mapping[str, Callable[[Node, IsConstant], Draft | None]] = MappingProxyType(
    {
        **{name: _product(*operands) for name, operands in _PRODUCTS.items()},
        **dict.fromkeys(CONVOLUTIONS, _conv),
        "linear": _linear,
        "tensordot": _tensordot,
        "einsum": _einsum,
        "embedding": _embedding,
        "embedding_bag": _embedding,
        "scaled_dot_product_attention": _attention,
    }
)
"""Rule by the base name of the ATen operation. None: no products here (element-wise, or of constants only)."""
