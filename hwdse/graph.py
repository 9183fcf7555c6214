"""What the model is: its counted layers, the tensors between them, and what could not be counted.

A :class:`LayerGraph` holds no decision. It is made by :mod:`hwdse.trace` or by hand, and everything else (choices,
cost tables) is derived from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Literal

from .errors import TraceError

Kind = Literal["conv", "linear", "embedding", "matmul", "attention", "recurrent"]
Op = Literal["layer", "view", "norm", "activation", "add", "concat", "pool", "other"]


@dataclass(frozen=True)
class Layer:
    """One counted operation. Shapes include the batch. A module used twice is two layers with one ``weight``.

    Attributes:
        name: the module's path; the second use of a module is ``"head#2"``; operations without a module (matrix
            products of two activations) are ``"path.of.owner/matmul"``.
        kind: ``matmul`` multiplies two activations; ``attention`` is a fused scaled dot product; ``recurrent`` an LSTM,
            GRU or RNN.
        macs: multiply-accumulates of one forward pass at the traced batch. Bias, norm, pooling, element-wise: 0.
        weight: name of the weight parameter; None where there is none. Layers with the same ``weight`` share it.
        weight_shape: as stored by PyTorch: conv (out, in/groups, *kernel), linear (out, in), embedding (rows, dim).
        extra_params: bias elements, kept at :data:`~hwdse.bits.FLOAT_BITS` or at the accelerator's accumulator width.
        module: path of the ``nn`` module whose weight and input can be quantised; None where they cannot.
        other_shape: of the second operand: the keys of an attention (B, KV heads, S, E), the second factor of a product; empty otherwise.
        stride, padding, dilation: per spatial dimension, of convolutions; empty otherwise.
    """

    name: str
    kind: Kind
    macs: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    weight: str | None = None
    weight_shape: tuple[int, ...] = ()
    extra_params: int = 0
    module: str | None = None
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    transposed: bool = False
    other_shape: tuple[int, ...] = ()

    @property
    def params(self) -> int:
        """Elements of the weight tensor (0 without one)."""
        size = 1 if self.weight_shape else 0
        for extent in self.weight_shape:
            size *= extent
        return size

    @property
    def kernel(self) -> tuple[int, ...]:
        """Spatial extent of a convolution's kernel; empty otherwise."""
        return self.weight_shape[2:] if self.kind == "conv" else ()

    @property
    def quantisable(self) -> bool:
        """Whether the weight and the input of this layer can be given bit-widths."""
        return self.module is not None

    @property
    def depthwise(self) -> bool:
        """A convolution with one input channel per group."""
        if self.kind != "conv" or self.groups == 1:
            return False
        return (self.weight_shape[0] == self.groups) if self.transposed else (self.weight_shape[1] == 1)


@dataclass(frozen=True)
class Tensor:
    """An activation tensor: ``elements`` includes the batch. ``integer`` marks indices and masks, which are never quantised."""

    name: str
    elements: int
    integer: bool = False


@dataclass(frozen=True)
class Step:
    """One operation of the schedule. ``layer`` names the :class:`Layer` it is; None for uncounted operations (add, pool ...)."""

    name: str
    op: Op
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    layer: str | None = None


@dataclass(frozen=True)
class LeftOut:
    """Something the counts do not cover: an operation without a rule, a parameter that reaches no counted layer."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class LayerGraph:
    """Layers in execution order, the tensors and the schedule that connects them, and what is left out.

    Attributes:
        inputs, outputs: names of the tensors that enter and leave; both are live from the start and to the end.
        left_out: see :class:`LeftOut`; costs do not include it, and every report lists it.
        data_flow: False where only the layers are known (hooks fallback): no steps, no ties, no activation memory.
    """

    layers: tuple[Layer, ...]
    tensors: Mapping[str, Tensor]
    steps: tuple[Step, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    data_flow: bool = True

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers]
        if len(set(names)) != len(names):
            double = sorted({n for n in names if names.count(n) > 1})
            raise TraceError(f"layer names must be unique; got {', '.join(double)} more than once.")
        unknown = {t for s in self.steps for t in (*s.reads, *s.writes)} - set(self.tensors)
        if unknown:
            raise TraceError(f"steps name tensors that the graph does not have: {', '.join(sorted(unknown))}.")
        lost = {s.layer for s in self.steps if s.layer} - set(names)
        if lost:
            raise TraceError(f"steps name layers that the graph does not have: {', '.join(sorted(lost))}.")

    def __getitem__(self, name: str) -> Layer:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def quantisable(self) -> tuple[Layer, ...]:
        """The layers that bit-widths are chosen for, in execution order."""
        return tuple(layer for layer in self.layers if layer.quantisable)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward pass at the traced batch."""
        return sum(layer.macs for layer in self.layers)

    @property
    def params(self) -> int:
        """Weight elements, shared ones once; biases not included."""
        return sum(layer.params for layer in self.weight_owners)

    @cached_property
    def weight_owners(self) -> tuple[Layer, ...]:
        """The first layer of each weight: storage is counted there and nowhere else."""
        seen: dict[str, Layer] = {}
        for layer in self.layers:
            if layer.weight is not None:
                seen.setdefault(layer.weight, layer)
        return tuple(seen.values())

    @cached_property
    def _storage(self) -> dict[str, str]:
        """Tensor -> the tensor whose storage it views (itself, where it is no view)."""
        root = {name: name for name in self.tensors}
        for step in self.steps:
            if step.op == "view" and step.reads:
                for written in step.writes:
                    root[written] = root[step.reads[0]]
        return root

    @cached_property
    def readers(self) -> dict[str, tuple[str, ...]]:
        """Storage tensor -> quantisable layers whose input it is, directly or through views."""
        found: dict[str, list[str]] = {}
        for step in self.steps:
            if step.layer and self._by_name[step.layer].quantisable and step.reads:
                found.setdefault(self._storage[step.reads[0]], []).append(step.layer)
        return {tensor: tuple(layers) for tensor, layers in found.items()}

    @cached_property
    def activation_ties(self) -> tuple[tuple[str, ...], ...]:
        """Groups of layers that read one tensor and therefore share one activation width."""
        return tuple(group for group in self.readers.values() if len(group) > 1)

    @cached_property
    def weight_ties(self) -> tuple[tuple[str, ...], ...]:
        """Groups of layers that share one weight parameter, and therefore its width."""
        groups: dict[str, list[str]] = {}
        for layer in self.quantisable:
            if layer.weight is not None:
                groups.setdefault(layer.weight, []).append(layer.name)
        return tuple(tuple(group) for group in groups.values() if len(group) > 1)

    @cached_property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """(producer, consumer) pairs of layers: the consumer reads the producer's output, possibly after uncounted operations."""
        sources: dict[str, frozenset[str]] = {name: frozenset() for name in self.tensors}
        found: dict[tuple[str, str], None] = {}
        for step in self.steps:
            above = frozenset[str]().union(*(sources[t] for t in step.reads))
            if step.layer:
                ordered = sorted(above, key=self._position.__getitem__)
                found.update({(producer, step.layer): None for producer in ordered})
            for written in step.writes:
                sources[written] = frozenset({step.layer}) if step.layer else above
        return tuple(found)

    @cached_property
    def _position(self) -> dict[str, int]:
        return {layer.name: i for i, layer in enumerate(self.layers)}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything above, 16 hex digits: two models with one fingerprint cost the same everywhere."""
        content = [
            [asdict(layer) for layer in self.layers],
            [asdict(tensor) for tensor in self.tensors.values()],
            [asdict(step) for step in self.steps],
            self.inputs,
            self.outputs,
            [asdict(item) for item in self.left_out],
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
