"""Measuring: the time of a network's layers on this machine, as a look-up table and an accelerator file.

A backend is a class in a file of its own and one line in :data:`BACKENDS`; other packages add theirs through the entry point group
``hwdse.measuring``. It builds operations and runs them. Which are built, how often they run and what is made of it is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...errors import UsageError
from ...registry import find, names
from .kernel import FP32, INT8, Backend, Kernel, NoKernel, name_of
from .measure import MOSTLY_CALL, Measured, Measurement, measure
from .shapes import NotTimed, Shape, distinct_shapes
from .timing import NOISY, Timing
from .writing import accelerator_text, check_name, notes_of, table_of

GROUP = "hwdse.measuring"
MakeBackend = Callable[[str, int], Backend]  # (device, threads)


def _torch(device: str, threads: int) -> Backend:
    from .torch_backend import TorchBackend

    return TorchBackend(device, threads)


def _onnxruntime(device: str, threads: int) -> Backend:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise UsageError(
            f"the backend onnxruntime needs the packages onnx and onnxruntime ({error}): pip install onnx onnxruntime"
        ) from None
    del onnx, onnxruntime
    from .onnx_backend import OnnxBackend

    return OnnxBackend(device, threads)


BACKENDS: Mapping[str, MakeBackend] = {"torch": _torch, "onnxruntime": _onnxruntime}

__all__ = [
    "BACKENDS",
    "FP32",
    "INT8",
    "MOSTLY_CALL",
    "NOISY",
    "Backend",
    "Kernel",
    "Measured",
    "Measurement",
    "NoKernel",
    "NotTimed",
    "Shape",
    "Timing",
    "accelerator_text",
    "backend",
    "backend_names",
    "check_name",
    "distinct_shapes",
    "measure",
    "name_of",
    "notes_of",
    "table_of",
]


def backend_names() -> list[str]:
    """Every known backend, plug-ins last."""
    return names(BACKENDS, GROUP)


def backend(name: str, device: str = "cpu", threads: int = 1) -> Backend:
    """The backend called ``name``, on a device, with so many threads for each operation.

    Raises:
        UnknownName: nobody provides it. UsageError: a package or the device is not there, or no thread.
    """
    make = find("backend", BACKENDS, name, GROUP)
    if threads < 1:
        raise UsageError(f"threads must be 1 or more, got {threads}.")
    return make(device, threads)
