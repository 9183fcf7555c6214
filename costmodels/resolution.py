"""From a shape and a pair of widths to a cost, in a fixed order, each answer saying which step it came from.

1. ``exact``: a row with this layer's name (and network), shape and widths.
2. ``signature``: rows of this shape at these widths.
3. ``rounded``: the same at the next wider native pair. (``bit_serial`` devices: ``interpolated`` between widths.) Never
   between widths on other devices: on the Bit Fusion table 6 bits interpolated from 4 and 8 is 35 % too fast.
4. ``interpolated`` along one dimension of the shape, inside the range that was measured. Never extrapolated.
5. ``analytic``: the analytic model times the table's median ratio to it, for this operation and these widths (over at most
   :data:`COMPARED` shapes).
6. The file's ``missing``. ``error`` raises. ``analytic`` takes the model times the nearest ratio there is: of the operation at
   other widths, of dense convolutions, of everything. Never 0. A file without a table has the model as its source.

What the device cannot run is infinite, which is not the same as unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import numpy as np

from ..costs import FloatArray
from ..errors import MissingCost
from ..formats import LayerFormat
from ..graph import Layer
from .answers import Answer
from .latency_table import CostLookup
from .precision import Precision
from .signature import OpWork, Signature, Work, signature_of, work_of_layer, work_of_signature

Formula = Callable[[Work, Sequence[LayerFormat]], FloatArray]
COMPARED = 24  # shapes of an operation that a table's ratio to the analytic model is taken over
_UNSUPPORTED = Answer(math.inf, "unsupported", None, "the device cannot run it")


@dataclass(frozen=True)
class Refusal:
    """Widths of plain integers that a device cannot run for one operation; empty tuples mean all formats."""

    op: str
    kernel: tuple[int, ...] = ()
    weights: tuple[int, ...] = ()
    activations: tuple[int, ...] = ()

    def covers(self, signature: Signature, widths: LayerFormat) -> bool:
        """Whether this operation at these widths is meant."""
        return (
            self.op == signature.op
            and (not self.kernel or signature.kernel_h in self.kernel)
            and (not self.weights or (widths.weight.plain and widths.weight.bits in self.weights))
            and (not self.activations or (widths.activation.plain and widths.activation.bits in self.activations))
        )


@dataclass(frozen=True, eq=False)
class Resolver:
    """Answers for one quantity of one accelerator.

    Attributes:
        name, file: of the accelerator, for messages. what: "latency" or "energy".
        precision: the device's pairs. cannot_run: exceptions to them.
        lookup: its tables. formula: its analytic model (seconds or joules), None where it has none.
        missing_analytic: whether the model may answer without a measured ratio.
        least: an estimate by the analytic model is never below it.
        network: name that instance rows of this network are prefixed with, ``network:layer``; None for bare layer names.
    """

    name: str
    file: str
    what: str
    precision: Precision
    cannot_run: tuple[Refusal, ...]
    lookup: CostLookup
    formula: Formula | None
    missing_analytic: bool
    network: str | None = None
    least: float = 0.0

    def resolve(self, layers: Sequence[Layer], pairs: Sequence[LayerFormat]) -> list[list[Answer]]:
        """For every layer and chosen pair, its answer. Each distinct shape is worked out once.

        Raises:
            MissingCost: step 6, where the file says ``error`` or the model has no answer either.
        """
        executed = {pair: self.precision.executed(pair) for pair in pairs}
        runs = list(dict.fromkeys(pair for pair in executed.values() if pair is not None))
        modelled = self._modelled([work_of_layer(layer) for layer in layers], runs)
        column = {pair: j for j, pair in enumerate(runs)}
        known: dict[object, list[Answer]] = {}
        answers = []
        for i, layer in enumerate(layers):
            signature, instance = signature_of(layer), self._instance(layer)
            key = (signature, instance, work_of_layer(layer)) if signature else layer.name
            if key not in known:
                at = {run: self._at(layer, signature, instance, run, float(modelled[i, column[run]])) for run in runs}
                known[key] = [self._chosen(signature, pair, executed[pair], at) for pair in pairs]
            answers.append(known[key])
        return answers

    def _instance(self, layer: Layer) -> str:
        """The name that rows of this very layer carry; empty where the tables have none."""
        name = f"{self.network}:{layer.name}" if self.network else layer.name
        return name if name in self.lookup.instance_names else ""

    def _at(self, layer: Layer, signature: Signature | None, instance: str, run: LayerFormat, modelled: float) -> Answer:
        """The answer at a pair that the device executes."""
        if signature is None:
            return self._analytic(layer, "conv", run, modelled, None)
        if self._refused(signature, run):
            return _UNSUPPORTED
        found = self._measured(signature, instance, run)
        if found is None and self.precision.semantics == "bit_serial":
            found = self.lookup.between_widths(signature, run)
        found = found or self.lookup.between_shapes(signature, run)
        return found or self._analytic(layer, signature.op, run, modelled, signature)

    def _chosen(
        self, signature: Signature | None, chosen: LayerFormat, run: LayerFormat | None, at: Mapping[LayerFormat, Answer]
    ) -> Answer:
        """The answer at a pair that was chosen, which may run as a wider one."""
        if run is None or (signature is not None and run != chosen and self._refused(signature, chosen)):
            return _UNSUPPORTED
        found = at[run]
        if run == chosen or found.source not in ("exact", "signature"):
            return found
        return Answer(found.value, "rounded", found.error, f"{chosen} runs as {run}: {found.detail}")

    def _refused(self, signature: Signature, widths: LayerFormat) -> bool:
        if any(e.covers(signature, widths) for e in self.cannot_run):
            return True
        return bool(self.lookup.unsupported) and (signature, widths) in self.lookup.unsupported

    def _measured(self, signature: Signature, instance: str, widths: LayerFormat) -> Answer | None:
        named = self.lookup.instances.get((instance, signature, widths)) if instance else None
        return named or self.lookup.signatures.get(signature, {}).get(widths)

    def _modelled(self, rows: Sequence[OpWork], pairs: Sequence[LayerFormat]) -> FloatArray:
        if self.formula is None or not pairs:
            return np.full((len(rows), max(1, len(pairs))), np.nan)
        return self.formula(Work.of(rows), pairs)

    def _analytic(self, layer: Layer, op: str, run: LayerFormat, modelled: float, signature: Signature | None) -> Answer:
        usable = math.isfinite(modelled) and modelled > 0
        ratio = self._ratios.get((op, run))
        if usable and ratio is not None:
            return self._estimate(modelled * ratio.value, ratio.error, f"analytic model x {ratio.value:.3g} ({ratio.detail})")
        if usable and not self._ratios:  # without a table, the model is the source
            return self._estimate(modelled, None, "analytic model")
        if usable and self.missing_analytic:
            near = self._nearest_ratio(op, run)
            detail = f"analytic model x {near.value:.3g}, for want of measured {op} at {run}: {near.detail}"
            return self._estimate(modelled * near.value, None, detail)
        raise MissingCost(self._missing(layer, signature, run, usable))

    def _estimate(self, value: float, error: float | None, detail: str) -> Answer:
        if value < self.least:
            return Answer(self.least, "analytic", None, f"{detail}; raised to the least time of a layer")
        return Answer(value, "analytic", error, detail)

    def _nearest_ratio(self, op: str, run: LayerFormat) -> Answer:
        """The ratio that says most about an operation that was not measured at these widths."""
        same = [r for (o, _), r in self._ratios.items() if o == op]
        dense = [r for (o, p), r in self._ratios.items() if o == "conv" and p == run and op != "depthwise"]
        at_run = [r for (_, p), r in self._ratios.items() if p == run]
        kept = same or dense or at_run or list(self._ratios.values())
        best = max(kept, key=lambda r: r.value)  # several: the slowest
        return best

    def _missing(self, layer: Layer, signature: Signature | None, run: LayerFormat, usable: bool) -> str:
        measured = ", ".join(sorted(str(p) for p in self.lookup.signatures.get(signature, {}))) if signature else ""
        shape = str(signature) if signature else f"a convolution with a {'x'.join(map(str, layer.kernel))} kernel"
        have = f"measured there: {measured}" if measured else "no row has this shape" if self.lookup.rows else "it has no table"
        do = (
            'Measure it and add a row, or set missing = "analytic" to estimate it.'
            if usable
            else "Measure it and add a row, or give the file an analytic model that covers it."
        )
        return f"{self.name} ({self.file}) has no {self.what} for layer '{layer.name}' ({shape}) at {run}; {have}. {do}"

    @cached_property
    def _ratios(self) -> Mapping[tuple[str, LayerFormat], Answer]:
        """(operation, pair) -> median of measured / modelled, and the relative deviation from it that 9 of 10 shapes keep."""
        if self.formula is None or not self.lookup.signatures:
            return {}
        signatures = _spread(list(self.lookup.signatures))
        pairs = list(dict.fromkeys(p for by_pair in self.lookup.signatures.values() for p in by_pair))
        modelled = self._modelled([work_of_signature(s) for s in signatures], pairs)
        found: dict[tuple[str, LayerFormat], list[float]] = {}
        for i, signature in enumerate(signatures):
            for pair, answer in self.lookup.signatures[signature].items():
                estimate = float(modelled[i, pairs.index(pair)])
                if math.isfinite(estimate) and estimate > 0:
                    found.setdefault((signature.op, pair), []).append(answer.value / estimate)
        return {key: _middle(ratios, key) for key, ratios in found.items()}


def _spread(signatures: Sequence[Signature]) -> list[Signature]:
    """At most :data:`COMPARED` shapes of each operation, evenly from the smallest to the largest: a model may take its time."""
    found: dict[str, list[Signature]] = {}
    countable = [s for s in signatures if s.op not in ("attention", "recurrent", "matmul")]  # whose work no signature holds in full
    for signature in sorted(countable, key=lambda s: work_of_signature(s).macs):
        found.setdefault(signature.op, []).append(signature)
    return [s for same in found.values() for s in same[:: -(-len(same) // COMPARED)]]


def _middle(ratios: list[float], key: tuple[str, LayerFormat]) -> Answer:
    middle = median(ratios)
    error = float(np.quantile([abs(r / middle - 1) for r in ratios], 0.9)) if len(ratios) > 1 else None
    return Answer(middle, "analytic", error, f"median of {len(ratios)} {key[0]} shapes at {key[1]}")
