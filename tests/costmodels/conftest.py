"""Graphs made by hand, so that these tests need no tracing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwdse.graph import Layer, LayerGraph, Step, Tensor


class Build:
    """Makers of layers and graphs."""

    @staticmethod
    def conv(
        name: str, inputs: int, outputs: int, size: int = 8, kernel: int = 3, stride: int = 1, groups: int = 1, batch: int = 1
    ) -> Layer:
        pad = kernel // 2
        out = (size + 2 * pad - kernel) // stride + 1
        macs = batch * outputs * (inputs // groups) * kernel**2 * out**2
        return Layer(
            name, "conv", macs, (batch, inputs, size, size), (batch, outputs, out, out), f"{name}.weight",
            (outputs, inputs // groups, kernel, kernel), 0, name, (stride, stride), (pad, pad), (1, 1), groups,
        )  # fmt: skip

    @staticmethod
    def linear(name: str, inputs: int, outputs: int, batch: int = 1, weight: str | None = None, bias: int = 0) -> Layer:
        return Layer(
            name, "linear", batch * inputs * outputs, (batch, inputs), (batch, outputs), weight or f"{name}.weight",
            (outputs, inputs), bias, name,
        )  # fmt: skip

    @staticmethod
    def attention(name: str, tokens: int, width: int) -> Layer:
        return Layer(name, "attention", 2 * tokens * tokens * width, (1, 1, tokens, width), (1, 1, tokens, width))

    @staticmethod
    def loose(*layers: Layer) -> LayerGraph:
        """Layers without the tensors between them."""
        return LayerGraph(layers, {}, (), (), (), data_flow=False)

    @staticmethod
    def random(seed: int) -> LayerGraph:
        """A random directed graph of layers, views, norms, activations, additions and pools over tensors of few sizes."""
        rng = np.random.default_rng(seed)
        layers: list[Layer] = []
        tensors = {"x": Tensor("x", 24)}
        steps: list[Step] = []
        for i in range(int(rng.integers(3, 12))):
            known = list(tensors)
            op = str(rng.choice(["layer", "layer", "view", "norm", "activation", "add", "pool", "other"]))
            first = known[int(rng.integers(max(0, len(known) - 3), len(known)))]
            reads, size, layer = (first,), tensors[first].elements, None
            if op == "add":
                same = [name for name in known if tensors[name].elements == size]
                reads = (first, same[int(rng.integers(len(same)))])
            elif op in ("layer", "pool", "other"):
                size = int(rng.choice([8, 24, 40]))
            if op == "layer":
                depthwise = bool(rng.integers(2))
                one = Build.conv(f"l{i}", 4, 4, 4, groups=4 if depthwise else 1)
                if rng.integers(5) == 0:
                    one = Layer(f"l{i}", "matmul", 10, (1, 4, 4), (1, 4, 4))
                layers.append(one)
                layer = one.name
            name = f"t{i}"
            tensors[name] = Tensor(name, size)
            steps.append(Step(f"s{i}", op, reads, (name,), layer))  # type: ignore[arg-type]
        if not any(one.quantisable for one in layers):
            layers.append(Build.conv("end", 4, 4, 4))
            steps.append(Step("end", "layer", (name,), ("y",), "end"))
            tensors["y"] = Tensor("y", 8)
            name = "y"
        outputs = (name,) if rng.integers(2) else (name, list(tensors)[int(rng.integers(1, len(tensors)))])
        return LayerGraph(tuple(layers), tensors, tuple(steps), ("x",), tuple(dict.fromkeys(outputs)))


@pytest.fixture(scope="session")
def build() -> type[Build]:
    return Build


BASE = """\
schema = "hwdse.accelerator/1"
name = "dev"
[provenance]
kind = "measured"
source = "here"
[precision]
semantics = "native"
weights = [4, 8]
activations = [4, 8]
"""


@pytest.fixture
def write(tmp_path: Path):
    """Writes an accelerator file (and its table) and gives the path."""

    def make(extra: str = "", table: str | None = None, base: str = BASE, top: str = "") -> Path:
        path = tmp_path / "dev.toml"
        if table is not None:
            (tmp_path / "dev.csv").write_text(table)
            extra += '\n[[table]]\nfile = "dev.csv"\n'
        head, _, rest = base.partition("[provenance]")
        path.write_text(f"{head}{top}\n[provenance]{rest}{extra}" if rest else base + extra)
        return path

    return make
