"""What the model is: its counted layers, the tensors between them, and what could not be counted.

A :class:`LayerGraph` holds no decision. It is made by :mod:`hwdse.trace` or by hand, and everything else (choices,
cost tables) is derived from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Literal

from .errors import TraceError

Kind = Literal["conv", "linear", "embedding", "matmul", "attention", "recurrent"]
Op = Literal["layer", "view", "norm", "activation", "add", "concat", "pool", "other"]
Storage = tuple[str, tuple[int, int] | None]  # a parameter, and the elements of it where they are not all


@dataclass(frozen=True)
class Layer:
    """One counted operation. Shapes include the batch. A module used twice is two layers with one ``weight``.

    Attributes:
        name: the module's path; the second use of a module is ``"head#2"``; operations without a module (matrix
            products of two activations) are ``"path.of.owner/matmul"``.
        kind: ``matmul`` multiplies two activations; ``attention`` is a fused scaled dot product; ``recurrent`` an LSTM,
            GRU or RNN.
        macs: multiply-accumulates of one forward pass at the traced batch. Bias, norm, pooling, element-wise: 0.
        weight: name of the weight parameter; None where there is none. Layers with the same :attr:`storage` share it.
        weight_shape: as stored by PyTorch: conv (out, in/groups, *kernel), linear (out, in), embedding (rows, dim).
        extra_params: bias elements that the deployed network stores with this layer, one a channel where a batch norm folds into it;
            those of a bias that an earlier layer has are counted there. Kept at :data:`~hwdse.formats.FLOAT_BITS` or at the accelerator's
            accumulator width.
        module: path of the ``nn`` module whose weight and input can be quantised; None where they cannot.
        other_shape: of the second operand: the keys of an attention (B, KV heads, S, E), the second factor of a product; empty otherwise.
        stride, padding, dilation: per spatial dimension, of convolutions; empty otherwise.
        part: first and last + 1 of the elements, of the flattened parameter, that are the weight (one expert, the queries' third of an
            attention's input projection); None where it is the whole parameter.
        computed: the weight is computed from parameters in the forward pass (low-rank additions, standardised weights): no quantiser
            reaches it, and it runs in floating point.
        numbers: real numbers in an element, 2 of complex ones.
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
    part: tuple[int, int] | None = None
    computed: bool = False
    numbers: int = 1

    @property
    def params(self) -> int:
        """Numbers in the weight tensor (0 without one)."""
        size = self.numbers if self.weight_shape else 0
        for extent in self.weight_shape:
            size *= extent
        return size

    @property
    def storage(self) -> Storage | None:
        """What tells the weight from all others: its parameter, and the part of it; None without a weight."""
        return None if self.weight is None else (self.weight, self.part)

    @property
    def kernel(self) -> tuple[int, ...]:
        """Spatial extent of a convolution's kernel; empty otherwise."""
        return self.weight_shape[2:] if self.kind == "conv" else ()

    @property
    def quantisable(self) -> bool:
        """Whether the weight and the input of this layer can be given bit-widths."""
        return self.module is not None

    @property
    def floating(self) -> bool:
        """Whether the weight is one that no quantiser can round: computed in the forward pass, or complex."""
        return self.computed or (self.numbers > 1 and bool(self.weight_shape))

    @property
    def depthwise(self) -> bool:
        """A convolution with one input channel per group."""
        if self.kind != "conv" or self.groups == 1:
            return False
        return (self.weight_shape[0] == self.groups) if self.transposed else (self.weight_shape[1] == 1)


@dataclass(frozen=True)
class Tensor:
    """An activation tensor.

    Attributes:
        elements: real numbers in memory, the batch included: a complex one is two, and what a view only repeats is none.
        integer: no floating point (indices, masks, images of bytes): never quantised.
        bits: of each element in memory, for integers whose type says so (8 for uint8 and bool); None for floating point, whose width is
            chosen, and for integers of 32 and 64 bits, which count as indices (``index_bits`` of the cost model).
    """

    name: str
    elements: int
    integer: bool = False
    bits: int | None = None


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
    """Something the counts do not cover: an operation without a rule, the work of a parameter that reaches no counted layer."""

    name: str
    reason: str


@dataclass(frozen=True)
class Parameter:
    """A parameter that the deployed network stores in floating point because no counted layer has it as its weight or bias.

    Norms that fold into no layer, slopes of activation functions, scales, positions, low-rank factors. ``elements``: as many real
    numbers as are stored; parts that layers use are not among them.
    """

    name: str
    elements: int


@dataclass(frozen=True, eq=False)
class LayerGraph:
    """Layers in execution order, the tensors and the schedule that connects them, and what is left out.

    Attributes:
        inputs, outputs: names of the tensors that enter and leave; both are live from the start and to the end.
        left_out: see :class:`LeftOut`; costs do not include it, and every report lists it.
        parameters: see :class:`Parameter`; their storage is counted, each once.
        data_flow: False where only the layers are known (hooks fallback): no steps, no ties, no activation memory.
    """

    layers: tuple[Layer, ...]
    tensors: Mapping[str, Tensor]
    steps: tuple[Step, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    data_flow: bool = True
    parameters: tuple[Parameter, ...] = ()

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
        """Weight elements of the layers, shared ones once; biases and :attr:`parameters` not included."""
        return sum(layer.params for layer in self.weight_owners)

    @cached_property
    def weight_owners(self) -> tuple[Layer, ...]:
        """The first layer of each weight: storage is counted there and nowhere else.

        Parts of a parameter that other layers use as a whole, or in larger parts, are stored with those.
        """
        parts: dict[str, dict[tuple[int, int] | None, Layer]] = {}
        for layer in self.layers:
            if layer.weight is not None:
                parts.setdefault(layer.weight, {}).setdefault(layer.part, layer)
        kept = [layer for of in parts.values() for part, layer in of.items() if part is None or not _inside(part, of)]
        return tuple(sorted(kept, key=lambda layer: self._position[layer.name]))

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
    def call_ties(self) -> tuple[tuple[str, ...], ...]:
        """Groups of layers that are calls of one module, whose input has one quantiser, and so one activation width."""
        calls: dict[str | None, list[str]] = {}
        for layer in self.quantisable:
            if layer.kind != "embedding":  # which reads indices
                calls.setdefault(layer.module, []).append(layer.name)
        return tuple(tuple(group) for group in calls.values() if len(group) > 1)

    @cached_property
    def weight_ties(self) -> tuple[tuple[str, ...], ...]:
        """Groups of layers that share one weight parameter, or parts of it, and therefore its width."""
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
            [asdict(parameter) for parameter in self.parameters],
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _inside(part: tuple[int, int], others: Iterable[tuple[int, int] | None]) -> bool:
    """Whether a part lies in another; None is the whole."""
    return any(o is None or (o != part and o[0] <= part[0] and part[1] <= o[1]) for o in others)
