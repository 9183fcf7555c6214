"""An accelerator: a file that an architect writes, and the cost models it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..bits import BitWidths
from ..costs import CostModel
from ..errors import FileFormatError, UnknownName, UsageError
from ..metrics import ENERGY, LATENCY
from .accelerator_file import check_keys, read_keys
from .analytic.models import compute_model, energy_model
from .coverage import listed
from .device_costs import DeviceCost
from .latency_table import CostLookup
from .memory import WeightMemory
from .precision import Precision
from .resolution import Formula, Refusal, Resolver
from .table_file import Row, read_table

if TYPE_CHECKING:
    from .accelerator_format import AcceleratorKeys

_FOLDER = Path(__file__).parent / "accelerators"


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
        pairs = k.pairs if isinstance(k.pairs, str) else tuple(BitWidths.parse(p) for p in k.pairs)
        return Precision(
            k.semantics, tuple(k.weights), tuple(k.activations), pairs, k.unsupported, k.accumulator_bits, k.output_bits,
            k.codebooks, BitWidths.parse(k.other),
        )  # fmt: skip

    def cost_models(self, network: str | None = None) -> tuple[CostModel, ...]:
        """Latency, energy and weight storage, as far as the file says something about them.

        Args:
            network: which network's rows to prefer in tables whose instances are named ``network:layer``.
        """
        models = [self._device(what, network) for what in ("latency", "energy") if self._has(what)]
        return (*models, self._weights())

    def _has(self, what: str) -> bool:
        if what == "latency":
            return self.keys.compute is not None or any(row.seconds is not None for row in self.rows)
        return self.keys.energy is not None or any(row.joules is not None for row in self.rows)

    def _device(self, what: str, network: str | None) -> DeviceCost:
        k, latency = self.keys, what == "latency"
        formula: Formula | None
        if latency:
            compute = compute_model(k)
            formula, sentence = (compute.seconds, compute.sentence) if compute else (None, "")
        else:
            energy = energy_model(k)
            formula, sentence = (energy.joules, energy.sentence) if energy else (None, "")
        lookup = CostLookup(self.rows, "seconds" if latency else "joules", k.precision.output_bits)
        exceptions = tuple(Refusal(e.op, tuple(e.kernel), tuple(e.weights), tuple(e.activations)) for e in k.precision.cannot_run)
        resolver = Resolver(self.name, str(self.file), what, self.precision, exceptions, lookup, formula, k.missing == "analytic", network)
        where = f"{k.provenance.kind}: {k.provenance.source}"
        looked_up = f"look-up tables of {len(self.rows)} rows" if any(self.rows) else ""
        convention = f"{what} on {self.name} ({where}); " + "; ".join(filter(None, [looked_up, sentence])) + "."
        return DeviceCost(
            replace(LATENCY if latency else ENERGY, on=self.name), resolver,
            layer=k.overheads.layer_s if latency else 0.0, network=k.overheads.network_s if latency else 0.0,
            offset=k.calibration.offset_s if latency else 0.0, scale=k.calibration.scale if latency else 1.0,
            convention=convention, notes=self._notes(latency),
        )  # fmt: skip

    def _notes(self, latency: bool) -> tuple[str, ...]:
        k, notes = self.keys, list(self.keys.provenance.notes)
        if latency and k.calibration.note:
            error = f" (leave-one-out error {k.calibration.error:.2%})" if k.calibration.error is not None else ""
            notes.append(f"calibration: {k.calibration.note}{error}")
        loose = [t.file for t in k.table if t.sha256 is None]
        if loose:
            notes.append(f"the accelerator's file states no SHA-256 for {listed(loose)}, so a changed table goes unnoticed.")
        return tuple(notes)

    def _weights(self) -> WeightMemory:
        s = self.keys.storage
        stored: Callable[[BitWidths], BitWidths | None] | None = self.precision.executed
        if s.widths == "chosen":

            def stored(chosen: BitWidths) -> BitWidths | None:
                return chosen if self.precision.executed(chosen) else None

        return WeightMemory(
            s.packing, scale_bits=s.scale_bits, zero_point_bits=s.zero_point_bits, per=s.per, bias_bits=s.bias_bits,
            float_bits=s.float_bits, on=self.name, stored=stored,
        )  # fmt: skip


def accelerator_names() -> list[str]:
    """Names of the accelerators that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_accelerator(name_or_path: str | Path) -> Accelerator:
    """An accelerator by the name of a shipped one, or by the path of a file.

    Raises:
        UnknownName: neither. FileFormatError: a file with a mistake.
    """
    path = _find(name_or_path)
    keys = read_keys(path)
    accelerator = _built(path, keys)
    problems = _contradictions(accelerator)
    if problems:
        raise problems[0]
    return accelerator


def check_accelerator(path: str | Path) -> list[str]:
    """What is wrong with an accelerator file, a line each beginning with ``problem:``; else what it holds, ``ok:`` lines."""
    try:
        found = _find(path)
        problems, keys = check_keys(found)
        if keys is not None:
            accelerator = _built(found, keys)
            problems = _contradictions(accelerator)
    except UsageError as error:
        return [f"problem: {error}"]
    if problems:
        return [f"problem: {problem}" for problem in problems]
    p = accelerator.precision
    pairs = ", ".join(map(str, p.native))
    lines = [f"ok: {accelerator.name} gives {', '.join(m.metric.key for m in accelerator.cost_models())}."]
    lines.append(f"ok: runs {pairs}; other widths: {p.unsupported}.")
    if accelerator.rows:
        shapes = len({row.signature for row in accelerator.rows})
        lines.append(f"ok: look-up tables with {len(accelerator.rows)} rows of {shapes} shapes.")
    lines.extend(f"ok: no sha256 is stated for {t.file}." for t in accelerator.keys.table if t.sha256 is None)
    return lines


def _find(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    if text in accelerator_names():
        return _FOLDER / f"{text}.toml"
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text or "\\" in text:
        return Path(name_or_path)
    raise UnknownName("accelerator", text, accelerator_names(), "Or give the path of a .toml file.")


def _built(path: Path, keys: AcceleratorKeys) -> Accelerator:
    clock = keys.clock.hz if keys.clock else None
    rows: list[Row] = []
    for table in keys.table:
        rows.extend(read_table(path.parent / table.file, clock, table.sha256))
    return Accelerator(keys.name, keys.description, path, keys, tuple(rows))


def _contradictions(accelerator: Accelerator) -> list[FileFormatError]:
    """What each key allows by itself, but not together with the others."""
    k, path = accelerator.keys, accelerator.file
    found = []

    def problem(where: str, text: str) -> None:
        found.append(FileFormatError(path, text, f"key '{where}'"))

    try:
        precision = accelerator.precision
    except UsageError as error:
        return [FileFormatError(path, str(error), "key 'precision.pairs'")]
    try:
        compute_model(k)
    except UsageError as error:
        problem("compute", str(error))
    try:
        energy_model(k)
    except UsageError as error:
        problem("energy", str(error))
    names = [level.name for level in k.memory]
    for name in {n for n in names if names.count(n) > 1}:
        problem("memory", f"has two levels named '{name}'.")
    if k.compute is None and not accelerator.rows:
        problem("compute", "is missing, and there is no look-up table either: the file gives no latency.")
    if k.compute is None and k.missing == "analytic":
        problem("missing", "is 'analytic', but the file has no analytic model: add [compute], or write 'error'.")
    if precision.executed(precision.other) is None:
        problem("precision.other", f"is {precision.other}, which the device cannot run: {', '.join(map(str, precision.native))}.")
    return found
