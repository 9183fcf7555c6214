"""Which kinds of layer a profiler's word for an operation can mean."""

from __future__ import annotations

import re

NOT_A_LAYER: frozenset[str] = frozenset()
# Kinds as in a table's ``op``. The first pattern that is found decides; a pooling that is run as a convolution is
# none, "convert" is no convolution, "QuantizeLinear" no layer.
_WORDS = (
    (r"pool", NOT_A_LAYER),
    (r"(convert|dequantize|quantizelinear|reformat)", NOT_A_LAYER),
    (r"conv.*transpose|transpose.*conv|deconv|backpropinput", frozenset({"conv_transpose"})),
    (r"depthwise|dwconv", frozenset({"depthwise"})),
    (r"^conv2d(bias)?$", frozenset({"conv"})),  # TFLite's and Vela's, which have another word for depthwise
    (r"^(cask|cuda|cudnn|cudadepthwise)?(gemm)?convolution", frozenset({"conv", "depthwise", "linear"})),  # TensorRT runs a Gemm as one
    (r"conv", frozenset({"conv", "depthwise"})),
    (r"attention", frozenset({"attention"})),
    (r"matmulnbits", frozenset({"linear"})),
    (r"matmul|matrixmultiply|einsum", frozenset({"linear", "matmul"})),
    (r"gemm|fullyconnected|^linear$|^dense$|addmm|innerproduct", frozenset({"linear"})),
    (r"lstm|^gru$|^rnn$|sequencernn", frozenset({"recurrent"})),
    (r"^embedding", frozenset({"embedding"})),
)


def kinds_of(op: str) -> frozenset[str] | None:
    """The kinds of counted layer that ``op`` can be; empty for what is no counted layer; None for an empty word."""
    word = re.sub(r"[^a-z0-9]", "", op.lower())
    if not word:
        return None
    return next((kinds for pattern, kinds in _WORDS if re.search(pattern, word)), NOT_A_LAYER)
