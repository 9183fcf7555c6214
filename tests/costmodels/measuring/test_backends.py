"""Every backend runs every kind of layer, in INT8 by an INT8 kernel or not at all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from measuring_fakes import INPUTS, Kinds

from hwdse.costmodels.measuring import BACKENDS, FP32, INT8, NoKernel, backend, backend_names, distinct_shapes, measure, torch_int8
from hwdse.costmodels.measuring.extents import extents
from hwdse.costmodels.measuring.onnx_backend import refuse_floats
from hwdse.costmodels.measuring.onnx_layout import in_own_layout
from hwdse.costmodels.measuring.onnx_models import OneNode, one_node
from hwdse.costmodels.signature import Signature
from hwdse.errors import UnknownName, UsageError
from hwdse.formats import LayerFormat
from hwdse.graph import LayerGraph

EMBEDDING = Signature("embedding", 2, 50, 16, tokens=3)
CONVOLUTIONS = [
    Signature("conv", 1, 20, 36, 8, 8, 3, 3, 2, 2, 1, 1),
    Signature("conv", 2, 16, 8, 6, 6, 3, 3, pad_h=2, pad_w=2, dilation_h=2, dilation_w=2, groups=4),
    Signature("depthwise", 1, 20, 20, 8, 8, 3, 3, 1, 1, 1, 1, groups=20),
    Signature("conv", 1, 8, 8, 1, 30, 1, 5, pad_w=2),
    Signature("conv", 1, 3, 16, 8, 8, 3, 3, pad_h=1, pad_w=1),
]


@pytest.mark.parametrize("name", BACKENDS)
def test_every_kind_has_a_finite_time_above_0(kinds: LayerGraph, name: str) -> None:
    found = measure(kinds, backend(name), Kinds(), INPUTS, repeats=3, seconds=1e-4)
    times = [row.timing for row in found.rows] + list(found.empty.values()) + ([found.network] if found.network else [])
    assert all(math.isfinite(t.seconds) and t.seconds > 0 and t.spread >= 0 for t in times)
    shapes, _ = distinct_shapes(kinds)
    assert {row.signature for row in found.rows if row.widths == FP32} == {s.signature for s in shapes}
    without = {s.signature for s in shapes} - {row.signature for row in found.rows if row.widths == INT8}
    assert {s.op for s in without} <= {"conv_transpose"}
    assert {layers for one in found.left for layers in one.layers} == {s.layers[0] for s in shapes if s.signature in without}
    assert (found.network is None) == bool(found.no_network)
    assert found.copy_rate > 0


@pytest.mark.parametrize("name", BACKENDS)
def test_a_row_says_int8_only_of_an_int8_kernel(kinds: LayerGraph, name: str) -> None:
    timer = backend(name)
    with timer.running():
        for shape in distinct_shapes(kinds)[0]:
            assert "float" in timer.kernel(shape.signature, FP32).ran
            assert timer.kernel(shape.signature, FP32).output_bits == 32
            if (name, shape.signature.op) == ("onnxruntime", "conv_transpose"):
                with pytest.raises(NoKernel, match="no transposed convolution in INT8"):
                    timer.kernel(shape.signature, INT8)
                continue
            kernel = timer.kernel(shape.signature, INT8)
            assert "uint8 -> " in kernel.ran
            assert "float" not in kernel.ran
            assert kernel.output_bits == 8
        assert timer.kernel(EMBEDDING, INT8).ran in (
            "quantized::embedding_byte (8-bit rows -> float32)", "Gather (int8 -> int8)",
        )  # fmt: skip
    with pytest.raises(NoKernel), timer.running():
        timer.kernel(kinds_signature(kinds), LayerFormat.of(4, 4))


def kinds_signature(kinds: LayerGraph) -> Signature:
    return distinct_shapes(kinds)[0][0].signature


def test_torchs_results_are_quantised_and_have_the_traced_shape(kinds: LayerGraph) -> None:
    timer = backend("torch")
    before = torch.get_num_threads(), torch.is_inference_mode_enabled(), torch.random.get_rng_state()
    with timer.running():
        for shape in distinct_shapes(kinds)[0]:
            layer = kinds[shape.layers[0]]
            result = timer.kernel(shape.signature, INT8).call()
            assert result.dtype == torch.quint8
            assert tuple(result.shape) == layer.output_shape
            full = timer.kernel(shape.signature, FP32).call()
            assert full.dtype == torch.float32
            assert tuple(full.shape) == layer.output_shape
    after = torch.get_num_threads(), torch.is_inference_mode_enabled(), torch.random.get_rng_state()
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])


def test_an_operation_that_torch_has_no_kernel_for_gets_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(signature: Signature) -> Any:
        raise RuntimeError("Could not run 'quantized::conv2d'\nmore")

    monkeypatch.setattr(torch_int8, "_product", refuse)
    with pytest.raises(NoKernel, match=r"no INT8 kernel for it \(.*\): Could not run 'quantized::conv2d'$"):
        torch_int8.kernel(CONVOLUTIONS[0])
    monkeypatch.setattr(torch_int8, "_product", lambda signature: (lambda: torch.zeros(1), "quantized::fallback"))
    with pytest.raises(NoKernel, match=r"gave torch\.float32, no INT8"):
        torch_int8.kernel(CONVOLUTIONS[0])


def ran(one: OneNode) -> Any:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(one.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: one.x})[0]


def options() -> ort.SessionOptions:
    made = ort.SessionOptions()
    made.intra_op_num_threads = 1
    made.log_severity_level = 4
    return made


@pytest.mark.parametrize("signature", CONVOLUTIONS, ids=str)
def test_taken_out_of_its_conversions_a_convolution_computes_the_same(signature: Signature) -> None:
    plain = one_node(signature, INT8)
    alone = in_own_layout(plain, options())
    assert len(alone.model.graph.node) == 1
    expected, got = ran(plain), ran(alone)
    assert expected.dtype == got.dtype == np.uint8
    if alone is not plain:  # channels last
        got = np.moveaxis(got, -1, 1)
    assert expected.shape[2:] == (signature.out_h, signature.out_w)[4 - expected.ndim :]
    assert len(np.unique(expected)) > 2
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("signature", CONVOLUTIONS, ids=str)
def test_in_blocks_channels_are_rounded_up_and_sizes_stay(signature: Signature) -> None:
    plain = one_node(signature, FP32)
    alone = in_own_layout(plain, options())
    assert len(alone.model.graph.node) == 1
    expected, got = ran(plain), ran(alone)
    assert got.shape[0] == expected.shape[0]
    assert got.shape[2:] == expected.shape[2:]
    assert expected.shape[1] <= got.shape[1] < expected.shape[1] + 16


def node(op: str, before: str, after: str) -> dict[str, Any]:
    return {"op_name": op, "input_type_shape": [{before: [1]}, {"float": []}], "output_type_shape": [{after: [1]}]}


def test_a_fallback_to_floating_point_is_never_called_int8() -> None:
    signature = CONVOLUTIONS[0]
    refuse_floats(signature, [node("QLinearConv", "uint8", "uint8")])
    fallback = [node("DequantizeLinear", "uint8", "float"), node("Conv", "float", "float"), node("QuantizeLinear", "float", "uint8")]
    with pytest.raises(NoKernel, match=r"DequantizeLinear \(uint8 -> float\) \+ Conv .* in place of one INT8 kernel"):
        refuse_floats(signature, fallback)
    with pytest.raises(NoKernel, match=r"Conv \(float -> float\) for conv, which is no INT8"):
        refuse_floats(signature, [node("Conv", "float", "float")])
    with pytest.raises(NoKernel, match="nothing in place of"):
        refuse_floats(signature, [])


def test_extents_are_those_of_the_traced_operation(kinds: LayerGraph) -> None:
    for shape in distinct_shapes(kinds)[0]:
        layer, e = kinds[shape.layers[0]], extents(shape.signature)
        assert (e.input, e.weight) == (layer.input_shape, layer.weight_shape)
        assert (e.stride, e.padding, e.dilation) == (layer.stride, layer.padding, layer.dilation)


def test_unknown_names_and_absent_devices_are_said() -> None:
    assert backend_names()[:2] == ["torch", "onnxruntime"]
    with pytest.raises(UnknownName, match=r"unknown backend 'onnx'; did you mean 'onnxruntime'\? Known: onnxruntime, torch"):
        backend("onnx")
    with pytest.raises(UsageError, match="threads must be 1 or more, got 0"):
        backend("torch", "cpu", 0)
    with pytest.raises(UsageError, match=r"times layers on cpu, got the device 'cuda'; use --backend torch"):
        backend("onnxruntime", "cuda")
    with pytest.raises(UsageError, match="torch knows no device 'gpu'"):
        backend("torch", "gpu")
    with pytest.raises(UsageError, match="cpu or cuda, got the device 'meta'"):
        backend("torch", "meta")


def test_an_absent_gpu_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UsageError, match=r"the device 'cuda' is not there: torch .* sees 0 GPUs. Use cpu"):
        backend("torch", "cuda")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_said_with_its_command(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(UsageError, match=r"needs the packages onnx and onnxruntime .*: pip install onnx onnxruntime"):
        backend("onnxruntime")
