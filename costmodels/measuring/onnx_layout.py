"""ONNX Runtime's own layouts: the operation in the form in which it stands inside an optimised network.

Its optimiser gives convolutions another layout (blocked channels in FP32, channels last in INT8), and puts conversions around them. Inside
a network those cancel from layer to layer; around a single operation they would stay, and cost as much as it. So the operation is
optimised, and then taken out from between its conversions. Its input has the layout that the layer before it leaves.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, NodeProto, helper

from .onnx_models import OneNode, wrapped

CONVERSIONS = {"ReorderInput", "ReorderOutput", "Transpose"}
BLOCKED = "com.microsoft.nchwc"


def in_own_layout(one: OneNode, options: ort.SessionOptions) -> OneNode:
    """The same operation as the optimiser leaves it, without the conversions around it; unchanged where it puts none there."""
    optimised = _optimised(one.model, options)
    inner = [node for node in optimised.graph.node if node.op_type not in CONVERSIONS]
    if len(inner) != 1 or len(optimised.graph.node) == 1:
        return one
    node, held = inner[0], {tensor.name: tensor for tensor in optimised.graph.initializer}
    before = next((other for other in optimised.graph.node if other.output[0] == node.input[0]), None)
    x = one.x if before is None else _converted(one.x, before, node, held)
    weights = [held[name] for name in node.input if name in held]
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    return OneNode(wrapped(node, kind, x.shape, kind, weights, **({BLOCKED: 1} if node.domain == BLOCKED else {})), x)


def _optimised(model: ModelProto, options: ort.SessionOptions) -> ModelProto:
    with tempfile.TemporaryDirectory(prefix="hwdse-") as folder:
        path = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(path)


def _converted(x: Any, conversion: NodeProto, node: NodeProto, held: dict[str, Any]) -> Any:
    """The input after the conversion. In blocks only its size matters, its channels rounded up to whole ones: its elements are random."""
    if conversion.op_type == "Transpose":
        return np.ascontiguousarray(np.transpose(x, next(list(a.ints) for a in conversion.attribute if a.name == "perm")))
    weight = held[node.input[1]].dims
    groups = next((a.i for a in node.attribute if a.name == "group"), 1)
    channels = weight[1] if groups == 1 else weight[0]
    blocked = np.zeros((x.shape[0], channels, *x.shape[2:]), x.dtype)
    blocked[:, : x.shape[1]] = x
    return blocked
