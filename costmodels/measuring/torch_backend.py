"""PyTorch, eager: what a model costs that is run as it is. INT8 by the quantised operations of this build, on the CPU only."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn import functional as F

from ...devices import find_device
from ...formats import LayerFormat
from ..signature import Signature
from . import torch_int8
from .extents import extents
from .kernel import FP32, INT8, Kernel, NoKernel, wall_clock
from .machine import cpu_name

_CONV = {1: F.conv1d, 2: F.conv2d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d}


class TorchBackend:
    """See :class:`~hwdse.costmodels.measuring.kernel.Backend`."""

    name = "torch"

    def __init__(self, device: str = "cpu", threads: int = 1) -> None:
        self._device = find_device(device, "layers are timed")
        self.threads = threads
        self.tool = f"PyTorch {torch.__version__}"
        gpu = self._device.type == "cuda"
        self.device = torch.cuda.get_device_name(self._device) if gpu else cpu_name()
        engine = f"INT8 by the engine {torch.backends.quantized.engine}, weights per channel, activations per tensor, input channels-last"
        self.about: tuple[str, ...] = (
            "FP32 in torch's default layout" + (", without TF32" if gpu else f"; {engine}"),
            "a convolution or linear layer has a bias, as folding its batch norm leaves one",
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """No gradients, the stated threads, true FP32; a fixed seed for the operands."""
        before = torch.get_num_threads()
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            stack.enter_context(torch.random.fork_rng(devices=[]))
            stack.enter_context(warnings.catch_warnings())
            # the quantised tensors that INT8 kernels take are announced to leave torch some day; what to do then is NoKernel's to say
            warnings.filterwarnings("ignore", message=".*quantized tensor", category=UserWarning)
            if self._device.type == "cuda":
                stack.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
            torch.manual_seed(0)
            torch.set_num_threads(self.threads)
            try:
                yield
            finally:
                torch.set_num_threads(before)

    def kernel(self, signature: Signature, widths: LayerFormat) -> Kernel:
        """The operation alone."""
        if widths == INT8:
            if self._device.type == "cuda":
                raise NoKernel("PyTorch has no quantised operations on CUDA; a profile of TensorRT can be imported")
            return torch_int8.kernel(signature)
        if widths != FP32:
            raise NoKernel(f"PyTorch is not timed at {widths}")
        call, name = _fp32(signature, self._device)
        return _tried(Kernel(call, f"{name} (float32 -> float32)"))

    def copy(self, count: int) -> Kernel:
        """From one tensor to another on the device."""
        source = torch.ones(count, dtype=torch.uint8, device=self._device)
        target = torch.zeros_like(source)
        return Kernel(lambda: target.copy_(source), "aten::copy_")

    def network(self, model: Any, inputs: tuple[Any, ...]) -> Kernel:
        """The module itself, in evaluation mode, on its example inputs."""
        there = model.to(self._device).eval()
        given = tuple(x.to(self._device) for x in inputs)
        return Kernel(lambda: there(*given), "the module, eager")

    def seconds(self, kernel: Kernel, calls: int) -> float:
        """On a GPU between two events in its queue, else by the clock."""
        if self._device.type != "cuda":
            return wall_clock(kernel.call, calls)
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(self._device)
        began.record()
        for _ in range(calls):
            kernel.call()
        ended.record()
        torch.cuda.synchronize(self._device)
        return float(began.elapsed_time(ended)) * 1e-3


def _fp32(signature: Signature, device: torch.device) -> tuple[Callable[[], Any], str]:
    s, e = signature, extents(signature)
    if s.op == "embedding":
        rows, table = torch.randint(s.in_channels, e.input, device=device), torch.randn(e.weight, device=device)
        return lambda: F.embedding(rows, table), "aten::embedding"
    x, w, b = (torch.randn(shape, device=device) for shape in (e.input, e.weight, (s.out_channels,)))
    if s.op == "linear":
        return lambda: F.linear(x, w, b), "aten::linear"
    dims = len(e.stride)
    if s.op == "conv_transpose":
        turned = _TRANSPOSED[dims]
        none = (0,) * dims
        return lambda: turned(x, w, b, e.stride, e.padding, none, s.groups, e.dilation), f"aten::conv_transpose{dims}d"
    convolve = _CONV[dims]
    return lambda: convolve(x, w, b, e.stride, e.padding, e.dilation, s.groups), f"aten::conv{dims}d"


def _tried(kernel: Kernel) -> Kernel:
    try:
        kernel.call()
    except (RuntimeError, NotImplementedError, torch.OutOfMemoryError) as error:
        raise NoKernel(f"PyTorch could not run it: {str(error).splitlines()[0][:200]}") from None
    return kernel
