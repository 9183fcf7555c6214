"""Writes digits_int8.json, a trace in ONNX Runtime's format of the task digits in INT8. The chip does not exist: its times are made up.

Nodes, names and shapes are those of ONNX Runtime 1.31 on the exported and quantised model (QDQ, uint8 activations, int8 weights).
The times are arithmetic at 16 MACs a cycle and 200 MHz, or weights and activations at 100 MB/s, whichever takes longer, with a few
microseconds of start and a little scatter from run to run. Yours comes from ``SessionOptions.enable_profiling``.

python examples/profiles/make.py
"""

from __future__ import annotations

import json
import random
from pathlib import Path

RUNS = 5  # the first is a warm-up
QUANTISED = [{"float": []}, {"uint8": []}]

# name, operation, shapes of input and output (height and width before channels, as quantised kernels run), bytes of weights, µs
NODES = (
    ("x_QuantizeLinear", "QuantizeLinear", [1, 1, 8, 8], [1, 1, 8, 8], 5, 6),
    ("Transpose", "Transpose", [1, 1, 8, 8], [1, 8, 8, 1], 0, 4),
    ("/stem/Conv_token_1", "QLinearConv", [1, 8, 8, 1], [1, 8, 8, 20], 260, 19),
    ("/block1/conv1/Conv_token_4", "QLinearConv", [1, 8, 8, 20], [1, 8, 8, 20], 3680, 104),
    ("/block1/conv2/Conv_token_7", "QLinearConv", [1, 8, 8, 20], [1, 8, 8, 20], 3680, 104),
    ("/block1/Add", "QLinearAdd", [1, 8, 8, 20], [1, 8, 8, 20], 15, 15),
    ("/depthwise/Conv_token_11", "QLinearConv", [1, 8, 8, 20], [1, 4, 4, 20], 260, 27),
    ("/pointwise/Conv_token_14", "QLinearConv", [1, 4, 4, 20], [1, 4, 4, 36], 864, 22),
    ("/block2/conv1/Conv_token_17", "QLinearConv", [1, 4, 4, 36], [1, 4, 4, 36], 11808, 136),
    ("/block2/conv2/Conv_token_20", "QLinearConv", [1, 4, 4, 36], [1, 4, 4, 36], 11808, 136),
    ("/block2/Add", "QLinearAdd", [1, 4, 4, 36], [1, 4, 4, 36], 15, 9),
    ("/ReduceMean", "ReduceMean", [1, 4, 4, 36], [1, 36], 0, 6),
    ("/head/Gemm", "QGemm", [1, 36], [1, 10], 400, 9),
    ("69_DequantizeLinear", "DequantizeLinear", [1, 10], [1, 10], 5, 4),
)


def trace() -> str:
    """The events, one a line."""
    scatter, now = random.Random(0), 900
    events = [_event("Session", "session_initialization", 3, 850, {})]
    for run in range(RUNS):
        start, nodes = now, []
        now += 8
        for index, (name, op, inputs, outputs, weights, us) in enumerate(NODES):
            took = us * 3 if run == 0 else us + round(us * scatter.uniform(-0.03, 0.03))
            args = {
                "op_name": op, "node_index": str(index), "provider": "MyChipExecutionProvider", "parameter_size": str(weights),
                "input_type_shape": [{"uint8": inputs}, *QUANTISED], "output_type_shape": [{"uint8": outputs}],
            }  # fmt: skip
            nodes.append(_event("Node", f"{name}_kernel_time", now, took, args))
            now += took + 2
        events += [*nodes, _event("Session", "model_run", start, now - start, {})]
        now += 20
    return "[\n" + ",\n".join(events) + "\n]\n"


def _event(category: str, name: str, start: int, took: int, args: dict[str, object]) -> str:
    return json.dumps({"cat": category, "pid": 1, "tid": 1, "dur": took, "ts": start, "ph": "X", "name": name, "args": args})


if __name__ == "__main__":
    (Path(__file__).parent / "digits_int8.json").write_text(trace())
