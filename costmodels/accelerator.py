"""An accelerator: a file that an architect writes, and the cost models it gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..costs import CostModel
from ..errors import UsageError
from ..formats import Codebook, LayerFormat, NumberFormat, plain_integer
from ..metrics import ENERGY, INTERVAL, LATENCY
from .analytic.models import compute_model, energy_model
from .analytic.protocol import ComputeModel
from .conversions import conversion
from .coverage import listed
from .device_costs import DeviceCost
from .latency_table import CostLookup
from .memory import WeightMemory
from .power import PowerTimesLatency
from .precision import Precision
from .resolution import Formula, Refusal, Resolver
from .table_rows import Row

if TYPE_CHECKING:
    from .accelerator_format import AcceleratorKeys


@dataclass(frozen=True, eq=False)
class Accelerator:
    """One accelerator.

    Attributes:
        name: as in ``latency@name``. description: one sentence. file: where it was read from.
        keys: everything the file says. rows: its look-up tables.
    """

    name: str
    description: str
    file: Path
    keys: AcceleratorKeys
    rows: tuple[Row, ...]

    @cached_property
    def precision(self) -> Precision:
        """The widths it runs."""
        k = self.keys.precision
        pairs = k.pairs if isinstance(k.pairs, str) else tuple(LayerFormat.parse(p) for p in k.pairs)
        return Precision(
            k.semantics, tuple(k.weights), tuple(k.activations), pairs, k.unsupported, k.accumulator_bits, k.output_bits,
            k.codebooks, LayerFormat.parse(k.other), tuple(map(LayerFormat.parse, k.native)),
            {NumberFormat.parse(one): NumberFormat.parse(other) for one, other in k.promote.items()},
        )  # fmt: skip

    @property
    def codebooks(self) -> bool:
        """Whether weights may be indices into a table of values."""
        return self.precision.codebooks

    @property
    def latency(self) -> DeviceCost:
        """Its cost model of time.

        Raises:
            UsageError: the file says nothing of time.
        """
        if self.keys.compute is None and not any(row.seconds is not None for row in self.rows):
            raise UsageError(f"{self.name} ({self.file}) says nothing of time: it has no [compute], and no table row has a latency.")
        return self._latency(None)

    def cost_models(self, network: str | None = None) -> tuple[CostModel, ...]:
        """Latency, energy and weight storage, as far as the file says something about them.

        Args:
            network: which network's rows to prefer in tables whose instances are named ``network:layer``.
        """
        models: list[CostModel] = []
        if self.keys.compute is not None or any(row.seconds is not None for row in self.rows):
            models.append(self._latency(network))
        if self.keys.compute is not None and self.keys.compute.model == "pipelined":
            models.append(self._interval(network))
        if self.keys.energy is not None or any(row.joules is not None for row in self.rows):
            models.append(self._energy(network))
        return (*models, self._weights())

    def _latency(self, network: str | None) -> DeviceCost:
        k, model = self.keys, compute_model(self.keys)
        resolver = replace(self._resolver("latency", _seconds(model) if model else None, network), least=k.overheads.least_s)
        notes = []
        if k.calibration.note:
            error = f" (leave-one-out error {k.calibration.error:.2%})" if k.calibration.error is not None else ""
            notes.append(f"calibration: {k.calibration.note}{error}")
        return DeviceCost(
            replace(LATENCY, on=self.name), resolver, k.overheads.layer_s, k.overheads.network_s, k.calibration.offset_s,
            k.calibration.scale, self._convention("latency", model.sentence if model else ""), (*self._notes(), *notes),
            error=k.calibration.error,
            conversion=conversion(*self._conversion_s, self.precision),
        )  # fmt: skip

    def _interval(self, network: str | None) -> DeviceCost:
        """The slowest layer. A calibration is one of end-to-end times, and says nothing of it."""
        latency = self._latency(network)
        notes = tuple(n for n in latency.notes if not n.startswith("calibration: "))
        metric = replace(INTERVAL, on=self.name)
        return replace(latency, metric=metric, network=0.0, offset=0.0, scale=1.0, error=None, slowest=True, notes=notes)

    def _energy(self, network: str | None) -> CostModel:
        if self.keys.energy is not None and self.keys.energy.model == "power" and all(row.joules is None for row in self.rows):
            watts, (each, element) = self.keys.energy.watts, self._conversion_s
            stated = 1e-12 * self.keys.conversion.pj_per_element if self.keys.conversion else 0.0  # beside the power, as seconds of it
            latency = replace(self._latency(network), conversion=conversion(each, element + stated / watts, self.precision))
            return PowerTimesLatency(replace(ENERGY, on=self.name), watts, latency)
        model = energy_model(self.keys)
        resolver = self._resolver("energy", model.joules if model else None, network)
        convention = self._convention("energy", model.sentence if model else "")
        k, watts = self.keys, self.keys.energy.watts if self.keys.energy and self.keys.energy.model == "power" else 0.0
        fixed, each = (watts * seconds for seconds in self._conversion_s)
        each += 1e-12 * k.conversion.pj_per_element if k.conversion else 0.0
        return DeviceCost(
            replace(ENERGY, on=self.name), resolver, convention=convention, notes=self._notes(),
            conversion=conversion(fixed, each, self.precision),
        )  # fmt: skip

    @property
    def _conversion_s(self) -> tuple[float, float]:
        """Seconds of each conversion, and an element."""
        k = self.keys.conversion
        return (0.0, 0.0) if k is None else (k.s, 1 / k.elements_per_s if k.elements_per_s else 0.0)

    def _resolver(self, what: str, formula: Formula | None, network: str | None) -> Resolver:
        k = self.keys
        refusals = tuple(Refusal(r.op, tuple(r.kernel), tuple(r.weights), tuple(r.activations)) for r in k.precision.cannot_run)
        lookup = CostLookup(self.rows, "seconds" if what == "latency" else "joules", k.precision.output_bits)
        return Resolver(
            self.name, str(self.file), what, self.precision, refusals, lookup, formula, k.missing == "analytic", network
        )  # fmt: skip

    def _convention(self, what: str, sentence: str) -> str:
        where = f"{what} on {self.name} ({self.keys.provenance.kind}: {self.keys.provenance.source})"
        looked_up = f"look-up tables of {len(self.rows)} rows" if self.rows else ""
        return "; ".join(filter(None, [where, looked_up, sentence])) + "."

    def _notes(self) -> tuple[str, ...]:
        loose = [table.file for table in self.keys.table if table.sha256 is None]
        unguarded = f"the accelerator's file states no SHA-256 for {listed(loose)}, so a changed table goes unnoticed."
        return (*self.keys.provenance.notes, *([unguarded] if loose else []))

    def _weights(self) -> WeightMemory:
        s = self.keys.storage
        as_chosen = s.widths == "chosen"

        def stored(chosen: LayerFormat) -> LayerFormat | None:
            run = self.precision.executed(chosen)
            if run is None or as_chosen or not isinstance(chosen.weight.element, Codebook):
                return chosen if run is not None and as_chosen else run
            packed = self.precision.executed(LayerFormat(plain_integer(chosen.weight.bits), chosen.activation))  # the indices
            return packed and LayerFormat(NumberFormat.parse(f"cb{packed.weight.bits}"), packed.activation)

        return WeightMemory(
            s.packing, scale_bits=s.scale_bits, zero_point_bits=s.zero_point_bits, per=s.per, bias_bits=s.bias_bits,
            float_bits=s.float_bits, on=self.name, stored=stored,
        )  # fmt: skip


def _seconds(model: ComputeModel) -> Formula:
    return lambda work, pairs: model.estimate(work, pairs).seconds
