"""What a backend gives: one operation that is ready to run, and the time of so many runs of it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from ...formats import FLOAT_BITS, LayerFormat
from ..signature import Signature

FP32, INT8 = LayerFormat.of(FLOAT_BITS, FLOAT_BITS), LayerFormat.of(8, 8)
WIDTHS = (FP32, INT8)
_NAMES = {FP32: "FP32", INT8: "INT8"}


class NoKernel(Exception):
    """An operation that a backend cannot run at these widths; the text says why. It is listed, and gets no number."""


@dataclass(frozen=True)
class Kernel:
    """One operation with its operands.

    Attributes:
        call: runs it once and gives its result.
        ran: what really runs, as the backend names it: ``QLinearConv (uint8 -> uint8)``.
        output_bits: width of its result.
    """

    call: Callable[[], Any]
    ran: str
    output_bits: int = FLOAT_BITS


class Backend(Protocol):
    """A library whose kernels are timed.

    Attributes:
        name: as on the command line. tool: with its version. device: what it runs on. threads: of one operation.
        about: what else decides the times, a sentence each.
    """

    name: str
    tool: str
    device: str
    threads: int
    about: tuple[str, ...]

    def running(self) -> AbstractContextManager[None]:
        """Everything below is called inside it. Whatever it sets is put back at its end."""
        ...

    def kernel(self, signature: Signature, widths: LayerFormat) -> Kernel:
        """The operation alone, with random weights, bias and input.

        Raises:
            NoKernel: the backend cannot run it at these widths.
        """
        ...

    def copy(self, count: int) -> Kernel:
        """Copies so many bytes from one place in memory to another."""
        ...

    def network(self, model: Any, inputs: tuple[Any, ...]) -> Kernel:
        """The whole model in FP32.

        Raises:
            NoKernel: the backend runs single operations only.
        """
        ...

    def seconds(self, kernel: Kernel, calls: int) -> float:
        """Wall-clock seconds of ``calls`` runs, one after the other."""
        ...


def name_of(widths: LayerFormat) -> str:
    """``INT8`` for w8a8, ``FP32`` for w32a32."""
    return _NAMES.get(widths, str(widths))


def wall_clock(call: Callable[[], object], calls: int) -> float:
    """Seconds of ``calls`` calls that return when they are done. The loop is part of it, garbage collection is not."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        began = time.perf_counter_ns()
        for _ in range(calls):
            call()
        return (time.perf_counter_ns() - began) * 1e-9
    finally:
        if collecting:
            gc.enable()
