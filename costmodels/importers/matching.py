"""Joins the rows of a profile to the traced layers, and says what was left on either side. Nothing is split, summed or guessed.

1. By name. A row that names two layers is one time for both: it is reported, and left out. A layer that two rows name, too.
2. By shape or MACs, where exactly one row and exactly one layer have them, and the row is a layer by its type.
3. By order, only if asked for, and only if kinds and number of all rows and all layers agree.

A row whose file contradicts the traced layer (other MACs, weights, shapes) is refused, however it was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...errors import UsageError
from ...graph import Layer, LayerGraph
from ..signature import signature_of
from .facts import contradictions
from .layer_names import LayerNames, operations
from .ops import kinds_of
from .profile import PART, Profile, ProfileRow

Why = Literal["fused", "refused", "no cost", "unmatched"]
_NO_COST = "the file gives no cost for it"


@dataclass(frozen=True)
class Pair:
    """A layer and the row that is its cost. ``how``: name, shape, MACs or order."""

    layer: Layer
    row: ProfileRow
    how: str


@dataclass(frozen=True)
class LeftRow:
    """A row that is no layer's cost, the layers that it names, and the reason in a clause."""

    row: ProfileRow
    why: Why
    reason: str
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Match:
    """What was joined (in the order of the graph), and what was not.

    Attributes:
        pairs: one for each layer that has a cost. rows: the others of the profile. layers: the others of the graph, with the reason.
        share: of the traced MACs, those of the layers in ``pairs``.
    """

    pairs: tuple[Pair, ...]
    rows: tuple[LeftRow, ...]
    layers: tuple[tuple[Layer, str], ...]
    share: float

    @property
    def time_share(self) -> float | None:
        """Share of the seconds in the profile that are those of ``pairs``; None where it has none, or they are not all in seconds."""
        every = [pair.row for pair in self.pairs] + [left.row for left in self.rows]
        total = sum(row.seconds or 0.0 for row in every)
        if not total or any(row.cycles is not None for row in every):
            return None
        return sum(pair.row.seconds or 0.0 for pair in self.pairs) / total


def match(graph: LayerGraph, profile: Profile, by_order: bool = False) -> Match:
    """The join.

    Raises:
        UsageError: nothing matched, with the names on both sides; or ``by_order`` and the orders do not agree.
    """
    joining = _Joining(graph, profile)
    joining.by_name()
    joining.by_shape()
    if by_order and not _in_one(profile):
        joining.by_order()
    found = joining.result()
    if not found.pairs:
        raise UsageError(_in_one(profile) or _nothing(graph, profile, found, by_order))
    return found


def refused_for(layer: Layer, row: ProfileRow) -> str:
    """Why a row cannot be a layer's, by its kind and its facts; empty where nothing speaks against it."""
    kinds, op = kinds_of(row.op), _kind(layer)
    found = contradictions(row.facts, layer)
    if kinds is not None and op not in kinds:
        found.insert(0, f"{row.op} in the file, {op} in the model")
    if signature_of(layer) is None:
        found.append("no table can describe such a layer")
    return "; ".join(found)


def _kind(layer: Layer) -> str:
    signature = signature_of(layer)
    return signature.op if signature else layer.kind


class _Joining:
    """The state of one join: which row belongs to which layer, and why another does not."""

    def __init__(self, graph: LayerGraph, profile: Profile) -> None:
        self.graph, self.rows, self.only_layers = graph, profile.rows, profile.only_layers
        names = LayerNames(graph, profile.rows)
        self.named = [names.layers_of(row) for row in profile.rows]
        self.pairs: dict[str, tuple[int, str]] = {}  # layer -> index of its row, how
        self.left: dict[int, LeftRow] = {}
        self.lost: dict[str, str] = {}  # layer -> why it has no cost

    def by_name(self) -> None:
        claims: dict[str, list[int]] = {}
        for i, layers in enumerate(self.named):
            several = max(len(layers), len(self._operations(i)))
            if several > 1:
                self._leave(i, "fused", f"one time for {several} layers; it cannot be divided among them", layers)
            for layer in layers:
                claims.setdefault(layer, []).append(i)
        for layer, rows in claims.items():
            alone = [i for i in rows if i not in self.left]
            for i in alone:
                row = self.rows[i]
                if len(rows) > 1:
                    self._leave(i, "refused", f"{len(rows)} rows name this layer, and nothing says how to add them", [layer])
                elif not row.costed:
                    self._leave(i, "no cost", row.lacks or _NO_COST, [layer])
                elif reason := refused_for(self.graph[layer], row):
                    self._leave(i, "refused", reason, [layer])
                else:
                    self.pairs[layer] = i, "name"

    def _operations(self, i: int) -> list[str]:
        """What a row fuses, by the words in its names, whether or not the model has it."""
        row = self.rows[i]
        return operations(row.names) if len(row.names) > 1 and not row.opaque else []

    def by_shape(self) -> None:
        usable = [i for i, row in enumerate(self.rows) if row.costed and row.facts.identify and self._may_be_one(i)]
        fits = {i: [layer.name for layer in self.graph.layers if not refused_for(layer, self.rows[i])] for i in usable}
        for i, layers in fits.items():
            alone = len(layers) == 1 and sum(layers[0] in other for other in fits.values()) == 1
            if alone and not self.named[i] and layers[0] not in self.pairs and layers[0] not in self.lost:
                self.pairs[layers[0]] = i, self.rows[i].facts.what

    def _may_be_one(self, i: int) -> bool:
        """Whether a row is one layer, by its words alone."""
        kinds = kinds_of(self.rows[i].op)
        layer = self.only_layers if kinds is None else bool(kinds)
        return layer and not self.rows[i].opaque and len(self._operations(i)) < 2

    def by_order(self) -> None:
        counted = [i for i, row in enumerate(self.rows) if not row.opaque and (kinds_of(row.op) or (self.only_layers and not row.op))]
        if not counted and any(kinds_of(row.op) is None and not row.opaque for row in self.rows):
            raise UsageError(f"--by-order needs to know which rows are layers, and the files do not say it of {self._unknown()}.")
        layers = self.graph.layers
        have, need = [self.rows[i].op or "?" for i in counted], [_kind(layer) for layer in layers]
        if len(have) != len(need):
            raise UsageError(
                f"--by-order needs as many rows as layers: the file has {len(have)} ({_some(have)}), the model {len(need)} ({_some(need)})."
            )
        for i, layer in zip(counted, layers, strict=True):
            where = f"--by-order: '{self.rows[i].label}' ({self.rows[i].where}) cannot be layer '{layer.name}'"
            if not self._may_be_one(i):
                raise UsageError(f"{where}: it is several operations in one. The orders do not agree.")
            if reason := refused_for(layer, self.rows[i]):
                raise UsageError(f"{where}: {reason}. The orders do not agree.")
            if self.named[i] not in ([], [layer.name]) or self.pairs.get(layer.name, (i, ""))[0] != i:
                raise UsageError(f"{where}: it was matched otherwise by its name or shape. The orders do not agree.")
        for i, layer in zip(counted, layers, strict=True):
            if self.rows[i].costed:
                self.pairs.setdefault(layer.name, (i, "order"))
                self.left.pop(i, None)
                self.lost.pop(layer.name, None)
            elif layer.name not in self.pairs:
                self._leave(i, "no cost", self.rows[i].lacks or _NO_COST, [layer.name])

    def _unknown(self) -> str:
        """Rows of which nothing says what they are, and which file of the tool would."""
        rows = _some([row.label for row in self.rows if kinds_of(row.op) is None and not row.opaque])
        return f"{rows}; give the file that does as well (of trtexec: --exportLayerInfo with --profilingVerbosity=detailed)"

    def _leave(self, i: int, why: Why, reason: str, layers: Sequence[str]) -> None:
        self.left[i] = LeftRow(self.rows[i], why, reason, tuple(layers))
        said = {"fused": "fused into", "refused": "refused:", "no cost": "no cost in"}[why]
        for layer in layers:
            if layer not in self.pairs:
                self.lost[layer] = f"{said} '{self.rows[i].label}'" + ("" if why == "fused" else f": {reason}")

    def result(self) -> Match:
        used = {i for i, _ in self.pairs.values()}
        rows = [self.left.get(i) or self._unmatched(i) for i in range(len(self.rows)) if i not in used]
        layers = self.graph.layers
        places = [(layer, *self.pairs[layer.name]) for layer in layers if layer.name in self.pairs]
        pairs = [Pair(layer, self.rows[i], how) for layer, i, how in places]
        lost = [(layer, self.lost.get(layer.name, "no row")) for layer in layers if layer.name not in self.pairs]
        covered = sum(pair.layer.macs for pair in pairs)
        return Match(tuple(pairs), tuple(rows), tuple(lost), covered / self.graph.macs if self.graph.macs else 0.0)

    def _unmatched(self, i: int) -> LeftRow:
        row = self.rows[i]
        if row.opaque:
            return LeftRow(row, "unmatched", row.opaque)
        if not row.costed:
            return LeftRow(row, "no cost", row.lacks or _NO_COST)
        if kinds_of(row.op) == frozenset():
            return LeftRow(row, "unmatched", f"{row.op}, which is no counted layer")
        fits = [layer.name for layer in self.graph.layers if row.facts.identify and not refused_for(layer, row)]
        if fits and not self._may_be_one(i) and kinds_of(row.op) is None:
            return LeftRow(row, "unmatched", f"the file does not say what it computes, so its {row.facts.what} makes no layer of it")
        if fits:
            return LeftRow(row, "unmatched", f"more than one row or layer has its {row.facts.what}: {_some(fits)}")
        return LeftRow(row, "unmatched", f"no layer has its {row.facts.what}" if row.facts.identify else "no layer has its name")


def _in_one(profile: Profile) -> str:
    """What to say where rows that are the network in one hide all its layers; empty where other rows may be layers."""
    parts = [row for row in profile.rows if row.opaque == PART]
    if not parts or any(not row.opaque and kinds_of(row.op) != frozenset() for row in profile.rows):
        return ""
    files, names = ", ".join(path.name for path in profile.files), _some([f"'{row.label}'" for row in parts])
    others = "the only row" if len(profile.rows) == 1 else "the only row that could hold layers" if len(parts) == 1 else None
    which = f"{others} of {files}, {names}, is" if others else f"the rows of {files} that could hold layers, {names}, are each"
    return (
        f"{which} {PART}: its time cannot be divided among the layers. Profile a build that runs layer by layer (without the delegate or"
        " the compiled partition; of TensorRT, an engine whose layers stay apart). The total is of use, too: hwdse accelerators calibrate"
        " takes times of whole networks."
    )


def _nothing(graph: LayerGraph, profile: Profile, found: Match, by_order: bool) -> str:
    files = ", ".join(path.name for path in profile.files)
    reasons = [
        f"'{left.row.label}': {left.reason}"
        for left in found.rows
        if (left.why in ("refused", "fused", "no cost") and left.layers)
        or left.row.opaque == PART
        or (left.why == "no cost" and kinds_of(left.row.op))
    ]
    rows = [left.row.label for left in found.rows if kinds_of(left.row.op) != frozenset()] or [row.label for row in profile.rows]
    text = f"no row of {files} is the cost of a layer of this model. Rows: {_some(rows)}. Layers: {_some([x.name for x in graph.layers])}."
    if reasons:
        text += f" Refused: {'; '.join(dict.fromkeys(reasons[:4]))}."
    text += " Is it a profile of another network?"
    return text if by_order else text + " If the rows are the layers in their order, --by-order joins them where kinds and number agree."


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
