"""Which pairs of widths a device runs, and what it does with the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from ..errors import UsageError
from ..formats import Codebook, LayerFormat, NumberFormat, plain_integer
from .coverage import listed

_EIGHT = LayerFormat.of(8, 8)
Semantics = Literal["native", "fusion", "bit_serial", "storage_only"]


@dataclass(frozen=True)
class Precision:
    """The widths of a device.

    Attributes:
        semantics: ``native``: separate instructions per pair. ``fusion``: units that fuse into wider ones; like ``native``
            but widths between the compute widths save storage. ``bit_serial``: time grows with the bits, any width within
            the listed range runs as it is. ``storage_only``: narrow numbers are stored, wide ones computed.
        weights, activations: widths in bits.
        pairs: ``any`` combination, ``equal`` widths, ``w_le_a`` (weights at most as wide as activations), or a list.
        unsupported: a pair that is not native runs as the next wider native pair (``round_up``), or not at all (``error``).
        accumulator_bits, output_bits: width of partial sums, and at which a layer's output is written.
        codebooks: whether weights may be indices into a table of values.
        other: formats of layers that none are chosen for.
        formats: pairs of formats that run beside those of the widths. Nothing is ever scaled by its bits: what is not listed runs in a
            listed pair that refines it, in what ``promote`` says, or not at all.
        promote: format of an operand -> the one in which it runs instead.

    Raises:
        UsageError: no pair left, or promotions that go in a circle.
    """

    semantics: Semantics
    weights: tuple[int, ...]
    activations: tuple[int, ...]
    pairs: str | tuple[LayerFormat, ...] = "any"
    unsupported: Literal["round_up", "error"] = "round_up"
    accumulator_bits: int = 32
    output_bits: int = 8
    codebooks: bool = False
    other: LayerFormat = _EIGHT
    formats: tuple[LayerFormat, ...] = ()
    promote: Mapping[NumberFormat, NumberFormat] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.native:
            raise UsageError("no pair of the listed weight and activation widths is allowed by 'pairs'.")
        for number in self.promote:
            self._promoted(number)

    @cached_property
    def native(self) -> tuple[LayerFormat, ...]:
        """The pairs the device runs as they are, in the order in which a layer is given the first that refines its own."""
        found = [
            LayerFormat.of(w, a)
            for w in self.weights
            for a in self.activations
            if self.pairs == "any"
            or (self.pairs == "equal" and w == a)
            or (self.pairs == "w_le_a" and w <= a)
            or (not isinstance(self.pairs, str) and LayerFormat.of(w, a) in self.pairs)
        ]
        return tuple(sorted({*found, *self.formats}, key=lambda p: (p.weight.bits + p.activation.bits, p.order)))

    def executed(self, chosen: LayerFormat) -> LayerFormat | None:
        """The pair that a layer with these formats runs in; None where the device cannot run it.

        The first native pair that refines it (by the sum of bits, then by weight bits); for what is promoted, that of the promotion. A
        codebook's indices are looked up on the way: the multiplier sees its codes.
        """
        if chosen in self.native:
            return chosen
        if isinstance(chosen.weight.element, Codebook):
            codes = LayerFormat(plain_integer(chosen.weight.operand.bits), chosen.activation)
            return self.executed(codes) if self.codebooks else None
        promoted = LayerFormat(self._promoted(chosen.weight), self._promoted(chosen.activation))
        if promoted != chosen:
            return self.executed(promoted)
        if self.semantics == "bit_serial" and self._spans(chosen):
            return chosen
        if self.unsupported == "error":
            return None
        wide = (p for p in self.native if p.refines(chosen))
        return next(wide, None)

    def _promoted(self, number: NumberFormat) -> NumberFormat:
        seen = [number]
        while seen[-1] in self.promote:
            if self.promote[seen[-1]] in seen:
                circle = " -> ".join(map(str, (*seen, self.promote[seen[-1]])))
                raise UsageError(f"precision.promote goes in a circle: {circle}. Let one of them run as it is.")
            seen.append(self.promote[seen[-1]])
        return seen[-1]

    def _spans(self, chosen: LayerFormat) -> bool:
        w, a = chosen.weight.bits, chosen.activation.bits
        inside = min(self.weights) <= w <= max(self.weights)
        return chosen.plain and self.pairs == "any" and inside and min(self.activations) <= a <= max(self.activations)

    def sentence(self, options: Sequence[LayerFormat]) -> str:
        """What happens to the options that are not native, with examples; empty where all are."""
        runs = {option: self.executed(option) for option in options}
        moved = [f"{chosen} as {run}" for chosen, run in runs.items() if run is not None and run != chosen]
        stuck = [str(chosen) for chosen, run in runs.items() if run is None]
        parts = []
        if moved:
            parts.append(f"{len(moved)} of {len(runs)} pairs are not native and run as the next wider one: {listed(moved, 3)}")
        if stuck:
            parts.append(f"it cannot run {listed(stuck)}")
        return "; ".join(parts)
