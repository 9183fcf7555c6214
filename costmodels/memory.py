"""Bytes that the weights take in storage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..costs import CostTable, FloatArray
from ..errors import UsageError
from ..formats import FLOAT_BITS, Codebook, LayerFormat, NumberFormat
from ..graph import Layer, LayerGraph, Storage
from ..metrics import WEIGHTS, Metric
from .coverage import left_out_notes, listed
from .packing import Metadata, Packing


class WeightMemory:
    """Cost model of what the deployed network stores: ``packed(elements, bits) + scales and zero points``, in bytes.

    Every parameter counts once, however often its module is called. A weight that several layers share is stored with the first
    quantisable layer that uses it. Weights that no width is chosen for stay at ``float_bits``; biases are at ``bias_bits``. A batch norm
    that follows a convolution or linear layer directly is folded into it: the layer has a bias for each output channel, whether it had
    one before or not. All other parameters (other norms, slopes of activation functions, scales, positions) are at ``float_bits``.
    Published tables of model sizes often count weights alone: ``scale_bits=0, bias_bits=0``, where all norms fold.

    Args:
        packing: ``dense``, ``byte``, ``pow2`` or ``align=N`` (see :class:`~.packing.Packing`).
        scale_bits, zero_point_bits, per: see :class:`~.packing.Metadata`.
        bias_bits: width of a bias element; 0 leaves biases out.
        float_bits: width of weights without a choice.
        on: the accelerator whose packing this is.
        stored: pair chosen -> pair stored, for devices that store what they execute; None where they cannot run it.
            Default: as chosen.
    """

    def __init__(
        self,
        packing: str = "dense",
        *,
        scale_bits: int = FLOAT_BITS,
        zero_point_bits: int = 0,
        per: str = "channel",
        bias_bits: int = FLOAT_BITS,
        float_bits: int = FLOAT_BITS,
        on: str | None = None,
        stored: Callable[[LayerFormat], LayerFormat | None] | None = None,
    ) -> None:
        self.packing, self.metadata = Packing(packing), Metadata(scale_bits, zero_point_bits, per)
        if not 0 <= bias_bits <= FLOAT_BITS or not 1 <= float_bits <= FLOAT_BITS:
            raise UsageError(f"bias_bits must lie in 0..{FLOAT_BITS}, float_bits in 1..{FLOAT_BITS}; got {bias_bits}, {float_bits}.")
        self.bias_bits, self.float_bits = bias_bits, float_bits
        self._metric = replace(WEIGHTS, on=on)
        self._stored = stored or (lambda chosen: chosen)

    @property
    def metric(self) -> Metric:
        """Weights, in bytes."""
        return self._metric

    def tabulate(self, graph: LayerGraph, options: Sequence[LayerFormat]) -> CostTable:
        """One row; a layer whose weight is stored with another layer costs nothing more."""
        layers, owners = graph.quantisable, self._owners(graph)
        stored = [self._stored(option) for option in options]
        cells = np.zeros((len(layers), len(options)))
        mine = [i for i, layer in enumerate(layers) if layer.storage is not None and owners.get(layer.storage) is layer]
        numbers = {pair.weight for pair in stored if pair is not None}
        bytes_of = {number: self._bytes([layers[i] for i in mine], number) for number in numbers}
        for j, pair in enumerate(stored):
            cells[mine, j] = np.inf if pair is None else bytes_of[pair.weight]
        cells[:, [pair is None for pair in stored]] = np.inf
        rest = [layer for layer in owners.values() if not layer.quantisable]
        fixed = sum(self.packing.bytes(layer.params, self.float_bits) for layer in rest)
        fixed += sum(self.packing.bytes(parameter.elements, self.float_bits) for parameter in graph.parameters)
        fixed += -(-sum(_biases(graph).values()) * self.bias_bits // 8)
        return CostTable.one_row(
            self._metric, [layer.name for layer in layers], options, cells, float(fixed),
            convention=self._sentence(), notes=(*self._notes(rest, graph), *left_out_notes(graph)),
        )  # fmt: skip

    def _bytes(self, layers: Sequence[Layer], number: NumberFormat) -> FloatArray:
        """(L,) bytes of each layer's weight: as the device packs plain integers and indices, other formats with the scales of their own."""
        if number.scaling.per != "plain":
            bits = [number.storage_bits(_channels(layer), layer.params // max(1, _channels(layer))) for layer in layers]
            return np.ceil(np.array(bits, np.float64) / 8)
        packed = self.packing.table([layer.params for layer in layers], [number.bits]).reshape(-1)
        beside = np.array([self.metadata.bytes(layer.params, _channels(layer)) for layer in layers], np.float64)
        codes = number.element.codes * number.element.code.bits / 8 if isinstance(number.element, Codebook) else 0.0
        found: FloatArray = packed + beside + codes
        return found

    def _owners(self, graph: LayerGraph) -> dict[Storage, Layer]:
        """Weight -> the layer that its storage is counted with: the first quantisable one, else the first."""
        owners = {layer.storage: layer for layer in graph.weight_owners if layer.storage is not None}
        for layer in reversed(graph.quantisable):
            if layer.storage in owners:
                owners[layer.storage] = layer
        return owners

    def _sentence(self) -> str:
        meta = self.metadata
        beside = f"{meta.scale_bits}-bit scale" + (f" and {meta.zero_point_bits}-bit zero point" if meta.zero_point_bits else "")
        with_meta = f"plus a {beside} per {meta.per}" if meta.scale_bits or meta.zero_point_bits else "without scales"
        biases = f"biases at {self.bias_bits} bits" if self.bias_bits else "biases left out"
        return (
            f"weight storage as deployed, packing '{self.packing.rule}', {with_meta}; {biases}, one a channel where a batch norm folds "
            f"into a layer; all other parameters at {self.float_bits} bits; each parameter once."
        )

    def _notes(self, rest: Sequence[Layer], graph: LayerGraph) -> tuple[str, ...]:
        found = []
        if self.metadata.scale_bits and self.metadata.per != "tensor":
            found.append(f"a scale per {self.metadata.per}, as devices store it, is counted where quantisers share one (lsq, dorefa), too.")
        if rest:
            found.append(f"weights without a choice of width are stored at {self.float_bits} bits: {listed([r.name for r in rest])}.")
        if graph.parameters:
            names = [f"{p.name} ({p.elements:,})" for p in graph.parameters]
            found.append(f"parameters that no counted layer uses are stored at {self.float_bits} bits: {listed(names)}.")
        return tuple(found)


def _channels(layer: Layer) -> int:
    """Output channels of a weight tensor: its first dimension, but of a transposed convolution the second times the groups."""
    shape = layer.weight_shape
    return shape[1] * layer.groups if layer.transposed and len(shape) > 1 else (shape[0] if shape else 1)


def _biases(graph: LayerGraph) -> dict[str, int]:
    """Module (layer, where it has none) -> its bias elements: a module used twice has one bias."""
    found: dict[str, int] = {}
    for layer in graph.layers:
        found.setdefault(layer.module or layer.name, layer.extra_params)
    return found
