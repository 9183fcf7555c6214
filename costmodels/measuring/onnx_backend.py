"""ONNX Runtime on the CPU: each operation as it runs inside an optimised network, see :mod:`hwdse.costmodels.measuring.onnx_layout`.

What ran is read from a profile of the very session that is timed: a kernel that falls back to floating point is never called INT8.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from ...errors import UsageError
from ...formats import LayerFormat
from ..signature import Signature
from .kernel import INT8, WIDTHS, Kernel, NoKernel, wall_clock
from .machine import cpu_name
from .onnx_layout import in_own_layout
from .onnx_models import OneNode, one_node

_BYTES = {"int8", "uint8"}
_SPINNING = 0.02  # seconds; each session has its own threads, which keep a processor busy for a while after their last run
_PROVIDERS = ["CPUExecutionProvider"]


class OnnxBackend:
    """See :class:`~hwdse.costmodels.measuring.kernel.Backend`."""

    name = "onnxruntime"

    def __init__(self, device: str = "cpu", threads: int = 1) -> None:
        if device != "cpu":
            raise UsageError(
                f"the backend onnxruntime times layers on cpu, got the device '{device}'; use --backend torch, or --device cpu."
            )
        self.threads = threads
        self._last: Kernel | None = None
        self.tool = f"ONNX Runtime {ort.__version__}"
        self.device = cpu_name()
        self.about: tuple[str, ...] = (
            "operations read and write the layout that ONNX Runtime's optimiser gives them, without conversions to and from it",
            "INT8: weights per channel, activations per tensor",
            "a convolution or linear layer has a bias, as folding its batch norm leaves one",
        )

    def running(self) -> AbstractContextManager[None]:
        """Nothing to set: threads belong to each session."""
        return nullcontext()

    def kernel(self, signature: Signature, widths: LayerFormat) -> Kernel:
        """The operation alone."""
        if widths not in WIDTHS:
            raise NoKernel(f"ONNX Runtime is not timed at {widths}")
        one = one_node(signature, widths)
        try:
            kernel, ran = self._session(in_own_layout(one, self._options()))
        except Exception as error:  # its errors have no base of their own
            raise NoKernel(f"ONNX Runtime could not run it: {str(error).splitlines()[0][:200]}") from None
        if widths == INT8:
            refuse_floats(signature, ran)
        return kernel

    def copy(self, count: int) -> Kernel:
        """By NumPy, with one thread: ONNX Runtime has no copy of its own."""
        source = np.ones(count, np.uint8)
        target = np.zeros_like(source)
        return Kernel(lambda: np.copyto(target, source), "numpy.copyto")

    def network(self, model: Any, inputs: tuple[Any, ...]) -> Kernel:
        """Not available: the task has a PyTorch module, and exporting it is not ours to do."""
        raise NoKernel("ONNX Runtime would need an export of the whole model: time that with your own export")

    def seconds(self, kernel: Kernel, calls: int) -> float:
        """By the clock; with several threads not before those of the session that ran last have stopped waiting for work."""
        if self.threads > 1 and kernel is not self._last:
            time.sleep(_SPINNING)
        self._last = kernel
        return wall_clock(kernel.call, calls)

    def _options(self) -> ort.SessionOptions:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 4  # what fails is raised
        return options

    def _session(self, one: OneNode) -> tuple[Kernel, list[dict[str, Any]]]:
        options = self._options()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # it has been optimised
        options.enable_profiling = True
        with tempfile.TemporaryDirectory(prefix="hwdse-") as folder:
            options.profile_file_prefix = str(Path(folder) / "run")
            session = ort.InferenceSession(one.model.SerializeToString(), options, providers=_PROVIDERS)
            binding = session.io_binding()
            binding.bind_cpu_input(session.get_inputs()[0].name, one.x)
            binding.bind_output(session.get_outputs()[0].name, "cpu")
            session.run_with_iobinding(binding)
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))  # what follows is not profiled
        ran = [e["args"] for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
        return Kernel(lambda: session.run_with_iobinding(binding), " + ".join(map(_said, ran)), _bits(ran)), ran


def _types(shapes: Sequence[dict[str, Any]]) -> list[str]:
    return [kind for one in shapes for kind in one]


def _said(args: dict[str, Any]) -> str:
    inputs, outputs = _types(args["input_type_shape"]), _types(args["output_type_shape"])
    return f"{args['op_name']} ({inputs[0]} -> {outputs[0]})"


def _bits(ran: Sequence[dict[str, Any]]) -> int:
    kinds = _types(ran[-1]["output_type_shape"]) if ran else []
    return 8 if kinds and kinds[0] in _BYTES else 32


def refuse_floats(signature: Signature, ran: Sequence[dict[str, Any]]) -> None:
    """Checks, in a session's profile, that an operation ran in INT8 and that nothing else ran.

    Raises:
        NoKernel: several kernels, or one that reads or writes floating point.
    """
    if len(ran) != 1:
        raise NoKernel(f"ONNX Runtime ran {' + '.join(map(_said, ran)) or 'nothing'} in place of one INT8 kernel")
    kinds = _types(ran[0]["input_type_shape"])[:1] + _types(ran[0]["output_type_shape"])[:1]
    if not set(kinds) <= _BYTES:
        raise NoKernel(f"ONNX Runtime ran {_said(ran[0])} for {signature.op}, which is no INT8")
