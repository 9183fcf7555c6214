"""Which formats each layer may take: allowed options, pins, and ties between layers.

Inside the package an allocation is a row of integers, one option index per layer; names live at the edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import UnknownName, UsageError
from .formats import Allocation, LayerFormat, NumberFormat, grid, listed
from .graph import LayerGraph

IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]
Tie = tuple[str, ...]
ENDS = LayerFormat.of(8, 8)


@dataclass(frozen=True, eq=False)
class Choices:
    """The decision space.

    Attributes:
        layers: names of the layers to decide, in execution order (L of them).
        options: the common list of formats (O of them), in the order in which lists show them.
        allowed: (L, O) booleans. A pinned layer has one True.
        weight_ties, activation_ties: groups of layers that must share the weight, or the activation, format.

    Raises:
        UsageError: no option left for a layer, or ties that contradict the pins.
    """

    layers: tuple[str, ...]
    options: tuple[LayerFormat, ...]
    allowed: BoolArray
    weight_ties: tuple[Tie, ...] = ()
    activation_ties: tuple[Tie, ...] = ()

    def __post_init__(self) -> None:
        if not self.layers:
            raise UsageError("there must be at least one layer to quantise; the graph has none.")
        if self.allowed.shape != (len(self.layers), len(self.options)):
            raise UsageError(f"allowed must have shape {(len(self.layers), len(self.options))}, got {self.allowed.shape}.")
        for what, names in (("layer", self.layers), ("option", self.options)):
            if len(set(names)) != len(names):
                twice = sorted({str(n) for n in names if names.count(n) > 1})
                raise UsageError(f"each {what} must be named once; got {', '.join(twice)} more than once.")
        unknown = {n for t in (*self.weight_ties, *self.activation_ties) for n in t} - set(self.layers)
        if unknown:
            raise UnknownName("layer in a tie", min(unknown), self.layers)
        for tie in (*self.weight_ties, *self.activation_ties):
            for name in tie:
                if not self.allowed[self.position[name]].any():
                    raise UsageError(f"layer '{name}' has no allowed option.")
        allowed = self._propagated(self.allowed)
        allowed.setflags(write=False)
        object.__setattr__(self, "allowed", allowed)
        for i, name in enumerate(self.layers):
            if not allowed[i].any():
                raise UsageError(
                    f"layer '{name}' has no width left that its pins, the accelerator and the layers tied to it all allow; "
                    "pin it otherwise, or untie it."
                )

    @classmethod
    def of(
        cls,
        graph: LayerGraph,
        weights: Iterable[int | NumberFormat] = range(2, 9),
        activations: Iterable[int | NumberFormat] = range(2, 9),
        *,
        formats: Iterable[LayerFormat] | None = None,
        pins: Mapping[str, LayerFormat] | None = None,
        ends: LayerFormat | None = ENDS,
        tied: bool = True,
    ) -> Choices:
        """The default space of a traced model.

        Args:
            graph: the traced model.
            weights, activations: formats to choose from, every pair of them; a number is a plain integer of so many bits.
            formats: the options themselves, in place of ``weights`` and ``activations``.
            pins: layers held at one option, by name; wins over ``ends``.
            ends: the option at which the first and the last quantisable layer are held; None leaves them free.
            tied: layers that read one tensor, or are calls of one module, share their activation format; layers that share a weight its
                format.

        An embedding reads indices: its activation format means nothing and is held at the last one listed beside each weight format.
        A depthwise convolution sums over its kernel alone, less than a block: it may take block formats where a pin says so.

        Raises:
            UsageError: no layer to decide, or a depthwise one for which block formats alone are given.
        """
        layers = graph.quantisable
        if not layers:
            raise UsageError("there must be at least one layer to quantise; the graph has none.")
        held = {layers[0].name: ends, layers[-1].name: ends} if ends is not None else {}
        held.update(pins or {})
        unknown = set(held) - {layer.name for layer in layers}
        if unknown:
            raise UnknownName("layer to pin", min(unknown), [layer.name for layer in layers])
        free = grid(weights, activations) if formats is None else listed(formats)
        options = listed((*free, *held.values()))
        indexed = {option.weight: option for option in free}  # for an embedding: the last one listed of each weight format
        allowed = np.zeros((len(layers), len(options)), bool)
        for i, layer in enumerate(layers):
            for j, option in enumerate(options):
                if layer.name in held:
                    allowed[i, j] = option == held[layer.name]
                else:
                    allowed[i, j] = option in free and (layer.kind != "embedding" or indexed[option.weight] == option)
                    allowed[i, j] &= not (layer.depthwise and option.blocked)
            if layer.depthwise and not allowed[i].any():
                raise UsageError(
                    f"layer '{layer.name}' is a depthwise convolution, which sums over fewer numbers than a block has: give a format "
                    "without blocks too, such as int8, or pin it."
                )
        return cls(
            tuple(layer.name for layer in layers),
            options,
            allowed,
            graph.weight_ties if tied else (),
            _united((*graph.activation_ties, *graph.call_ties), [layer.name for layer in layers]) if tied else (),
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of :meth:`from_dict`."""
        allowed = {
            n: [str(o) for o, yes in zip(self.options, row, strict=True) if yes] for n, row in zip(self.layers, self.allowed, strict=True)
        }
        return {"allowed": allowed, "weight_ties": [*map(list, self.weight_ties)], "activation_ties": [*map(list, self.activation_ties)]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Choices:
        """From ``{"allowed": {layer: ["w4a4", ...]}, "weight_ties": [[layer, ...]], "activation_ties": [...]}``."""
        each = {name: {LayerFormat.parse(text) for text in texts} for name, texts in data["allowed"].items()}
        options = listed(set().union(*each.values()))
        allowed = np.array([[option in mine for option in options] for mine in each.values()], bool)
        return cls(tuple(each), options, allowed, tuple(map(tuple, data["weight_ties"])), tuple(map(tuple, data["activation_ties"])))

    def _ties(self, what: str) -> tuple[Tie, ...]:
        return self.weight_ties if what == "weight" else self.activation_ties

    def _propagated(self, allowed: BoolArray) -> BoolArray:
        """Removes options that no tied partner can match, until nothing changes (arc consistency)."""
        allowed = allowed.copy()
        codes = {"weight": self.weight_code, "activation": self.activation_code}
        while True:
            before = allowed.sum()
            for what, code in codes.items():
                for tie in self._ties(what):
                    rows = [self.position[name] for name in tie]
                    common = set.intersection(*(set(code[allowed[r]].tolist()) for r in rows))
                    allowed[rows] &= np.isin(code, list(common))
            if allowed.sum() == before:
                return allowed

    @cached_property
    def position(self) -> dict[str, int]:
        """Layer name -> row."""
        return {name: i for i, name in enumerate(self.layers)}

    @cached_property
    def column(self) -> dict[LayerFormat, int]:
        """Formats of a layer -> option index."""
        return {option: j for j, option in enumerate(self.options)}

    @cached_property
    def weight_formats(self) -> tuple[NumberFormat, ...]:
        """The distinct weight formats of the options, in the order in which lists show them."""
        return _distinct(o.weight for o in self.options)

    @cached_property
    def activation_formats(self) -> tuple[NumberFormat, ...]:
        """The distinct activation formats of the options, in the order in which lists show them."""
        return _distinct(o.activation for o in self.options)

    @cached_property
    def weight_code(self) -> IntArray:
        """(O,) position in :attr:`weight_formats` of each option's weight format: equal where the formats are."""
        return np.array([self.weight_formats.index(o.weight) for o in self.options], np.intp)

    @cached_property
    def activation_code(self) -> IntArray:
        """(O,) position in :attr:`activation_formats` of each option's activation format."""
        return np.array([self.activation_formats.index(o.activation) for o in self.options], np.intp)

    @cached_property
    def weight_bits(self) -> IntArray:
        """(O,) bits of an element of each option's weight. Two formats may have the same: ask :attr:`weight_code` whether they are one."""
        return np.array([o.weight.bits for o in self.options], np.intp)

    @cached_property
    def activation_bits(self) -> IntArray:
        """(O,) bits of an element of each option's activation."""
        return np.array([o.activation.bits for o in self.options], np.intp)

    @property
    def pinned(self) -> tuple[str, ...]:
        """Layers with a single option."""
        return tuple(n for n, row in zip(self.layers, self.allowed, strict=True) if row.sum() == 1)

    def restrict(self, allowed: BoolArray) -> Choices:
        """The same space with fewer options: (L, O) booleans, combined with and."""
        return replace(self, allowed=self.allowed & allowed)

    def pin(self, pins: Mapping[str, LayerFormat]) -> Choices:
        """The same space with some layers held at one pair each."""
        keep = np.ones_like(self.allowed)
        for name, widths in pins.items():
            if name not in self.position:
                raise UnknownName("layer to pin", name, self.layers)
            keep[self.position[name]] = [option == widths for option in self.options]
        return self.restrict(keep)

    def mapped(self, replaced: Callable[[LayerFormat], LayerFormat]) -> Choices:
        """The same space with other formats in place of its own, pins and ties kept."""
        images = [replaced(option) for option in self.options]
        options = listed(images)
        allowed = np.zeros((len(self.layers), len(options)), bool)
        for column, image in zip(self.allowed.T, images, strict=True):
            allowed[:, options.index(image)] |= column
        return Choices(self.layers, options, allowed, self.weight_ties, self.activation_ties)

    def indices(self, allocation: Mapping[str, LayerFormat]) -> IntArray:
        """(L,) option index per layer.

        Raises:
            UsageError: a layer missing, unknown, or at a pair outside the common list.
        """
        missing = [n for n in self.layers if n not in allocation]
        unknown = sorted(set(allocation) - set(self.layers))
        if missing or unknown:
            wrong = f"lacks {', '.join(missing[:5])}" if missing else f"names {', '.join(unknown[:5])}, which the model lacks"
            raise UsageError(f"an allocation must give widths to each of the {len(self.layers)} layers and to no other; it {wrong}.")
        try:
            return np.array([self.column[allocation[n]] for n in self.layers], np.intp)
        except KeyError as error:
            known = ", ".join(map(str, self.options))
            raise UsageError(f"widths {error.args[0]} are not among the options: {known}.") from None

    def allocation(self, indices: Sequence[int] | IntArray) -> Allocation:
        """The inverse of :meth:`indices`."""
        return Allocation({n: self.options[int(j)] for n, j in zip(self.layers, indices, strict=True)})

    def permits(self, indices: IntArray) -> BoolArray:
        """(N,) whether each of N allocations, (N, L), uses allowed options only and holds every tie."""
        chosen = np.atleast_2d(indices)
        good = np.asarray(self.allowed[np.arange(len(self.layers)), chosen].all(axis=1), dtype=bool)
        for what, code in (("weight", self.weight_code), ("activation", self.activation_code)):
            for tie in self._ties(what):
                group = code[chosen[:, [self.position[n] for n in tie]]]
                good = good & (group == group[:, :1]).all(axis=1)
        return good

    def refusal(self, indices: IntArray) -> str:
        """Why one allocation, (L,) option indices, is not permitted; empty where it is."""
        for i, (name, j) in enumerate(zip(self.layers, indices, strict=True)):
            if not self.allowed[i, j]:
                open_ = ", ".join(str(o) for o, ok in zip(self.options, self.allowed[i], strict=True) if ok)
                return f"layer '{name}' may take {open_}, got {self.options[j]}"
        for what in ("weight", "activation"):
            for tie in self._ties(what):
                found = [str(getattr(self.options[indices[self.position[name]]], what)) for name in tie]
                if len(set(found)) > 1:
                    got = ", ".join(f"{one} for {name}" for name, one in zip(tie, found, strict=True))
                    return f"tied layers must share one {what} format, got {got}"
        return ""

    def uniform(self, widths: LayerFormat) -> Allocation:
        """Every layer in one format; where a pin or a tie stands in the way, in the nearest that it allows, the wider of two.

        This is what ``w4a4`` means everywhere: as a baseline, in a relative limit, as formats that are asked for.

        Raises:
            UsageError: a layer could take the pair as far as pins and ties go, and is not allowed to; or no layer can take it.
        """
        chosen = np.array([self._nearest(i, widths) for i in range(len(self.layers))], np.intp)
        for what, code, wanted in self._wanted(widths):
            several = [i for i, row in enumerate(self.allowed) if len(set(code[row].tolist())) > 1]
            if several and not (code[chosen[several]] == wanted).any():
                raise UsageError(
                    f"{widths} is allowed for no layer: none that has a choice may take {getattr(widths, what)} as its {what} format."
                )
        if not self.permits(chosen)[0]:  # tied layers went apart: one after the other, the least free first, and what each allows the next
            held, tied = self, {name for tie in (*self.weight_ties, *self.activation_ties) for name in tie}
            for name in sorted(tied, key=lambda n: int(self.allowed[self.position[n]].sum())):
                held = held.pin({name: held.options[held._nearest(held.position[name], widths)]})
            chosen = np.array([held._nearest(i, widths) for i in range(len(self.layers))], np.intp)
        return self.allocation(chosen)

    def _wanted(self, widths: LayerFormat) -> tuple[tuple[str, IntArray, int], ...]:
        """(operand, its code of each option, the code that is asked for or -1)."""
        weight, activation = (
            formats.index(one) if one in formats else -1
            for formats, one in ((self.weight_formats, widths.weight), (self.activation_formats, widths.activation))
        )
        return ("weight", self.weight_code, weight), ("activation", self.activation_code, activation)

    def _nearest(self, layer: int, widths: LayerFormat) -> int:
        """The option of a layer for a uniform pair: only what a pin, a tie, or an input of indices settles may differ from it."""
        allowed, name = np.flatnonzero(self.allowed[layer]), self.layers[layer]
        open_ = allowed
        for what, code, wanted in self._wanted(widths):
            settled = len(set(code[allowed].tolist())) == 1 or any(name in tie for tie in self._ties(what))
            if not settled:
                open_ = open_[code[open_] == wanted]
        if not len(open_):
            listed = ", ".join(str(self.options[j]) for j in allowed)
            raise UsageError(f"{widths} is not allowed for layer '{name}'; allowed there: {listed}.")
        weight, activation = self.weight_bits[open_], self.activation_bits[open_]
        distance = np.abs(weight - widths.weight.bits) + np.abs(activation - widths.activation.bits)
        other = sum((code[open_] != wanted).astype(float) for _, code, wanted in self._wanted(widths))
        distance = distance + 0.5 * other  # of two formats of the same bits the one that is asked for
        return int(open_[np.lexsort((-(weight + activation), distance))[0]])

    def uniform_note(self, widths: LayerFormat) -> str:
        """Which layers :meth:`uniform` holds at another pair, pinned ones aside; empty where it does so to none."""
        pinned = set(self.pinned)
        others: dict[LayerFormat, list[str]] = {}
        for name, pair in self.uniform(widths).items():
            if pair != widths and name not in pinned:
                others.setdefault(pair, []).append(name)
        said = [f"{pair} for {', '.join(names[:8])}{f' and {len(names) - 8} more' if names[8:] else ''}" for pair, names in others.items()]
        return f"{widths} is {' and '.join(said)}: pins and ties allow nothing nearer there" if said else ""

    def at_least(self, weight: IntArray, activation: IntArray) -> IntArray:
        """(L,) the narrowest allowed option per layer with at least the given widths, (L,) each; the widest where none is.

        Ties are not looked at: the caller passes tied layers equal widths, or projects afterwards.
        """
        short = np.maximum(weight[:, None] - self.weight_bits, 0) + np.maximum(activation[:, None] - self.activation_bits, 0)
        size = self.weight_bits + self.activation_bits
        score = np.where(self.allowed, short * 1000.0 + size, np.inf)
        narrowest: IntArray = np.argmin(score, axis=1)
        return narrowest


def _united(ties: Sequence[Tie], order: Sequence[str]) -> tuple[Tie, ...]:
    """Ties with a layer in common as one tie; names in the given order."""
    groups: list[set[str]] = []
    for tie in ties:
        mates = [group for group in groups if group & set(tie)]
        groups = [*(group for group in groups if group not in mates), set(tie).union(*mates)]
    place = {name: i for i, name in enumerate(order)}
    found = [tuple(sorted(group, key=place.__getitem__)) for group in groups]
    return tuple(sorted(found, key=lambda tie: place[tie[0]]))


def _distinct(formats: Iterable[NumberFormat]) -> tuple[NumberFormat, ...]:
    return tuple(sorted(set(formats), key=lambda one: one.order))
