"""A look-up table indexed for the questions that are asked of it: this instance, this shape, its neighbours, its pairs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from statistics import median
from typing import Literal

from ..formats import LayerFormat, NumberFormat
from .answers import Answer
from .signature import Signature
from .table_rows import Row

Quantity = Literal["seconds", "joules"]
Family = tuple[object, ...]
_PLACE = {field.name: place for place, field in enumerate(fields(Signature))}
_SINGLE = ("in_channels", "out_channels", "tokens", "batch")


@dataclass(frozen=True, eq=False)
class CostLookup:
    """The rows of an accelerator's tables that hold one quantity.

    Attributes:
        rows: every row. quantity: which of their costs is looked up.
        output_bits: output width that is preferred where rows differ in it only.
    """

    rows: tuple[Row, ...]
    quantity: Quantity
    output_bits: int = 8

    def _cost(self, row: Row) -> float | None:
        return row.seconds if self.quantity == "seconds" else row.joules

    @cached_property
    def unsupported(self) -> frozenset[tuple[Signature, LayerFormat]]:
        """Shapes and pairs that the device cannot run."""
        return frozenset((row.signature, row.widths) for row in self.rows if row.unsupported)

    @cached_property
    def instances(self) -> Mapping[tuple[str, Signature, LayerFormat], Answer]:
        """Costs of named layers."""
        named: dict[tuple[str, Signature, LayerFormat], list[Row]] = {}
        for row in self.rows:
            if row.instance and self._cost(row) is not None:
                named.setdefault((row.instance, row.signature, row.widths), []).append(row)
        return {key: self._summary(rows, "exact", f"row of {key[0]}") for key, rows in named.items()}

    @cached_property
    def instance_names(self) -> frozenset[str]:
        """Names that rows carry."""
        return frozenset(name for name, _, _ in self.instances)

    @cached_property
    def signatures(self) -> Mapping[Signature, Mapping[LayerFormat, Answer]]:
        """Costs of shapes: rows without an instance and a fused epilogue where there are any, else the median of the others."""
        found: dict[Signature, dict[LayerFormat, Row | list[Row]]] = {}
        for row in self.rows:
            if self._cost(row) is None:
                continue
            by_pair = found.setdefault(row.signature, {})
            before = by_pair.setdefault(row.widths, row)
            if isinstance(before, list):
                before.append(row)
            elif before is not row:
                by_pair[row.widths] = [before, row]
        return {signature: _Pairs(self, signature, by_pair) for signature, by_pair in found.items()}

    def _rank(self, row: Row) -> tuple[bool, bool, bool, int]:
        """Smaller is preferred: no instance, no fused epilogue, the device's output width (or none said), else the next wider."""
        gap = 0 if row.output_bits in (None, self.output_bits) else abs(row.output_bits - self.output_bits)
        narrower = row.output_bits is not None and row.output_bits < self.output_bits  # would be optimistic
        return bool(row.instance), bool(row.fused), narrower, gap

    def _summary(self, rows: Sequence[Row], source: str, detail: str) -> Answer:
        costs = [cost for row in rows if (cost := self._cost(row)) is not None]
        middle = median(costs)
        error = (max(costs) - min(costs)) / (2 * middle) if len(costs) > 1 else None
        if len(costs) == 1 and self.quantity == "seconds" and rows[0].spread is not None:
            error = rows[0].spread / middle
        many = f", median of {len(costs)} rows" if len(costs) > 1 else ""
        return Answer(middle, source, error, detail + many)

    def between_shapes(self, signature: Signature, widths: LayerFormat) -> Answer | None:
        """Linear interpolation along the one dimension with the tightest neighbours on both sides; None outside the range."""
        best: tuple[float, Answer] | None = None
        if signature not in self._families_of:
            self._families_of[signature] = _families(signature) if self.signatures else []
        for dimension, extent, key in self._families_of[signature]:
            family = self._neighbours.get((dimension, key), ())
            points = [(at, by_pair) for at, by_pair in family if widths in by_pair] if len(family) > 1 else []
            place = bisect_left(points, (extent,), key=lambda point: (point[0],))
            if not 0 < place < len(points):
                continue
            (low, under), (high, over) = points[place - 1], points[place]
            below, above = under[widths], over[widths]
            share = (extent - low) / (high - low)
            value = below.value + share * (above.value - below.value)
            gap = high / low
            if best is None or gap < best[0]:
                error = abs(above.value - below.value) / (2 * value)
                best = gap, Answer(value, "interpolated", error, f"between {dimension} {low} and {high} of {signature} at {widths}")
        return best[1] if best else None

    @cached_property
    def _families_of(self) -> dict[Signature, list[tuple[str, int, Family]]]:
        """Remembers :func:`_families`, which is asked for at every pair of widths."""
        return {}

    @cached_property
    def _neighbours(self) -> Mapping[tuple[str, Family], list[tuple[int, Mapping[LayerFormat, Answer]]]]:
        found: dict[tuple[str, Family], list[tuple[int, Mapping[LayerFormat, Answer]]]] = {}
        for signature, by_pair in self.signatures.items():
            for dimension, extent, key in _families(signature):
                found.setdefault((dimension, key), []).append((extent, by_pair))
        return {key: sorted(points, key=lambda point: point[0]) for key, points in found.items()}

    def between_widths(self, signature: Signature, widths: LayerFormat) -> Answer | None:
        """Linear interpolation between measured widths, for bit-serial devices; None outside the range.

        Along one width with the other as chosen where rows allow it, else along both: of times that grow with the product of the widths
        that is exact. The error is half the spread of the rows in between.
        """
        by_pair = self.signatures.get(signature, {})
        found = _along(by_pair, widths, "weight") or _along(by_pair, widths, "activation")
        found = found or _along(_filled(by_pair, widths.weight), widths, "activation")
        if found is None:
            return None
        value, corners = found
        costs = [by_pair[p].value for p in corners]
        between = " and ".join(", ".join(map(str, corners)).rsplit(", ", 1))
        for width, other in (("weight", "activation"), ("activation", "weight")):
            if all(getattr(p, other) == getattr(widths, other) for p in corners):
                between = f"{width} widths {getattr(corners[0], width).bits} and {getattr(corners[-1], width).bits}"
        return Answer(value, "interpolated", (max(costs) - min(costs)) / (2 * value), f"between {between} of {signature}")


class _Pairs(Mapping[LayerFormat, Answer]):
    """The costs of one shape. A large table is asked for few of its rows: what a row says in words is made when it is."""

    __slots__ = ("_lookup", "_rows", "_signature")

    def __init__(self, lookup: CostLookup, signature: Signature, rows: Mapping[LayerFormat, Row | list[Row]]) -> None:
        self._lookup, self._signature, self._rows = lookup, signature, rows

    def __getitem__(self, widths: LayerFormat) -> Answer:
        found = self._rows[widths]
        rows = found if isinstance(found, list) else [found]
        best = min(map(self._lookup._rank, rows))
        kept = [row for row in rows if self._lookup._rank(row) == best]
        return self._lookup._summary(kept, "signature", f"row of {self._signature} at {widths}")

    def __contains__(self, widths: object) -> bool:
        return widths in self._rows

    def __iter__(self) -> Iterator[LayerFormat]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


Between = tuple[float, tuple[LayerFormat, ...]]  # a value, and the measured pairs that it lies between


def _along(by_pair: Mapping[LayerFormat, Answer | Between], widths: LayerFormat, along: Literal["weight", "activation"]) -> Between | None:
    """Between the next narrower and the next wider pair that differ in one width only."""
    fixed = "activation" if along == "weight" else "weight"
    at = {getattr(p, along).bits: p for p in by_pair if p.plain and getattr(p, fixed) == getattr(widths, fixed)}
    wanted = getattr(widths, along).bits
    low, high = max((b for b in at if b < wanted), default=None), min((b for b in at if b > wanted), default=None)
    if low is None or high is None:
        return None
    (below, under), (above, over) = _between(by_pair, at[low]), _between(by_pair, at[high])
    return below + (wanted - low) / (high - low) * (above - below), (*under, *over)


def _between(by_pair: Mapping[LayerFormat, Answer | Between], pair: LayerFormat) -> Between:
    found = by_pair[pair]
    return (found.value, (pair,)) if isinstance(found, Answer) else found


def _filled(by_pair: Mapping[LayerFormat, Answer], weight: NumberFormat) -> Mapping[LayerFormat, Answer | Between]:
    """The pairs of one weight width: measured, or interpolated along the weights."""
    found: dict[LayerFormat, Answer | Between] = {}
    for activation in {p.activation for p in by_pair}:
        pair = LayerFormat(weight, activation)
        answer = by_pair.get(pair) or _along(by_pair, pair, "weight")
        if answer is not None:
            found[pair] = answer
    return found


def _families(signature: Signature) -> list[tuple[str, int, Family]]:
    """Every dimension along which interpolation makes sense: (name, extent, everything else of the signature)."""
    extents = tuple(vars(signature).values())
    found = []

    def along(dimension: str, *names: str) -> None:
        rest = list(extents)
        for name in names:
            rest[_PLACE[name]] = None
        found.append((dimension, getattr(signature, names[0]), tuple(rest)))

    for name in _SINGLE:
        if not (signature.op == "depthwise" and name.endswith("channels")):
            along(name, name)
    if signature.op == "depthwise" and signature.in_channels == signature.out_channels == signature.groups:
        along("channels", "in_channels", "out_channels", "groups")
    if signature.spatial and signature.in_h == signature.in_w:
        along("size", "in_h", "in_w")
    return found
