"""Files as the profilers write them, of the four layers of ``hwdse.testing.graphs.small_graph``: stem, body, skip, head."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

MACS = {"stem": 13_824, "body": 73_728, "skip": 8_192, "head": 160}
SHAPES: Mapping[str, tuple[list[int], list[int]]] = {
    "stem": ([1, 3, 8, 8], [1, 16, 8, 4]),
    "body": ([1, 16, 8, 4], [1, 16, 8, 4]),
    "skip": ([1, 16, 8, 4], [1, 16, 8, 4]),
    "head": ([1, 16], [1, 10]),
}
COUNTS = {"stem": 432, "body": 2304, "skip": 256, "head": 160}
KERNELS = {"stem": ([3, 3], [1, 2]), "body": ([3, 3], [1, 1]), "skip": ([1, 1], [1, 1]), "head": ([1, 1], [1, 1])}
ROWS = {
    "stem": "/stem/Conv + /relu/Relu",
    "body": "/body/Conv + PWN(/Sigmoid, /Mul) + /Add",
    "skip": "/skip/Conv",
    "head": "/head/Gemm",
}


def trt_profile(times: Mapping[str, float] | None = None, extra: Mapping[str, float] | None = None) -> str:
    given = times or {ROWS[name]: 0.01 * i for i, name in enumerate(ROWS, start=1)}
    copies = {"Reformatting CopyNode for Input Tensor 0 to /stem/Conv": 0.005} if extra is None else extra
    entries = [{"count": 200}] + [
        {"name": name, "timeMs": 200 * ms, "averageMs": ms * 1.1, "medianMs": ms, "percentage": 25.0}
        for name, ms in {**copies, **given}.items()
    ]
    return "[\n  " + "\n, ".join(json.dumps(entry) for entry in entries) + "\n]\n"


def trt_layers(type_: str = "Int8", batch: int = 1) -> str:
    def tensor(name: str, shape: list[int]) -> list[object]:
        return [{"Name": name, "Dimensions": [batch, *shape[1:]], "Format/Datatype": f"Row major linear {type_} format."}]

    layers = [
        {
            "Name": ROWS[name],
            "LayerType": "CaskConvolution",
            "Inputs": tensor("in", SHAPES[name][0] + [1, 1] * (name == "head")),
            "Outputs": tensor("out", SHAPES[name][1] + [1, 1] * (name == "head")),
            "ParameterType": "Convolution",
            "Kernel": KERNELS[name][0],
            "Stride": KERNELS[name][1],
            "Groups": 1,
            "Weights": {"Type": type_, "Count": COUNTS[name]},
        }
        for name in ROWS
    ]
    return json.dumps({"Layers": layers, "Bindings": []})


def ort_trace(runs: int = 4, quantised: bool = True, names: Mapping[str, str] | None = None) -> str:
    """Kernel times of run k: 10, 20, ... µs plus k; the first 100 times longer."""
    named = names or {
        "stem": "/stem/Conv_quant",
        "body": "fused /body/Conv",
        "skip": "/skip/Conv_token_3",
        "head": "/head/MatMul/MatMulAddFusion",
    }
    kind, events, now = "uint8" if quantised else "float", [], 0
    events.append({"cat": "Session", "pid": 7, "tid": 7, "dur": 900, "ts": 1, "ph": "X", "name": "session_initialization", "args": {}})
    for run in range(runs):
        now += 1000
        start = now
        nodes = [
            ("quant_in", "QuantizeLinear", "stem"),
            *((named[n], "Gemm" if n == "head" else "QLinearConv" if quantised else "Conv", n) for n in MACS),
        ]
        for index, (name, op, layer) in enumerate(nodes):
            dur = (10 * index + run) * (100 if run == 0 else 1)
            shape, out = SHAPES[layer]
            if op == "QLinearConv":  # runs in NHWC
                shape, out = ([s[0], *s[2:], s[1]] for s in (shape, out))
            args = {
                "op_name": op, "node_index": str(index), "provider": "CPUExecutionProvider", "parameter_size": "79",
                "input_type_shape": [{kind: shape}, {"float": []}], "output_type_shape": [{kind: out}],
            }  # fmt: skip
            events.append(
                {"cat": "Node", "pid": 7, "tid": 7, "dur": dur, "ts": now + 1, "ph": "X", "name": f"{name}_kernel_time", "args": args}
            )
            now += dur + 5
        events.append({"cat": "Session", "pid": 7, "tid": 7, "dur": now - start, "ts": start, "ph": "X", "name": "model_run", "args": {}})
    return "[\n" + ",\n".join(json.dumps(event) for event in events) + "\n]\n"


TFLITE = """Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
AllocateTensors, 0.04, 0.04, 100%, 100%, 0, 1, AllocateTensors/0

Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
CONV_2D, 0.11, 0.01, 10%, 10%, 0, 1, [net/stem/Relu6;net/stem/Conv2D]:0
CONV_2D, 0.11, 0.02, 20%, 30%, 0, 1, [net/body/Conv2D]:1
CONV_2D, 0.11, 0.03, 30%, 60%, 0, 1, [net/skip/BiasAdd]:2
ADD, 0.03, 0.005, 3%, 63%, 0, 1, [net/add]:3
FULLY_CONNECTED, 0.11, 0.04, 37%, 100%, 0, 1, [net/head/MatMul;net/head/BiasAdd]:4

============================== Top by Computation Time ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
CONV_2D, 0.11, 99, 30%, 60%, 0, 1, [net/skip/BiasAdd]:2

Number of nodes executed: 5
"""
VELA_HEADER = (
    "Original Operator,NNG Operator,Target,Staging Usage,Peak% (Staging),Op Cycles,Network% (cycles),NPU,SRAM AC,DRAM AC,OnFlash AC,"
    "OffFlash AC,MAC Count,Network% (MAC),Util% (MAC),Name"
)
VELA = f"""{VELA_HEADER}
Quantize,Passthrough,CPU,0,0.0,0,0.0,0,0,0,0,0,0,0.0,100,t0
Conv2D,Conv2D,NPU,455,43.5,1000,10.0,1000,16,0,0,4,13824,14.0,25.5,t1
Conv2D,Relu6,NPU,0,0.0,0,0.0,0,0,0,0,0,0,0.0,100,t1
Conv2D,Conv2D,NPU,455,43.5,4000,40.0,4000,16,0,0,4,73728,77.0,25.5,t2
Conv2D,Conv2D,NPU,455,43.5,2000,20.0,2000,16,0,0,4,8192,8.0,25.5,t3
Add,Add,NPU,455,43.5,500,5.0,500,16,0,0,4,0,0.0,0.0,t4
Mean,DepthwiseConv2D,NPU,455,43.5,300,3.0,300,16,0,0,4,512,0.5,25.5,t5
FullyConnected,FullyConnected,NPU,455,43.5,200,2.0,200,16,0,0,4,160,0.2,25.5,t6
Dequantize,Passthrough,CPU,0,0.0,0,0.0,0,0,0,0,0,0,0.0,100,t7
"""
VELA_SUMMARY = """experiment,network,accelerator_configuration,core_clock,batch_size,nn_macs,cycles_total
default,small,Ethos_U55_128,500000000.0,1,96416,8000
"""
SCALESIM = """LayerID, Total Cycles (incl. prefetch), Total Cycles, Stall Cycles, Overall Util %, Mapping Efficiency %, Compute Util %,
0, 1100, 1000, 0, 97.0, 100.0, 96.1,
1, 4400, 4000, 0, 67.5, 100.0, 61.0,
2, 2200, 2000, 0, 67.5, 100.0, 61.0,
3, 220, 200, 0, 67.5, 100.0, 61.0,
"""
TOPOLOGY = """Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
stem, 10, 6, 3, 3, 3, 16, 1,
body, 10, 6, 3, 3, 16, 16, 1,
skip, 8, 4, 1, 1, 16, 16, 1,
head, 1, 1, 1, 1, 16, 10, 1,
"""


def timeloop(name: str) -> str:
    macs = MACS[name]
    return f"""Buffer and Arithmetic Levels
----------------------------
Level 0
-------
=== mac ===
    STATS
    -----
    Computes (total)        : {macs}
    Cycles                  : 7

Summary Stats
-------------
GFLOPs (@1GHz): 247.33
Utilization: 75.00%
Cycles: {macs // 16}
Energy: {macs * 2e-6:.2f} uJ
EDP(J*cycle): 5.10e+00

Computes = {macs}
fJ/Compute
    mac                                           = 500.00
    DRAM                                          = 1500.00
    Total                                         = 2000.00

"""


def zigzag(name: str) -> str:
    (_, channels, *inner), (_, filters, *outer) = SHAPES[name]
    loops = {"B": 1, "K": filters, "C": channels}
    if inner:
        loops |= {"OY": outer[0], "OX": outer[1], "FY": KERNELS[name][0][0], "FX": KERNELS[name][0][1]}
    layer = {"name": name, "type": "Conv" if inner else "Gemm", "loop_dimensions": loops, "operand_precision": {"W": 8, "I": 8, "O": 16}}
    latency = {"data_onloading": 100.0, "computation": float(MACS[name]), "data_offloading": 2.0}
    outputs = {"energy": {"energy_total": 1000.0 * MACS[name], "memory_energy": 1.0}, "latency": latency}
    return json.dumps({"outputs": outputs, "inputs": {"accelerator": {"name": "array"}, "layer": layer}}, indent=4)


CLOCKS = {"scalesim": 1e9, "timeloop": 1e9, "zigzag": 1e9}  # of the formats whose files do not state it
SAMPLES: Mapping[str, Callable[[], Mapping[str, str]]] = {
    "trtexec": lambda: {"profile.json": trt_profile(), "layers.json": trt_layers()},
    "onnxruntime": lambda: {"trace.json": ort_trace()},
    "tflite": lambda: {"profile.csv": TFLITE},
    "vela": lambda: {"net_per-layer.csv": VELA, "net_summary.csv": VELA_SUMMARY},
    "scalesim": lambda: {"COMPUTE_REPORT.csv": SCALESIM, "topology.csv": TOPOLOGY},
    "timeloop": lambda: {f"{name}.stats.txt": timeloop(name) for name in MACS},
    "zigzag": lambda: {f"{name}_complete.json": zigzag(name) for name in MACS},
}


def save(folder: Path, files: Mapping[str, str | bytes]) -> list[Path]:
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return [folder / name for name in files]


def sample(folder: Path, name: str) -> list[Path]:
    """Paths of a whole and right set of files of one format."""
    return save(folder, SAMPLES[name]())
