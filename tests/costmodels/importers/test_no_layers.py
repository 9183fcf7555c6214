"""Rows that are no layer never become one, and the reason why a profile gives none is said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from profiler_files import KERNELS, MACS, SHAPES, TFLITE, ort_trace, save, trt_profile

from hwdse.costmodels.importers import Match, importer, match
from hwdse.errors import HwdseError, UsageError
from hwdse.testing.graphs import small_graph

GRAPH = small_graph()
POOLS = ("Pooling", "AveragePool", "GlobalAveragePool", "QLinearAveragePool", "AVERAGE_POOL_2D", "CaskPooling", "TiledPooling", "MaxUnpool")
OTHERS = (
    "Add",
    "Relu",
    "Softmax",
    "PointWiseV2",
    "ElementWise",
    "Mean",
    "Reduce",
    "Concat",
    "LayerNormalization",
    "Resize",
    "Cast",
    "Slice",
)


def joined(tmp_path: Path, name: str, files: Mapping[str, str], by_order: bool = False) -> Match:
    return match(GRAPH, importer(name)(save(tmp_path, files)), by_order)


def engine(kinds: Sequence[tuple[str, str]]) -> dict[str, str]:
    """A profile and layer information of rows that have each the shapes of one of the layers: (layer, type)."""
    layers = []
    for i, (layer, type_) in enumerate(kinds):
        tensor = [{"Name": "t", "Dimensions": shape, "Format/Datatype": "Int8"} for shape in SHAPES[layer]]
        about = {
            "Name": f"row_{i}",
            "LayerType": type_,
            "Inputs": tensor[:1],
            "Outputs": tensor[1:],
            "ParameterType": type_.removeprefix("Cask"),
        }
        layers.append(about | ({"Kernel": KERNELS[layer][0], "Stride": KERNELS[layer][1]} if "Conv" in type_ else {}))
    return {"p.json": trt_profile({f"row_{i}": 0.01 for i in range(len(kinds))}, {}), "l.json": json.dumps({"Layers": layers})}


@pytest.mark.parametrize("type_", [*POOLS, *OTHERS, "Shuffle", "NoOp", "kgen", "Myelin", "PluginV2", ""])
def test_the_shape_of_a_layer_makes_none_of_another_operation(tmp_path: Path, type_: str) -> None:
    found = joined(tmp_path, "trtexec", engine([("stem", type_), ("head", "CaskConvolution")]))
    assert [pair.layer.name for pair in found.pairs] == ["head"]
    (left,) = found.rows
    assert "no counted layer" in left.reason or "does not say what it computes" in left.reason or "a copy" in left.reason


@pytest.mark.parametrize("op", [*POOLS, *OTHERS])
def test_an_operation_of_onnx_runtime_that_is_no_layer_is_left_out(tmp_path: Path, op: str) -> None:
    trace = ort_trace(quantised=False, names=dict(zip(MACS, "abcd", strict=True)))
    events = json.loads(trace)
    for event in events:
        if event["name"] == "a_kernel_time":
            event["args"]["op_name"] = op
    found = joined(tmp_path, "onnxruntime", {"t.json": json.dumps(events)})
    assert [pair.layer.name for pair in found.pairs] == ["head"]  # the other two have the same shapes
    assert f"{op}, which is no counted layer" in {row.reason for row in found.rows}


def test_the_place_of_a_row_that_may_be_anything_makes_no_layer_of_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"does not say it of|do not say it of row_0, row_1, .*--exportLayerInfo"):
        joined(tmp_path, "trtexec", {"p.json": trt_profile({f"row_{i}": 0.01 for i in range(4)}, {})}, by_order=True)


WHOLE = [
    ("trtexec", {"p.json": trt_profile({"{ForeignNode[stem.weight.../head/Gemm]}": 1.0}, {})}),
    ("trtexec", {"p.json": trt_profile({"{ForeignNode[a...b]}": 1.0})}),  # and a copy
    ("trtexec", {"p.json": trt_profile({"TRT-Myelin_0": 1.0}, {})}),
    ("tflite", {"p.csv": "== Run Order ==\nnode type, first, avg_ms, times called, name\nTfLiteXNNPackDelegate, 1, 0.5, 1, [out]:9\n"}),
    ("tflite", {"p.csv": "== Run Order ==\nnode type, first, avg_ms, times called, name\nTfLiteGpuDelegateV2, 1, 0.5, 1, [out]:9\n"}),
    ("tflite", {"p.csv": "== Run Order ==\nnode type, first, avg_ms, times called, name\nedgetpu-custom-op, 1, 0.5, 1, [out]:9\n"}),
]  # fmt: skip
PARTITIONS = [
    ("TensorrtExecutionProvider_TRTKernel_graph_g_1_0_0", "TRTKernel_graph_g_1_0"),
    ("CoreMLExecutionProvider_CoreML_123_1_0", "CoreML_123_1"),
    ("QNNExecutionProvider_QNN_9_1_0", "QNN_9_1"),
    ("OpenVINOExecutionProvider_OpenVINO-EP-subgraph_1_0", "OpenVINO-EP-subgraph_1"),
]


@pytest.mark.parametrize("by_order", [False, True])
@pytest.mark.parametrize(("name", "files"), WHOLE)
def test_a_whole_network_in_one_row_is_called_that(tmp_path: Path, name: str, files: Mapping[str, str], by_order: bool) -> None:
    with pytest.raises(UsageError, match=r"the only row.* is the whole network, or a part of it, in one row") as error:
        joined(tmp_path, name, files, by_order)
    assert "--by-order" not in str(error.value)
    assert "another network" not in str(error.value)


@pytest.mark.parametrize(("name", "op"), PARTITIONS)
def test_a_partition_of_onnx_runtime_is_called_that(tmp_path: Path, name: str, op: str) -> None:
    events = [event for event in json.loads(ort_trace()) if event["cat"] == "Session" or event["name"].startswith("/stem")]
    for event in events:
        if event["cat"] == "Node":
            event["name"], event["args"]["op_name"] = f"{name}_kernel_time", op
    with pytest.raises(UsageError, match=f"the only row of t.json, '{name}', is the whole network, or a part of it"):
        joined(tmp_path, "onnxruntime", {"t.json": json.dumps(events)})


def test_nodes_without_names_are_called_that(tmp_path: Path) -> None:
    events = json.loads(ort_trace(quantised=False, names=dict.fromkeys(MACS, "")))
    for event in events:
        event["name"] = event["name"].removeprefix("quant_in")
        event["args"].pop("node_index", None)
    with pytest.raises(HwdseError, match=r"has nodes without names \(QuantizeLinear, Conv, Gemm\), which cannot be told apart"):
        joined(tmp_path, "onnxruntime", {"t.json": json.dumps(events)}, by_order=True)
    named = [event | {"name": "stem_kernel_time"} if event["args"].get("input_type_shape") == [{"float": [1, 3, 8, 8]}, {"float": []}]
             and event["args"]["op_name"] == "Conv" else event for event in events]  # fmt: skip
    found = joined(tmp_path, "onnxruntime", {"t.json": json.dumps(named)})
    assert [pair.layer.name for pair in found.pairs] == ["stem"]
    assert {row.reason for row in found.rows} == {"nodes without names cannot be told apart"}


def test_nodes_with_numbers_and_no_names_are_told_apart(tmp_path: Path) -> None:
    trace = ort_trace(names=dict.fromkeys(MACS, ""))
    assert len(joined(tmp_path, "onnxruntime", {"t.json": trace}, by_order=True).pairs) == 4


@pytest.mark.parametrize("provider", ["CUDAExecutionProvider", "ROCMExecutionProvider", "DmlExecutionProvider", "WebGpuExecutionProvider"])
def test_the_host_s_time_of_a_launch_is_no_time_of_the_device(tmp_path: Path, provider: str) -> None:
    with pytest.raises(UsageError, match=f"the host's, for handing it to {provider}"):
        joined(tmp_path, "onnxruntime", {"t.json": ort_trace().replace("CPUExecutionProvider", provider)})


def test_only_a_device_s_own_clock_is_called_device_time(tmp_path: Path) -> None:
    times = {name: importer(name)(save(tmp_path, files)).times for name, files in (
        ("trtexec", {"p.json": trt_profile()}), ("onnxruntime", {"t.json": ort_trace()}), ("tflite", {"p.csv": TFLITE}))}  # fmt: skip
    assert times["trtexec"] == "device time"
    assert all("host" in times[name] for name in ("onnxruntime", "tflite"))


def xnnpack(separator: str) -> str:
    """The rows of one run as TFLite prints them (tabs) or writes them (commas, which it replaces in the last column only)."""
    ops = ["Convolution (NHWC, QS8, QC8W) IGEMM"] * 3 + ["Fully Connected (NC, QS8, QC8W) GEMM"]
    lines = ["== Run Order =="]
    names = ["node type", "first", "avg_ms", "%", "cdf%", "mem KB", "times called", "name"]
    lines.append(separator.join(f"[{name}]" if separator == "\t" else name for name in names))
    for i, op in enumerate(ops):
        name = f"Delegate/{op}:{i}"
        cells = [op, "0.1", f"0.{i + 1}", "25%", "25%", "0", "1", name if separator == "\t" else name.replace(",", "\t")]
        lines.append(separator.join(cells))
    return "\n".join(lines) + "\n"


def test_xnnpack_writes_the_same_rows_that_it_prints(tmp_path: Path) -> None:
    printed = importer("tflite")(save(tmp_path, {"p.txt": xnnpack("\t")})).rows
    written = importer("tflite")(save(tmp_path, {"p.csv": xnnpack(",")})).rows
    assert [(row.label, row.op, row.seconds) for row in written] == [(row.label, row.op, row.seconds) for row in printed]
    assert printed[0].label == "Delegate/Convolution (NHWC, QS8, QC8W) IGEMM:0"
    assert len(joined(tmp_path, "tflite", {"p.csv": xnnpack(",")}, by_order=True).pairs) == 4


def test_numbers_between_the_commas_of_a_type_are_told_from_cells(tmp_path: Path) -> None:
    row = "Conv (NHWC, 3, 0.5) X,0.1,0.2,1%,1%,0,1,Delegate/Conv (NHWC\t 3\t 0.5) X:0\n"
    head = "== Run Order ==\nnode type,first,avg_ms,%,cdf%,mem KB,times called,name\n"
    (only,) = importer("tflite")(save(tmp_path, {"p.csv": head + row})).rows
    assert (only.op, only.seconds) == ("Conv (NHWC, 3, 0.5) X", 2e-4)
    twice = "A, 3,0.1,0.2,1%,1%,0,1,b, 4\n".replace("A, 3,", "A,3,3,")
    with pytest.raises(HwdseError, match=r"cannot be told apart|cells"):
        importer("tflite")(save(tmp_path, {"p.csv": head + twice}))
