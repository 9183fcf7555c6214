"""A backend whose clock is scripted, and a small network with every kind of layer that is timed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from hwdse.costmodels.measuring import INT8, Kernel, NoKernel
from hwdse.costmodels.signature import Signature, work_of_signature
from hwdse.formats import LayerFormat


class Scripted:
    """A microsecond a call, plus a nanosecond a product, a quarter of it in INT8; no transposed convolution in INT8, no whole network."""

    name, tool, device, threads, about = "scripted", "Scripted 1.0", "a clock", 1, ("nothing is run",)

    def __init__(self) -> None:
        self.log: list[tuple[str, int]] = []
        self.inside = False

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self.inside = True
        yield
        self.inside = False

    def kernel(self, signature: Signature, widths: LayerFormat) -> Kernel:
        if signature.op == "conv_transpose" and widths == INT8:
            raise NoKernel("there is none")
        took = 1e-6 + 1e-9 * work_of_signature(signature).macs * (0.25 if widths == INT8 else 1.0)
        return Kernel(lambda: took, f"{signature.op} at {widths}", widths.activation.bits)

    def copy(self, count: int) -> Kernel:
        return Kernel(lambda: 1e-2, "copy")

    def network(self, model: Any, inputs: tuple[Any, ...]) -> Kernel:
        raise NoKernel("one operation at a time")

    def seconds(self, kernel: Kernel, calls: int) -> float:
        assert self.inside
        self.log.append((kernel.ran, calls))
        return calls * float(kernel.call())


class Kinds(nn.Module):
    """Dense, grouped, depthwise, dilated, one-dimensional and transposed convolutions, linear layers of one and of several tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.depthwise = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)
        self.dilated = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.again = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.line = nn.Conv1d(8, 4, 5, padding=2)
        self.tokens = nn.Linear(64, 6)
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(self.dilated(self.depthwise(self.grouped(self.stem(x)))))
        x = self.tokens(self.line(self.up(x).flatten(2)))
        out: Tensor = self.head(x.flatten(1))
        return out


INPUTS = (torch.zeros(1, 3, 8, 8),)
