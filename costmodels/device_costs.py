"""Latency and energy of a network on an accelerator: one row, a cell per layer and pair, the rest fixed.

cost = offset + scale · (sum of cells + overhead of every layer + overhead of the network + layers without a choice + conversions)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..costs import SOURCE_CODE, CostTable
from ..errors import MissingCost, UnknownName
from ..formats import LayerFormat
from ..graph import LayerGraph
from ..metrics import Metric
from .answers import Answer
from .conversions import Conversion
from .coverage import left_out_notes, listed
from .resolution import Resolver
from .signature import signature_of


@dataclass(frozen=True, eq=False)
class DeviceCost:
    """Cost model of one quantity on one accelerator.

    Attributes:
        metric: latency in seconds or energy in joules.
        resolver: where the numbers come from.
        layer, network: overhead of every layer and of the network, in the metric's unit.
        offset, scale: calibration ``a + b · sum``.
        conversion: what changing the width of a tensor between two layers costs.
        error: leave-one-out error of the calibration, relative; None where there is none.
        slowest: the largest layer counts, not the sum: a row for each layer (pipelined devices).
        convention: the rule behind the number. notes: what holds whatever the network is.
    """

    metric: Metric
    resolver: Resolver
    layer: float = 0.0
    network: float = 0.0
    offset: float = 0.0
    scale: float = 1.0
    convention: str = ""
    notes: tuple[str, ...] = ()
    slowest: bool = False
    conversion: Conversion | None = None
    error: float | None = None

    def tabulate(self, graph: LayerGraph, options: Sequence[LayerFormat]) -> CostTable:
        """One row, in the metric's unit; a row for each layer where the slowest decides.

        Raises:
            MissingCost: a layer that was not measured and may not be estimated.
        """
        layers = graph.quantisable
        answers = self.resolver.resolve(layers, options)
        rest = [layer for layer in graph.layers if not layer.quantisable]
        others = [row[0] for row in self.resolver.resolve(rest, [self.resolver.precision.other])]
        stuck = [layer.name for layer, answer in zip(rest, others, strict=True) if np.isinf(answer.value)]
        if stuck:
            raise MissingCost(
                f"{self.resolver.name} cannot run {listed(stuck)} at {self.resolver.precision.other}, "
                "its width for layers that none is chosen for; change precision.other in its file."
            )
        values = np.array([[a.value for a in row] for row in answers], np.float64).reshape(len(layers), len(options))
        codes = np.array([[SOURCE_CODE[a.source] for a in row] for row in answers], np.int8).reshape(values.shape)
        apart = [a.value + self.layer for a in others]
        notes = self._found(graph, answers, options), self._fixed_notes([r.name for r in rest], others), self.notes, left_out_notes(graph)
        table = CostTable.one_row(
            self.metric, [layer.name for layer in layers], options, self.scale * (values + self.layer),
            self.offset + self.scale * (self.network + sum(apart)), codes, self.convention, [n for some in notes for n in some],
        )  # fmt: skip
        off = self.scale * np.array([[_off(a) for a in row] for row in answers], np.float64).reshape(values.shape)
        off_apart = [self.scale * _off(a) for a in others]
        table = replace(table, errors=off, fixed_errors=np.array([sum(off_apart)], np.float64), whole_error=self.error)
        if self.slowest:
            fixed = self.offset + self.scale * np.array([0.0] * len(layers) + apart)
            names = tuple(layer.name for layer in (*layers, *rest))
            apart_off = np.array([0.0] * len(layers) + off_apart)
            table = replace(table, row=np.arange(len(layers)), fixed=fixed, fixed_errors=apart_off, row_names=names)
        return table if self.conversion is None else self.conversion.added(table, graph, self.scale)

    def explain(self, graph: LayerGraph, layer: str, widths: LayerFormat) -> Answer:
        """Where the cost of one layer comes from and how far off it may be, before overheads and calibration.

        Raises:
            UnknownName: no such layer.
        """
        by_name = {one.name: one for one in graph.layers}
        if layer not in by_name:
            raise UnknownName("layer", layer, by_name)
        return self.resolver.resolve([by_name[layer]], [widths])[0][0]

    def _found(self, graph: LayerGraph, answers: Sequence[Sequence[Answer]], options: Sequence[LayerFormat]) -> list[str]:
        counts = Counter(answer.source for row in answers for answer in row)
        total = sum(counts.values())
        notes = []
        if self.resolver.lookup.rows:
            notes.append("cells by source: " + ", ".join(f"{name} {n / total:.0%}" for name, n in counts.most_common()) + ".")
            analytic = [
                layer.name
                for layer, row in zip(graph.quantisable, answers, strict=True)
                if any(answer.source == "analytic" for answer in row)
            ]
            if analytic:
                notes.append(f"not in the tables, so estimated by the analytic model: {listed(analytic)}.")
            notes.extend(self._batch_note(graph, analytic))
        bare = [
            layer.name
            for layer, row in zip(graph.quantisable, answers, strict=True)
            if self.resolver.lookup.rows and any(a.source == "analytic" and a.error is None for a in row)
        ]
        if bare:
            notes.append(f"estimated with an unknown error, the least certain numbers here: {listed(bare)}.")
        errors = [a.error for row in answers for a in row if a.error is not None]
        if errors:
            notes.append(f"estimated error of a cell: median {float(np.median(errors)):.1%}, largest {max(errors):.1%}.")
        moved = self.resolver.precision.sentence(options)
        return [*notes, f"{moved}."] if moved else notes

    def _batch_note(self, graph: LayerGraph, analytic: Sequence[str]) -> list[str]:
        """Says so where the tables would have an answer at another batch size."""
        measured = {s.batch for s in self.resolver.lookup.signatures}
        traced = {s.batch for layer in graph.quantisable if (s := signature_of(layer))}
        if not analytic or not measured or measured & traced or not traced:
            return []
        have, want = (listed([str(b) for b in sorted(batches)]) for batches in (measured, traced))
        return [f"the tables were measured at batch {have}; the model was traced at {want}."]

    def _fixed_notes(self, names: Sequence[str], others: Sequence[Answer]) -> list[str]:
        if not names:
            return []
        sources = ", ".join(sorted({a.source for a in others}))
        return [f"layers that no widths are chosen for are fixed at {self.resolver.precision.other} ({sources}): {listed(names)}."]


def _off(answer: Answer) -> float:
    """How far off an answer may be. A single measurement that states no spread is taken at its word; an estimate that nothing was compared
    with has no error to state."""
    if answer.error is None:
        return float("nan") if answer.source == "analytic" else 0.0
    return 0.0 if np.isinf(answer.value) else answer.value * answer.error
