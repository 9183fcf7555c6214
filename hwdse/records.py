"""What a run leaves on disk: trials, and everything needed to read them without running anything again.

A run folder holds ``record.json`` (schema ``hwdse.record/1``), ``tables.npz`` (cost and loss tables), ``tables/SCHEME.npz`` (what other
quantisers lose and cost), ``trials.csv``, ``front.csv``,
``allocations/N.json``, ``checkpoints/N.pt``, ``scores/N.npy``, ``study.db``, ``figures/`` and ``report.html``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from .bits import Allocation
from .choices import Choices
from .constraints import find_metric
from .costs import CostTable, FloatArray
from .errors import FileFormatError
from .metrics import Metric
from .sample_scores import SampleScores
from .storage import read_json, tables_from_bytes, tables_to_bytes, write

RECORD_SCHEMA = "hwdse.record/1"
State = Literal["complete", "failed", "interrupted"]


def _plain(value: Any) -> Any:
    """JSON has no infinity: an unsupported cost is written as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@dataclass(frozen=True)
class TrialResult:
    """One trial.

    Attributes:
        number: position in the study, from 0.
        knobs: what was tried: allocator, target accelerator, budget texts, epochs, seed ...
        state: complete, failed (see ``error``), or interrupted.
        allocation: the widths; None where the trial failed before it had any.
        measures: by metric key, in stored units: every cost on every accelerator (+inf where one cannot run the allocation), the
            score on the validation split under the score metric's key, ``"loss"`` the loss table's expectation.
        test: score on the test split, where it was taken (front points, at the end of a sweep).
        samples: validation samples behind the score. interval: its 95 % interval, from the spread over them.
        errors: how far off each cost on an accelerator may be, by metric key, in stored units; None where nobody knows.
        slack: room left under each constraint of this trial, by its text, in stored units. All >= 0 in a complete trial.
        seconds: wall time. error: one line. notes: what else must be said of the result (distillation used, ...).
    """

    number: int
    knobs: Mapping[str, Any]
    state: State
    allocation: Allocation | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    test: float | None = None
    samples: int = 0
    slack: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""
    notes: tuple[str, ...] = ()
    errors: Mapping[str, float | None] = field(default_factory=dict)
    interval: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; values that are not finite become null."""
        return {
            **{k: _plain(getattr(self, k)) for k in ("number", "state", "test", "samples", "seconds", "error")},
            "knobs": dict(self.knobs),
            "allocation": None if self.allocation is None else self.allocation.to_dict(),
            "measures": {k: _plain(v) for k, v in self.measures.items()},
            "errors": dict(self.errors),
            "interval": self.interval,
            "slack": {k: _plain(v) for k, v in self.slack.items()},
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrialResult:
        """The inverse of :meth:`to_dict`."""
        if data["state"] not in get_args(State):
            raise ValueError(f"state must be one of {', '.join(get_args(State))}, got {data['state']!r}")
        return cls(
            number=int(data["number"]),
            knobs=dict(data["knobs"]),
            state=data["state"],
            allocation=None if data["allocation"] is None else Allocation.from_dict(data["allocation"]),
            measures={k: math.inf if v is None else float(v) for k, v in data["measures"].items()},
            test=data["test"],
            samples=int(data["samples"]),
            errors=dict(data.get("errors") or {}),
            interval=(float(data["interval"][0]), float(data["interval"][1])) if data.get("interval") else None,
            slack={k: math.inf if v is None else float(v) for k, v in data["slack"].items()},
            seconds=float(data["seconds"]),
            error=data["error"],
            notes=tuple(data["notes"]),
        )


@dataclass(frozen=True)
class SweepRecord:
    """A whole run, readable without the model.

    Attributes:
        task: its name. score: what is maximised (or minimised) and how it is shown.
        costs: metrics of the cost tables, in the order of the reports.
        budgets: the budgets of the sweep, each a list of texts that hold together, every text with its accelerator spelled out.
        limits: budget text -> the limit in the metric's stored unit, relative ones resolved.
        trials: in order of number.
        reference: the FP32 model: ``{"validation": .., "test": .., "validation_samples": .., "test_samples": ..,
            "validation_low": .., "validation_high": .., "validation_own": .., "validation_exchanged": .., "validation_exchanged_p": ..,
            "validation_exchanged_samples": ..}``: scores, its 95 % interval, and over some samples the scores by their own and by other
            samples' outputs, with the p of the difference.
        graph: ``{"fingerprint", "macs", "params", "batch", "layers": [{name, kind, macs, params, weight_shape, output_shape}],
            "left_out": [{name, reason}]}``.
        conventions: metric key -> ``{"convention", "notes", "accelerator"}``, the rule behind each number.
        provenance: versions, seeds, fingerprints of weights and data, machine, time of creation, command.
        config: the resolved configuration of the sweep.
        scores: of every validation sample, by number of the trial as text, and ``"fp32"``; of those that ran where the run folder is.
        choices: the widths that each layer may take, and the layers that share one; None in records made by hand.
        tables: every cost table by metric key, and the loss table under ``"loss"``, for plain weights on uniform levels.
        scheme_tables: quantisers of a trial -> those that differ for them: the loss, and the costs of codebooks.
    """

    task: str
    score: Metric
    costs: tuple[Metric, ...]
    budgets: tuple[tuple[str, ...], ...]
    trials: tuple[TrialResult, ...]
    reference: Mapping[str, float]
    graph: Mapping[str, Any]
    conventions: Mapping[str, Mapping[str, Any]]
    provenance: Mapping[str, Any]
    config: Mapping[str, Any]
    limits: Mapping[str, float] = field(default_factory=dict)
    tables: Mapping[str, CostTable] = field(default_factory=dict)
    scheme_tables: Mapping[str, Mapping[str, CostTable]] = field(default_factory=dict)
    choices: Choices | None = None
    scores: Mapping[str, FloatArray] = field(default_factory=dict)

    def tables_of(self, trial: TrialResult) -> Mapping[str, CostTable]:
        """Cost and loss tables for the quantisers of one trial; empty where it holds codebooks, and their tables were not kept."""
        scheme = str(trial.knobs.get("scheme", ""))
        own = self.scheme_tables.get(scheme, {})
        return {} if scheme.startswith("codebook") and not own else {**self.tables, **own}

    @property
    def complete(self) -> tuple[TrialResult, ...]:
        """Trials that ended with a measured score."""
        return tuple(t for t in self.trials if t.state == "complete")

    def metric(self, key: str) -> Metric:
        """The cost or score metric with this key."""
        return find_metric(key, (self.score, *self.costs))

    def with_trials(self, trials: tuple[TrialResult, ...]) -> SweepRecord:
        """The same run with other trials, ordered by number."""
        return replace(self, trials=tuple(sorted(trials, key=lambda t: t.number)))

    def save(self, folder: Path) -> None:
        """Writes ``record.json`` and, where there are tables and no file yet, ``tables.npz`` and ``tables/SCHEME.npz``."""
        for name, tables in {"tables.npz": self.tables, **{f"tables/{s}.npz": t for s, t in self.scheme_tables.items()}}.items():
            if tables and not (folder / name).exists():
                write(folder / name, tables_to_bytes(tables))
        write(folder / "record.json", json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the tables are not in it."""
        return {
            "schema": RECORD_SCHEMA,
            "task": self.task,
            "score": asdict(self.score),
            "costs": [asdict(m) for m in self.costs],
            "budgets": [list(b) for b in self.budgets],
            **{k: dict(getattr(self, k)) for k in ("limits", "reference", "graph", "conventions", "provenance", "config")},
            "choices": None if self.choices is None else self.choices.to_dict(),
            "trials": [t.to_dict() for t in self.trials],
        }

    @classmethod
    def load(cls, folder: Path, tables: bool = True) -> SweepRecord:
        """Reads a run folder.

        Args:
            tables: False leaves the tables where they are, for what is asked of the trials alone.

        Raises:
            StorageError: no record there. FileFormatError: truncated, of another schema, or with a key missing.
        """
        record = replace(cls.from_dict(read_json(folder / "record.json"), folder / "record.json"), scores=SampleScores(folder))
        if not tables:
            return record
        found = {path.stem: _tables(path) for path in table_files(folder)}
        return replace(record, tables=found.pop(TABLES, {}), scheme_tables=found)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], path: Path) -> SweepRecord:
        """The inverse of :meth:`to_dict`, without tables. ``path``: where it was read, for errors.

        Raises:
            FileFormatError: of another schema, or with a key missing.
        """
        if data.get("schema") != RECORD_SCHEMA:
            raise FileFormatError(path, f"must have schema '{RECORD_SCHEMA}', got {data.get('schema')!r}.", "key 'schema'")
        try:
            return cls(
                task=data["task"],
                score=Metric(**data["score"]),
                costs=tuple(Metric(**m) for m in data["costs"]),
                budgets=tuple(tuple(b) for b in data["budgets"]),
                trials=tuple(TrialResult.from_dict(t) for t in data["trials"]),
                choices=Choices.from_dict(data["choices"]) if data.get("choices") else None,
                **{k: data[k] for k in ("limits", "reference", "graph", "conventions", "provenance", "config")},
            )
        except KeyError as error:
            raise FileFormatError(path, "is missing.", f"key {error}") from None
        except (TypeError, ValueError, AttributeError, LookupError, OverflowError, RecursionError) as error:
            raise FileFormatError(path, f"cannot be read: {error}.") from None


TABLES = "tables"  # the file of the run's own; those of other quantisers are named after these


def table_files(folder: Path) -> list[Path]:
    """The files of a run folder that hold tables."""
    own = folder / f"{TABLES}.npz"
    return [*([own] if own.exists() else []), *sorted((folder / TABLES).glob("*.npz"))]


def _tables(path: Path) -> dict[str, CostTable]:
    try:
        return tables_from_bytes(path.read_bytes(), path)
    except FileFormatError as error:
        raise FileFormatError(path, f"{error.problem} Give the command of the sweep again: it writes it anew.") from None


def drop_damaged_tables(folder: Path) -> list[Path]:
    """Removes table files that cannot be read, so that they are written anew; returns which."""
    gone = []
    for path in table_files(folder):
        try:
            _tables(path)
        except FileFormatError:
            path.unlink()
            gone.append(path)
    return gone


def learnt_nothing(metric: Metric, reference: Mapping[str, float]) -> str:
    """What must be said of an FP32 network whose outputs say nothing of its inputs, or not for certain; empty where they do."""
    own, exchanged = reference.get("validation_own"), reference.get("validation_exchanged")
    if own is None or exchanged is None:
        return ""
    p, count = reference["validation_exchanged_p"], int(reference["validation_exchanged_samples"])
    scores = f"{metric.name} of {metric.format(own)} over {count} validation samples"
    if metric.minimised(own) >= metric.minimised(exchanged):
        return (
            f"the FP32 network has learnt nothing: its {scores} is no better than the {metric.format(exchanged)} of other samples' outputs "
            "there, so no width can be told from another; train it longer or otherwise (the task's recipes), or bring trained weights"
        )
    if p < 0.05:
        return ""
    return (
        f"the FP32 network may have learnt nothing: its {scores} is not beyond chance of the {metric.format(exchanged)} of other samples' "
        f"outputs there (p = {p:.2f}); train it longer, or validate on more samples"
    )
