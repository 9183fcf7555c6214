"""A network under an allocation: weights through parametrisations, inputs through forward pre-hooks.

No module of the user's is changed, there is one network in memory, and a new allocation is set in place. :meth:`QuantizedModel.remove`
gives the original back, bit for bit, unless training or adaptive rounding has changed its weights. A weight that is computed by a
parametrisation or hook (weight norm, spectral norm, pruning) becomes the plain parameter that is deployed, and stays one; rows of an
embedding with ``max_norm`` are brought to their norm before they are rounded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.hooks import RemovableHandle

from .errors import UnknownName, UsageError
from .formats import FP32, Allocation, LayerFormat, NumberFormat
from .graph import LayerGraph
from .inputs import run
from .quantizers import Scheme
from .quantizers.by_format import ByFormat
from .trace.computed_weights import computed_before, make_plain

SAMPLED = 1 << 15  # elements of each input kept for calibrating ranges
Tap = Callable[[str, Tensor], Tensor]  # (module path, floating-point input) -> the input to go on with
Watch = Callable[[str, str, Tensor, Tensor, NumberFormat], None]  # (module path, "weight" or "input", floating point, quantised, format)


class _InFormat(nn.Module):
    """The parametrisation of one weight."""

    def __init__(self, quantizer: ByFormat, path: str, watches: list[Watch], renormed: tuple[float, float] | None = None) -> None:
        super().__init__()
        self.quantizer, self.path, self.watches = quantizer, path, watches
        self.renormed = renormed  # (kind of norm, largest norm of a row)
        self.format = FP32

    def forward(self, weight: Tensor) -> Tensor:
        if self.renormed is not None:  # in place, as PyTorch does it with the rows that it looks up
            with torch.no_grad():
                found = torch.renorm(weight, self.renormed[0], 0, self.renormed[1])
                if not torch.equal(found, weight):
                    weight.copy_(found)
        if self.format.floating:
            return weight
        quantised = self.quantizer.quantize(weight, self.format)
        for watch in self.watches:
            watch(self.path, "weight", weight, quantised, self.format)
        return quantised


class _Enough(Exception):
    """Stops a forward pass whose rest is not needed."""


class QuantizedModel:
    """A network whose layers can be set to any formats.

    Args:
        network: the user's model; its modules stay as they are.
        graph: its trace; ``graph.quantisable`` says what can be set.
        scheme: which quantisers.

    Until :meth:`set` is called, every layer runs in floating point.
    """

    def __init__(self, network: nn.Module, graph: LayerGraph, scheme: Scheme | None = None) -> None:
        self.network, self.graph, self.scheme = network, graph, scheme or Scheme()
        self.layers = tuple(layer.name for layer in graph.quantisable)
        modules = dict(network.named_modules())
        missing = [layer.module for layer in graph.quantisable if layer.module not in modules]
        if missing:
            raise UnknownName("module", str(missing[0]), [m for m in modules if m], "The graph was traced from another model.")
        self.module = {layer.name: str(layer.module) for layer in graph.quantisable}
        self._indexed = {layer.module for layer in graph.quantisable if layer.kind == "embedding"}
        self.weights: dict[str, _InFormat] = {}  # by module path, as the following two
        self.inputs: dict[str, ByFormat] = {}
        self.input_formats: dict[str, NumberFormat] = {}
        self.allocation: Allocation | None = None
        self.offsets: dict[str, Tensor] = {}
        self._shifted: set[str] = set()
        self._samples: dict[str, Tensor] = {}
        self._blocks: dict[str, Tensor] = {}
        self._taps: list[Tap] = []
        self._watches: list[Watch] = []
        self._handles: list[RemovableHandle] = []
        device = next((p.device for p in network.parameters()), torch.device("cpu"))
        made: dict[int, _InFormat] = {}
        self._largest: dict[str, float] = {}  # max_norm of embeddings
        for path in dict.fromkeys(self.module.values()):
            owner = modules[path]
            if computed_before(owner):
                make_plain(owner)
            norm = self._take_norm(path, owner)
            shared = made.get(id(owner.weight))  # modules that share a weight share its quantiser: it is one tensor on the device
            weight = shared if shared is not None else _InFormat(self._prepared(owner), path, self._watches, norm).to(device)
            made[id(owner.weight)] = weight
            parametrize.register_parametrization(owner, "weight", weight, unsafe=True)
            self.weights[path] = weight
            if path not in self._indexed:
                self.inputs[path] = ByFormat(self.scheme, axis=_channel_axis(owner)).to(device)
                self.input_formats[path] = FP32
                self._handles.append(owner.register_forward_pre_hook(self._hook(path), with_kwargs=True))
        self._owner = {path: modules[path] for path in self.weights}

    def _take_norm(self, path: str, owner: nn.Module) -> tuple[float, float] | None:
        """(kind, largest) norm of an embedding's rows, which the module no longer applies: it would move rounded rows off their levels."""
        if not isinstance(owner, nn.Embedding) or owner.max_norm is None:
            return None
        self._largest[path] = owner.max_norm
        owner.max_norm = None
        return owner.norm_type, self._largest[path]

    def _prepared(self, owner: nn.Module) -> ByFormat:
        transposed = isinstance(owner, nn.modules.conv._ConvTransposeNd)  # these hold (inputs, outputs / groups, ...)
        groups = owner.groups if isinstance(owner, nn.modules.conv._ConvNd) else 1
        return ByFormat(self.scheme, (cast(Tensor, owner.weight).detach(), 1 if transposed else 0, groups))

    def _hook(self, path: str) -> Any:
        def quantise_input(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
            name = None if args else next((k for k, v in named.items() if isinstance(v, Tensor)), None)
            x, number = args[0] if args else named[name or "input"], self.input_formats[path]
            for tap in self._taps:
                x = tap(path, x)
            if not number.floating:
                floating, x = x, self.inputs[path].quantize(x, number)
                for watch in self._watches:
                    watch(path, "input", floating, x, number)
            return ((x, *args[1:]), named) if name is None else (args, {**named, name: x})

        return quantise_input

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """What the network gives at the present widths."""
        return self.network(*inputs, **named)

    def weight_of(self, layer: str) -> Tensor:
        """The floating-point weight behind a layer, the leaf that training updates."""
        return self.original(self.module[layer])

    def original(self, path: str) -> Tensor:
        """The same by module path."""
        original: Tensor = self._owner[path].parametrizations.weight.original
        return original

    def distinct_weights(self) -> list[tuple[Tensor, ByFormat, NumberFormat]]:
        """(floating-point weight, its quantiser, present format), shared ones once."""
        found = {id(w): (self.original(path), w.quantizer, w.format) for path, w in self.weights.items()}
        return list(found.values())

    def weight_quantizer(self, layer: str) -> ByFormat:
        """The quantiser of a layer's weight."""
        return self.weights[self.module[layer]].quantizer

    def input_quantizer(self, layer: str) -> ByFormat | None:
        """The quantiser of a layer's input; None for embeddings, which read indices."""
        return self.inputs.get(self.module[layer])

    def input_sample(self, layer: str) -> Tensor | None:
        """About :data:`SAMPLED` elements of a layer's input, its extremes among them, from :meth:`observe`; None for embeddings."""
        return self._samples.get(self.module[layer])

    def input_blocks(self, layer: str) -> Tensor | None:
        """About :data:`SAMPLED` elements of a layer's input as whole columns of its channels, in its dimensions, from :meth:`observe`."""
        return self._blocks.get(self.module[layer])

    def parameters(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """(the network's own parameters, the quantisers' parameters)."""
        mine = {id(p) for w in self.weights.values() for p in w.parameters()}
        own = [p for p in self.network.parameters() if id(p) not in mine]
        quantizers = [*(w.quantizer for w in self.weights.values()), *self.inputs.values()]
        return own, list(dict.fromkeys(p for q in quantizers for p in q.parameters()))  # shared weights share theirs

    @contextlib.contextmanager
    def tapped(self, tap: Tap) -> Iterator[None]:
        """While open, ``tap`` sees every layer's floating-point input before it is quantised, and may replace it."""
        self._taps.append(tap)
        try:
            yield
        finally:
            self._taps.remove(tap)

    @contextlib.contextmanager
    def watched(self, watch: Watch) -> Iterator[None]:
        """While open, ``watch`` sees every weight and every input beside its quantised version, to which gradient hooks can be attached.

        Modules that share a weight show it under the path of the first of them. Tensors left in floating point are not shown.
        """
        self._watches.append(watch)
        try:
            yield
        finally:
            self._watches.remove(watch)

    @contextlib.contextmanager
    def in_float(self) -> Iterator[None]:
        """While open, every layer runs in floating point."""
        before = dict(self.input_formats), {p: w.format for p, w in self.weights.items()}
        self._to_formats(dict.fromkeys(self.inputs, FP32), dict.fromkeys(self.weights, FP32))
        try:
            yield
        finally:
            self._to_formats(*before)

    @contextlib.contextmanager
    def frozen_too(self) -> Iterator[None]:
        """While open, frozen weights get gradients as well: a layer that is not trained is not insensitive for that."""
        frozen = [w for w in (self.original(path) for path in self.weights) if not w.requires_grad]
        for weight in frozen:
            weight.requires_grad_(True)
        try:
            yield
        finally:
            for weight in frozen:
                weight.requires_grad_(False)
                weight.grad = None

    def calls(self, path: str, inputs: tuple[Tensor, ...], *, floating: bool, first: bool = False) -> list[tuple[Tensor, Tensor]]:
        """(input, output) of a module, call by call, when the network runs: in floating point throughout, or as it is set.

        The input is the one after quantisation. No gradient. With ``first``, the network is stopped after the first call.
        """
        seen: list[tuple[Tensor, Tensor]] = []

        def keep(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> None:
            seen.append((args[0] if args else next(v for v in named.values() if isinstance(v, Tensor)), output))
            if first:
                raise _Enough

        handle = self._owner[path].register_forward_hook(keep, with_kwargs=True)
        try:
            with torch.no_grad(), self.in_float() if floating else contextlib.nullcontext():
                run(self.network, inputs)
        except _Enough:
            pass
        finally:
            handle.remove()
        return seen

    def channels(self, path: str, output: Tensor) -> int:
        """Which dimension of a module's output holds its channels; counted from the end, as inputs may come without a batch."""
        convolution = isinstance(self._owner[path], nn.modules.conv._ConvNd)
        return output.ndim - 1 - (cast(Tensor, self._owner[path].weight).ndim - 2 if convolution else 0)

    def offset(self, path: str, values: Tensor) -> None:
        """Adds (C,) values to a module's output, channel by channel, when its weight is quantised: a bias correction."""
        if path not in self._shifted:
            self._shifted.add(path)
            self._handles.append(self._owner[path].register_forward_hook(self._shift(path)))
        self.offsets[path] = values.detach().to(self.original(path).device)

    def _shift(self, path: str) -> Any:
        def shift(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            if self.weights[path].format.floating or path not in self.offsets:
                return output
            axis = self.channels(path, output)
            return output + self.offsets[path].to(output.dtype).reshape([-1 if d == axis else 1 for d in range(output.ndim)])

        return shift

    def observe(self, batches: Iterable[tuple[tuple[Tensor, ...], Any]]) -> None:
        """Runs batches in floating point and keeps a sample of every layer's input, from which ranges are calibrated."""
        found: dict[str, list[Tensor]] = {path: [] for path in self.inputs}
        extremes: dict[str, Tensor] = {}
        columns: dict[str, list[Tensor]] = {path: [] for path in self.inputs}

        def keep(path: str, x: Tensor) -> Tensor:
            flat = x.detach().flatten()
            room = SAMPLED - sum(len(part) for part in found[path])
            if len(flat) and room > 0:
                found[path].append(flat[:: len(flat) // min(room, SAMPLED // 4) + 1].clone())
            wanted = SAMPLED - sum(part.numel() for part in columns[path])
            if len(flat) and wanted > 0:
                columns[path].append(_columns(x.detach(), self.inputs[path].axis, min(wanted, SAMPLED // 4)))
            if len(flat):  # an even sample misses the extremes, which ranges are about: one pair in all
                ends = torch.stack(flat.aminmax())
                before = extremes.get(path, ends)
                extremes[path] = torch.stack([torch.minimum(before[0], ends[0]), torch.maximum(before[1], ends[1])])
            return x

        with torch.no_grad(), evaluating(self.network), self.in_float(), self.tapped(keep):
            for inputs, _ in batches:
                run(self.network, inputs)
        self._samples = {path: torch.cat([*parts, extremes[path]]) for path, parts in found.items() if parts}
        self._blocks = {path: torch.cat(parts) for path, parts in columns.items() if parts}

    def _to_formats(self, inputs: Mapping[str, NumberFormat], weights: Mapping[str, NumberFormat]) -> None:
        self.input_formats.update(inputs)
        for path, number in weights.items():
            self.weights[path].format = number

    def serve(self, options: Iterable[LayerFormat]) -> None:
        """Makes the quantisers that some formats need, so that an optimiser can be given what they learn.

        Raises:
            UsageError: a format that no quantiser serves.
        """
        for option in options:
            for weight in self.weights.values():
                if not option.weight.floating:
                    weight.quantizer.of(option.weight)
            for quantizer in self.inputs.values():
                if not option.activation.floating:
                    quantizer.of(option.activation)

    def set(self, allocation: Mapping[str, LayerFormat], *, calibrate: bool = False) -> None:
        """Puts every layer in its formats, in place.

        Args:
            allocation: formats of every quantisable layer.
            calibrate: fit ranges and codebooks anew in the new formats (needs :meth:`observe` before); otherwise they are kept.

        Raises:
            UsageError: layers missing or unknown, a format that no quantiser serves, or nothing observed yet.
        """
        wrong = sorted(set(allocation) ^ set(self.layers))
        if wrong:
            raise UsageError(f"an allocation must name the model's quantisable layers; they differ in {', '.join(wrong[:5])}.")
        self._check_shared(allocation)
        self.serve(set(allocation.values()))
        self._to_formats(
            {self.module[n]: b.activation for n, b in allocation.items() if self.module[n] in self.inputs},
            {self.module[n]: b.weight for n, b in allocation.items()},
        )
        self.allocation = Allocation({n: allocation[n] for n in self.layers})
        if calibrate:
            self.calibrate()

    def _check_shared(self, allocation: Mapping[str, LayerFormat]) -> None:
        """Raises UsageError where one quantiser is given two formats: layers that are calls of one module, or share a weight."""
        found: dict[tuple[str, object], tuple[str, NumberFormat]] = {}
        for name, one in allocation.items():
            path = self.module[name]
            of: list[tuple[str, object, NumberFormat]] = [("weight", id(self.weights[path]), one.weight)]
            if path in self.inputs:
                of.append(("activation", path, one.activation))
            for what, key, number in of:
                other, same = found.setdefault((what, key), (name, number))
                if number != same:
                    raise UsageError(
                        f"layers '{other}' and '{name}' share one quantiser (calls of one module, or one weight), so they must have one "
                        f"{what} format; got {same} and {number}."
                    )

    def calibrate(self) -> None:
        """Fits every quantiser to the weight, or to the observed inputs, in the present formats."""
        for path, weight in self.weights.items():
            if not weight.format.floating:
                weight.quantizer.calibrate(self.original(path), weight.format)
        for path, quantizer in self.inputs.items():
            if not self.input_formats[path].floating:
                if path not in self._samples:
                    raise UsageError(
                        f"layer '{path}' saw no calibration data: call observe() first; a layer that never runs cannot be quantised."
                    )
                quantizer.calibrate(self._samples[path], self.input_formats[path])

    def state(self) -> dict[str, Any]:
        """Everything a checkpoint needs: weights, quantisers, widths, scheme. Tensors and plain values only."""
        return {
            "network": self.network.state_dict(),
            "inputs": {path: q.state_dict() for path, q in self.inputs.items()},
            "offsets": dict(self.offsets),
            "allocation": None if self.allocation is None else self.allocation.to_dict(),
            "scheme": list(astuple(self.scheme)),
            "graph": self.graph.fingerprint,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state`.

        Raises:
            UsageError: a checkpoint of another model or scheme.
        """
        if state.get("graph") != self.graph.fingerprint:
            raise UsageError(
                "the checkpoint is of another model: the layers, their shapes or their order are no longer those that it was made with "
                f"(graph {state.get('graph')}, now {self.graph.fingerprint}). Use the task as it was then."
            )
        if tuple(state.get("scheme", ())) != astuple(self.scheme):
            theirs = "+".join(map(str, state.get("scheme", ())))
            raise UsageError(f"the checkpoint is of other quantisers: it has {theirs}, the model {self.scheme}.")
        self.network.load_state_dict(state["network"])
        for path, part in state["inputs"].items():
            self.inputs[path].load_state_dict(part)
        self.offsets.clear()
        for path, values in state.get("offsets", {}).items():
            self.offset(path, values)
        if state["allocation"] is not None:
            self.set(Allocation.from_dict(state["allocation"]))

    def remove(self) -> nn.Module:
        """Takes every quantiser off and returns the network with its floating-point weights."""
        for handle in self._handles:
            handle.remove()
        for owner in self._owner.values():
            parametrize.remove_parametrizations(owner, "weight", leave_parametrized=False)
        for path, largest in self._largest.items():
            cast(nn.Embedding, self._owner[path]).max_norm = largest
        return self.network


def _channel_axis(module: nn.Module) -> int:
    """The dimension of a module's input that holds its channels, from the end: inputs may come without a batch."""
    return -(module.weight.ndim - 1) if isinstance(module, nn.modules.conv._ConvNd) else -1


def _columns(x: Tensor, axis: int, elements: int) -> Tensor:
    """About so many elements of ``x``: evenly spaced columns along ``axis``, (columns, channels, 1 ...)."""
    rows = x.movedim(axis, -1).reshape(-1, x.shape[axis])
    step = max(1, rows.numel() // max(elements, 1))
    return rows[::step].clone().reshape(-1, x.shape[axis], *(1,) * (-axis - 1))


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """While open, the network is in evaluation mode; every module's own mode is put back."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
