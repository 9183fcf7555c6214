"""ONNX models of one operation, with random weights: the FP32 form, and the one that ONNX Runtime runs in INT8."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ...formats import LayerFormat
from ..signature import Signature
from .extents import Extents, extents
from .kernel import INT8, NoKernel

IR, OPSET, MICROSOFT = 10, 21, "com.microsoft"  # that ONNX Runtime 1.20 reads
Arrays = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class OneNode:
    """A model with the input ``x`` and the output ``y``, and an array to run it on."""

    model: ModelProto
    x: Any


def one_node(signature: Signature, widths: LayerFormat) -> OneNode:
    """The operation at FP32 or INT8; a linear layer's batch and tokens are the rows of one product.

    Raises:
        NoKernel: ONNX has no such operation in INT8.
    """
    random, e = np.random.default_rng(0), extents(signature)
    int8 = widths == INT8
    if signature.op == "embedding":
        table = random.integers(-128, 128, e.weight).astype(np.int8) if int8 else random.standard_normal(e.weight, np.float32)
        node = helper.make_node("Gather", ["w", "x"], ["y"])
        return _model(node, random.integers(0, signature.in_channels, e.input), table.dtype, {"w": table})
    if int8:
        return _quantised(signature, e, random)
    x, w = random.standard_normal(e.input, np.float32), random.standard_normal(e.weight, np.float32)
    weights = {"w": w, "b": random.standard_normal(signature.out_channels, np.float32)}
    if signature.op == "linear":
        return _model(helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1), x.reshape(-1, x.shape[-1]), x.dtype, weights)
    op = "ConvTranspose" if signature.op == "conv_transpose" else "Conv"
    return _model(helper.make_node(op, ["x", "w", "b"], ["y"], **_attributes(signature, e)), x, x.dtype, weights)


def _quantised(signature: Signature, e: Extents, random: np.random.Generator) -> OneNode:
    """uint8 activations per tensor, int8 weights per channel, int32 bias, uint8 results."""
    if signature.op == "conv_transpose":
        raise NoKernel("ONNX has no transposed convolution in INT8")
    out = signature.out_channels
    x = random.integers(0, 256, e.input).astype(np.uint8)
    w = random.integers(-127, 128, e.weight).astype(np.int8)
    operands = {
        "xs": np.float32(0.05), "xz": np.uint8(128), "w": w, "ws": np.full(out, 0.02, np.float32), "wz": np.zeros(out, np.int8),
        "ys": np.float32(0.5), "yz": np.uint8(128), "b": random.integers(-1000, 1000, out).astype(np.int32),
    }  # fmt: skip
    if signature.op == "linear":
        names = ["x", "xs", "xz", "w", "ws", "wz", "b", "ys", "yz"]
        return _model(helper.make_node("QGemm", names, ["y"], domain=MICROSOFT, transB=1), x.reshape(-1, x.shape[-1]), x.dtype, operands)
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    return _model(helper.make_node("QLinearConv", names, ["y"], **_attributes(signature, e)), x, x.dtype, operands)


def _attributes(signature: Signature, e: Extents) -> dict[str, Any]:
    return {
        "kernel_shape": e.kernel,
        "strides": e.stride,
        "pads": [*e.padding, *e.padding],
        "dilations": e.dilation,
        "group": signature.groups,
    }


def _model(node: NodeProto, x: Any, result: Any, weights: Arrays) -> OneNode:
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    return OneNode(
        wrapped(node, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape, helper.np_dtype_to_tensor_dtype(np.dtype(result)), held), x
    )


def wrapped(node: NodeProto, kind: int, shape: tuple[int, ...], result: int, weights: list[TensorProto], **versions: int) -> ModelProto:
    """A model of one node.

    Args:
        kind, result: element types of its first and only variable input, and of its output. shape: of the input.
        weights: its other inputs. versions: of operator sets beyond the usual ones, by domain.
    """
    variable = next(name for name in node.input if name and name not in {w.name for w in weights})
    inputs = [helper.make_tensor_value_info(variable, kind, shape)]
    outputs = [helper.make_tensor_value_info(node.output[0], result, None)]
    sets = [helper.make_opsetid(domain, version) for domain, version in {"": OPSET, MICROSOFT: 1, **versions}.items()]
    return helper.make_model(helper.make_graph([node], "one", inputs, outputs, weights), opset_imports=sets, ir_version=IR)
