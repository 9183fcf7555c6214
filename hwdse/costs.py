"""Every cost model lowers to a table: a max of sums.

A table has rows; a row is a sum over layers of one cell per (layer, widths) plus a fixed part; the cost of an
allocation is its largest row. One row: BitOPs, weight memory, latency, energy. One row per schedule step: peak
activation memory. One row per layer: pipelined throughput. Most (row, layer) pairs are empty where there are many
rows, so the cells are kept as *entries*: entry e belongs to row ``row[e]`` and layer ``layer[e]``. What two layers cost
together (a conversion between their widths) stands apart, in ``edges``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .choices import Choices, IntArray
from .edges import CHUNK, Edges
from .errors import UsageError
from .formats import LayerFormat
from .graph import LayerGraph
from .metrics import Metric

FloatArray = npt.NDArray[np.float64]
SourceArray = npt.NDArray[np.int8]

# Where a cell's number comes from, best first. "computed": a formula whose inputs are all known (BitOPs, bytes).
SOURCES = ("computed", "exact", "signature", "rounded", "interpolated", "analytic", "unsupported")
SOURCE_CODE = {name: code for code, name in enumerate(SOURCES)}


@dataclass(frozen=True, eq=False)
class CostTable:
    """Costs of every layer at every option, in the metric's stored unit.

    Attributes:
        metric: what it is, and on which accelerator.
        layers: L names; options: O width pairs.
        cells: (E, O) cost of entry e at each option; +inf where the device cannot run it.
        row, layer: (E,) row and layer index of each entry. Sorted by row.
        fixed: (R,) the part of each row that no choice changes.
        sources: (E, O) index into :data:`SOURCES`.
        convention: one sentence: the rule behind the number. Printed in reports.
        notes: what the number leaves out or assumes, a sentence each.
        row_names: (R,) label of each row; empty where there is one.
        edges: what pairs of layers cost together; None where nothing does.
        errors: (E, O) how far off each cell may be, in the metric's unit, NaN where nobody knows; None: they are exact by definition.
        fixed_errors: (R,) the same of the fixed parts.
        whole_error: how far off totals were found to be against whole networks, relative (calibration); it then stands for the cells'.

    Raises:
        UsageError: shapes that do not fit, NaN, negative costs.
    """

    metric: Metric
    layers: tuple[str, ...]
    options: tuple[LayerFormat, ...]
    cells: FloatArray
    row: IntArray
    layer: IntArray
    fixed: FloatArray
    sources: SourceArray
    convention: str = ""
    notes: tuple[str, ...] = ()
    row_names: tuple[str, ...] = field(default=())
    edges: Edges | None = None
    errors: FloatArray | None = None
    fixed_errors: FloatArray | None = None
    whole_error: float | None = None

    @property
    def said(self) -> tuple[str, ...]:
        """The notes without their full stops, as other notes are kept."""
        return tuple(note.rstrip(".") for note in self.notes)

    def __post_init__(self) -> None:
        if self.edges is not None and not len(self.edges):
            object.__setattr__(self, "edges", None)
        entries, options = self.cells.shape
        shapes_fit = (
            options == len(self.options)
            and self.row.shape == self.layer.shape == (entries,)
            and self.sources.shape == self.cells.shape
            and (self.errors is None or self.errors.shape == self.cells.shape)
            and (self.fixed_errors is None or self.fixed_errors.shape == self.fixed.shape)
            and (entries == 0 or 0 <= self.row.min() <= self.row.max() < len(self.fixed))
            and (entries == 0 or 0 <= self.layer.min() <= self.layer.max() < len(self.layers))
            and bool((np.diff(self.row) >= 0).all())
            and len(self.fixed) > 0
            and (self.edges is None or self.edges.fits(len(self.layers), options, len(self.fixed)))
        )
        if not shapes_fit:
            raise UsageError(f"cost table '{self.metric.key}': shapes of cells, row, layer, fixed, sources and edges do not fit.")
        if np.isnan(self.cells).any() or not np.isfinite(self.fixed).all():
            raise UsageError(f"cost table '{self.metric.key}' holds NaN, or a fixed part that is not finite.")
        if (self.cells < 0).any() or (self.fixed < 0).any():
            raise UsageError(f"cost table '{self.metric.key}' holds a negative cost.")

    @classmethod
    def one_row(
        cls,
        metric: Metric,
        layers: Sequence[str],
        options: Sequence[LayerFormat],
        cells: FloatArray,
        fixed: float = 0.0,
        sources: SourceArray | str = "computed",
        convention: str = "",
        notes: Sequence[str] = (),
    ) -> CostTable:
        """A table that is one sum over layers. ``cells`` is (L, O); ``sources`` an array like it, or one name for all."""
        cells = np.asarray(cells, np.float64)
        if isinstance(sources, str):
            sources = np.full(cells.shape, SOURCE_CODE[sources], np.int8)
        sources = np.where(np.isinf(cells), np.int8(SOURCE_CODE["unsupported"]), sources).astype(np.int8)
        count = len(layers)
        return cls(
            metric, tuple(layers), tuple(options), cells, np.zeros(count, np.intp), np.arange(count),
            np.array([fixed], np.float64), sources, convention, tuple(notes),
        )  # fmt: skip

    @property
    def rows(self) -> int:
        """Number of rows R."""
        return len(self.fixed)

    @property
    def numbers(self) -> tuple[npt.NDArray[np.generic], ...]:
        """Every array that a cost depends on, for fingerprints."""
        pairs = () if self.edges is None else (self.edges.ends, self.edges.row, self.edges.cells)
        off = [a for a in (self.errors, self.fixed_errors) if a is not None]
        whole = () if self.whole_error is None else (np.array([self.whole_error]),)
        return (self.cells, self.fixed, self.row, self.layer, *pairs, *off, *whole)

    @cached_property
    def dense(self) -> FloatArray:
        """(R, L, O) the cells with zeros where a row does not touch a layer. Edges are not in it."""
        out = np.zeros((self.rows, len(self.layers), len(self.options)))
        np.add.at(out, (self.row, self.layer), self.cells)
        return out

    @cached_property
    def supported(self) -> npt.NDArray[np.bool_]:
        """(L, O) whether the device can run each layer at each option."""
        out = np.ones((len(self.layers), len(self.options)), bool)
        np.logical_and.at(out, self.layer, np.isfinite(self.cells))
        return out

    def aligned(self, choices: Choices) -> CostTable:
        """The table over the layers and options of ``choices``, in their order.

        Raises:
            UsageError: the table lacks one of them. Layers that ``choices`` lacks are an error too: their cost would be lost.
        """
        if self.layers == choices.layers and self.options == choices.options:
            return self
        lacking = [str(o) for o in choices.options if o not in self.options]
        if lacking or set(self.layers) != set(choices.layers):
            different = sorted(set(self.layers) ^ set(choices.layers))
            raise UsageError(
                f"cost table '{self.metric.key}' was made for other choices: "
                + (f"it lacks the options {', '.join(lacking)}." if lacking else f"layers differ in {', '.join(different[:5])}.")
            )
        column = np.array([self.options.index(o) for o in choices.options], np.intp)
        place = np.array([choices.position[n] for n in self.layers], np.intp)
        return replace(
            self, layers=choices.layers, options=choices.options, cells=self.cells[:, column],
            layer=place[self.layer], sources=self.sources[:, column],
            errors=None if self.errors is None else self.errors[:, column], edges=self.edges and self.edges.aligned(place, column),
        )  # fmt: skip

    def row_totals(self, indices: IntArray) -> FloatArray:
        """(N, R) every row's value for N allocations given as (N, L) option indices."""
        chosen = np.atleast_2d(indices)
        entries, options = self.cells.shape
        out = np.broadcast_to(self.fixed, (len(chosen), self.rows)).copy()
        if self.edges is not None:
            out += self.edges.row_totals(chosen, self.rows)
        if not entries:
            return out
        flat, offset = self.cells.ravel(), np.arange(entries) * options
        starts = np.flatnonzero(np.diff(self.row, prepend=-1))
        used = self.row[starts]
        step = max(1, CHUNK // entries)
        for begin in range(0, len(chosen), step):
            part = chosen[begin : begin + step]
            gathered = np.take(flat, part[:, self.layer] + offset)
            sums = gathered.sum(axis=1, keepdims=True) if len(starts) == 1 else np.add.reduceat(gathered, starts, axis=1)
            out[begin : begin + step, used] += sums
        return out

    def totals(self, indices: IntArray) -> FloatArray:
        """(N,) the cost of N allocations given as (N, L) option indices."""
        result: FloatArray = self.row_totals(indices).max(axis=1)
        return result

    def total(self, allocation: Mapping[str, LayerFormat]) -> float:
        """The cost of one allocation. +inf where the device cannot run it.

        Raises:
            UsageError: a layer missing or unknown, or widths outside the options.
        """
        wrong = set(allocation) ^ set(self.layers)
        if wrong:
            raise UsageError(f"an allocation must name the layers of the table; they differ in {', '.join(sorted(wrong)[:5])}.")
        column = {o: j for j, o in enumerate(self.options)}
        try:
            indices = np.array([column[allocation[n]] for n in self.layers], np.intp)
        except KeyError as error:
            raise UsageError(f"table '{self.metric.key}' has no costs at {error.args[0]}.") from None
        return float(self.totals(indices)[0])

    def by_layer(self, indices: IntArray) -> FloatArray:
        """(L,) each layer's share of the largest row for one allocation (L,); the fixed part is not in it.

        An edge counts for its second layer: the one that reads what had to be converted.
        """
        worst = int(np.argmax(self.row_totals(indices)[0]))
        out = np.zeros(len(self.layers))
        mine = self.row == worst
        np.add.at(out, self.layer[mine], self.cells[mine, indices[self.layer[mine]]])
        if self.edges is not None:
            here = self.edges.row == worst
            np.add.at(out, self.edges.ends[here, 1], self.edges.chosen(indices[None])[0, here])
        return out

    def error(self, indices: IntArray) -> float:
        """How far off the cost of one allocation (L,) may be, in the metric's unit; NaN where that is not known.

        Against whole networks where that was measured, else the sum of the cells' errors, as if all of them erred the same way.
        """
        totals = self.row_totals(indices)[0]
        worst = int(np.argmax(totals))
        if self.whole_error is not None:
            return float(self.whole_error * totals[worst])
        mine = self.row == worst
        cells = 0.0 if self.errors is None else float(self.errors[mine, indices[self.layer[mine]]].sum())
        return cells + (0.0 if self.fixed_errors is None else float(self.fixed_errors[worst]))

    def by_source(self, indices: IntArray) -> dict[str, float]:
        """Share of the largest row by where its cells come from, adding up to 1; also ``"fixed"`` and ``"conversions"``, the edges."""
        totals = self.row_totals(indices)[0]
        worst = int(np.argmax(totals))
        mine = self.row == worst
        chosen = indices[self.layer[mine]]
        values, codes = self.cells[mine, chosen], self.sources[mine, chosen]
        whole = totals[worst] or 1.0
        shares = {SOURCES[c]: float(values[codes == c].sum() / whole) for c in np.unique(codes)}
        if self.fixed[worst] > 0:
            shares["fixed"] = float(self.fixed[worst] / whole)
        pairs = 0.0 if self.edges is None else float(self.edges.row_totals(indices[None], self.rows)[0, worst])
        if pairs > 0:
            shares["conversions"] = pairs / float(whole)
        return shares

    def monotone(self) -> CostTable:
        """The table in which no option costs more than one that it refines (:meth:`LayerFormat.refines`).

        For losses: formats that differ only by noise never make the finer one look worse. Edges stay as they are.
        """
        cells = self.cells.copy()
        for j, option in enumerate(self.options):
            coarser = [k for k, other in enumerate(self.options) if option.refines(other)]
            cells[:, j] = self.cells[:, coarser].min(axis=1)
        return replace(self, cells=cells)


class CostModel(Protocol):
    """Turns a graph into a table. Adding one is one class with these two members.

    The formats of an option say what is stored (``option.weight.stored_bits``) and what multiplies (``option.weight.operand``).
    """

    @property
    def metric(self) -> Metric:
        """What it measures, and on which accelerator."""
        ...

    def tabulate(self, graph: LayerGraph, options: Sequence[LayerFormat]) -> CostTable:
        """One table over ``graph.quantisable`` and ``options``.

        Raises:
            MissingCost: a number that nobody measured and that may not be estimated.
        """
        ...
