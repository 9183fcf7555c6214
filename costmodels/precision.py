"""Which pairs of widths a device runs, and what it does with the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ..bits import BitWidths
from ..errors import UsageError
from .coverage import listed

_EIGHT = BitWidths(8, 8)
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
        other: widths of layers that none are chosen for.

    Raises:
        UsageError: no pair left.
    """

    semantics: Semantics
    weights: tuple[int, ...]
    activations: tuple[int, ...]
    pairs: str | tuple[BitWidths, ...] = "any"
    unsupported: Literal["round_up", "error"] = "round_up"
    accumulator_bits: int = 32
    output_bits: int = 8
    codebooks: bool = False
    other: BitWidths = _EIGHT

    def __post_init__(self) -> None:
        if not self.native:
            raise UsageError("no pair of the listed weight and activation widths is allowed by 'pairs'.")

    @cached_property
    def native(self) -> tuple[BitWidths, ...]:
        """The pairs the device runs as they are, ascending by their sum of bits."""
        found = [
            BitWidths(w, a)
            for w in self.weights
            for a in self.activations
            if self.pairs == "any"
            or (self.pairs == "equal" and w == a)
            or (self.pairs == "w_le_a" and w <= a)
            or (not isinstance(self.pairs, str) and BitWidths(w, a) in self.pairs)
        ]
        return tuple(sorted(set(found), key=lambda p: (p.weight + p.activation, p)))

    def executed(self, chosen: BitWidths) -> BitWidths | None:
        """The pair that a layer with these widths runs at; None where the device cannot run it.

        The narrowest native pair that is at least as wide in both (by the sum of bits, then by weight bits).
        """
        if chosen in self.native:
            return chosen
        if self.semantics == "bit_serial" and self._spans(chosen):
            return chosen
        if self.unsupported == "error":
            return None
        wide = (p for p in self.native if p.weight >= chosen.weight and p.activation >= chosen.activation)
        return next(wide, None)

    def _spans(self, chosen: BitWidths) -> bool:
        inside = min(self.weights) <= chosen.weight <= max(self.weights)
        return self.pairs == "any" and inside and min(self.activations) <= chosen.activation <= max(self.activations)

    def sentence(self, options: Sequence[BitWidths]) -> str:
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
