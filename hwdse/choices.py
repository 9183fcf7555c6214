"""Which bit-widths each layer may take: allowed pairs, pins, and ties between layers.

Inside the package an allocation is a row of integers, one option index per layer; names live at the edges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .bits import Allocation, BitWidths, grid
from .errors import UnknownName, UsageError
from .graph import LayerGraph

IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]
Tie = tuple[str, ...]
ENDS = BitWidths(8, 8)


@dataclass(frozen=True, eq=False)
class Choices:
    """The decision space.

    Attributes:
        layers: names of the layers to decide, in execution order (L of them).
        options: the common list of width pairs (O of them), ascending.
        allowed: (L, O) booleans. A pinned layer has one True.
        weight_ties, activation_ties: groups of layers that must share the weight, or the activation, width.

    Raises:
        UsageError: no option left for a layer, or ties that contradict the pins.
    """

    layers: tuple[str, ...]
    options: tuple[BitWidths, ...]
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
        weights: Iterable[int] = range(2, 9),
        activations: Iterable[int] = range(2, 9),
        *,
        pins: Mapping[str, BitWidths] | None = None,
        ends: BitWidths | None = ENDS,
        tied: bool = True,
    ) -> Choices:
        """The default space of a traced model.

        Args:
            graph: the traced model.
            weights, activations: widths to choose from, in bits.
            pins: layers held at one pair, by name; wins over ``ends``.
            ends: the pair at which the first and the last quantisable layer are held; None leaves them free.
            tied: layers that read one tensor, or are calls of one module, share their activation width; layers that share a weight its
                width.

        An embedding reads indices: its activation width means nothing and is held at the widest.
        """
        layers = graph.quantisable
        if not layers:
            raise UsageError("there must be at least one layer to quantise; the graph has none.")
        held = {layers[0].name: ends, layers[-1].name: ends} if ends is not None else {}
        held.update(pins or {})
        unknown = set(held) - {layer.name for layer in layers}
        if unknown:
            raise UnknownName("layer to pin", min(unknown), [layer.name for layer in layers])
        free = grid(weights, activations)
        options = tuple(sorted({*free, *held.values()}))
        widest = max(o.activation for o in options)
        allowed = np.zeros((len(layers), len(options)), bool)
        for i, layer in enumerate(layers):
            for j, option in enumerate(options):
                if layer.name in held:
                    allowed[i, j] = option == held[layer.name]
                else:
                    allowed[i, j] = option in free and (layer.kind != "embedding" or option.activation == widest)
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
        each = {name: {BitWidths.parse(text) for text in texts} for name, texts in data["allowed"].items()}
        options = tuple(sorted(set().union(*each.values())))
        allowed = np.array([[option in mine for option in options] for mine in each.values()], bool)
        return cls(tuple(each), options, allowed, tuple(map(tuple, data["weight_ties"])), tuple(map(tuple, data["activation_ties"])))

    def _ties(self, what: str) -> tuple[Tie, ...]:
        return self.weight_ties if what == "weight" else self.activation_ties

    def _propagated(self, allowed: BoolArray) -> BoolArray:
        """Removes options that no tied partner can match, until nothing changes (arc consistency)."""
        allowed = allowed.copy()
        widths = {"weight": self.weight_bits, "activation": self.activation_bits}
        while True:
            before = allowed.sum()
            for what, bits in widths.items():
                for tie in self._ties(what):
                    rows = [self.position[name] for name in tie]
                    common = set.intersection(*(set(bits[allowed[r]].tolist()) for r in rows))
                    allowed[rows] &= np.isin(bits, list(common))
            if allowed.sum() == before:
                return allowed

    @cached_property
    def position(self) -> dict[str, int]:
        """Layer name -> row."""
        return {name: i for i, name in enumerate(self.layers)}

    @cached_property
    def column(self) -> dict[BitWidths, int]:
        """Width pair -> option index."""
        return {option: j for j, option in enumerate(self.options)}

    @cached_property
    def weight_bits(self) -> IntArray:
        """(O,) weight width of each option."""
        return np.array([o.weight for o in self.options], np.intp)

    @cached_property
    def activation_bits(self) -> IntArray:
        """(O,) activation width of each option."""
        return np.array([o.activation for o in self.options], np.intp)

    @property
    def pinned(self) -> tuple[str, ...]:
        """Layers with a single option."""
        return tuple(n for n, row in zip(self.layers, self.allowed, strict=True) if row.sum() == 1)

    def restrict(self, allowed: BoolArray) -> Choices:
        """The same space with fewer options: (L, O) booleans, combined with and."""
        return replace(self, allowed=self.allowed & allowed)

    def pin(self, pins: Mapping[str, BitWidths]) -> Choices:
        """The same space with some layers held at one pair each."""
        keep = np.ones_like(self.allowed)
        for name, widths in pins.items():
            if name not in self.position:
                raise UnknownName("layer to pin", name, self.layers)
            keep[self.position[name]] = [option == widths for option in self.options]
        return self.restrict(keep)

    def indices(self, allocation: Mapping[str, BitWidths]) -> IntArray:
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
        for what, bits in (("weight", self.weight_bits), ("activation", self.activation_bits)):
            for tie in self._ties(what):
                group = bits[chosen[:, [self.position[n] for n in tie]]]
                good = good & (group == group[:, :1]).all(axis=1)
        return good

    def refusal(self, indices: IntArray) -> str:
        """Why one allocation, (L,) option indices, is not permitted; empty where it is."""
        for i, (name, j) in enumerate(zip(self.layers, indices, strict=True)):
            if not self.allowed[i, j]:
                open_ = ", ".join(str(o) for o, ok in zip(self.options, self.allowed[i], strict=True) if ok)
                return f"layer '{name}' may take {open_}, got {self.options[j]}"
        for what, bits in (("weight", self.weight_bits), ("activation", self.activation_bits)):
            for tie in self._ties(what):
                found = [int(bits[indices[self.position[name]]]) for name in tie]
                if len(set(found)) > 1:
                    got = ", ".join(f"{name} {width}" for name, width in zip(tie, found, strict=True))
                    return f"tied layers must share one {what} width, got {got} bits"
        return ""

    def uniform(self, widths: BitWidths) -> Allocation:
        """Every layer at one pair; where a pin or a tie stands in the way, at the nearest pair that it allows, the wider of two.

        This is what ``w4a4`` means everywhere: as a baseline, in a relative limit, as widths that are asked for.

        Raises:
            UsageError: a layer could take the pair as far as pins and ties go, and is not allowed to; or no layer can take it.
        """
        chosen = np.array([self._nearest(i, widths) for i in range(len(self.layers))], np.intp)
        for what, bits, wanted in (("weight", self.weight_bits, widths.weight), ("activation", self.activation_bits, widths.activation)):
            several = [i for i, row in enumerate(self.allowed) if len(set(bits[row].tolist())) > 1]
            if several and not (bits[chosen[several]] == wanted).any():
                raise UsageError(f"{widths} is allowed for no layer: none that has a choice may take {wanted} bits of {what}.")
        if not self.permits(chosen)[0]:  # tied layers went apart: one after the other, the least free first, and what each allows the next
            held, tied = self, {name for tie in (*self.weight_ties, *self.activation_ties) for name in tie}
            for name in sorted(tied, key=lambda n: int(self.allowed[self.position[n]].sum())):
                held = held.pin({name: held.options[held._nearest(held.position[name], widths)]})
            chosen = np.array([held._nearest(i, widths) for i in range(len(self.layers))], np.intp)
        return self.allocation(chosen)

    def _nearest(self, layer: int, widths: BitWidths) -> int:
        """The option of a layer for a uniform pair: only what a pin, a tie, or an input of indices settles may differ from it."""
        allowed, name = np.flatnonzero(self.allowed[layer]), self.layers[layer]
        open_ = allowed
        for what, bits, wanted in (("weight", self.weight_bits, widths.weight), ("activation", self.activation_bits, widths.activation)):
            settled = len(set(bits[allowed].tolist())) == 1 or any(name in tie for tie in self._ties(what))
            if not settled:
                open_ = open_[bits[open_] == wanted]
        if not len(open_):
            listed = ", ".join(str(self.options[j]) for j in allowed)
            raise UsageError(f"{widths} is not allowed for layer '{name}'; allowed there: {listed}.")
        weight, activation = self.weight_bits[open_], self.activation_bits[open_]
        distance = np.abs(weight - widths.weight) + np.abs(activation - widths.activation)
        return int(open_[np.lexsort((-(weight + activation), distance))[0]])

    def uniform_note(self, widths: BitWidths) -> str:
        """Which layers :meth:`uniform` holds at another pair, pinned ones aside; empty where it does so to none."""
        pinned = set(self.pinned)
        others: dict[BitWidths, list[str]] = {}
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
