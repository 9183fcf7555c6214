"""What a run leaves on disk: trials, and everything needed to read them without running anything again.

A run folder holds ``record.json`` (schema ``hwdse.record/2``), ``tables.npz`` (cost and loss tables), ``tables/SCHEME.npz`` (what other
quantisers lose and cost), ``trials.csv``, ``front.csv``,
``allocations/N.json``, ``checkpoints/N.pt``, ``scores/N.npy``, ``study.db``, ``figures/`` and ``report.html``. The record holds the SHA-256
of each file that it speaks of; what does not match is said and left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .checksums import digest
from .choices import Choices
from .constraints import find_metric
from .costs import CostTable, FloatArray
from .earlier_records import tables_with_formats, trial_with_formats
from .errors import FileFormatError
from .formats import LayerFormat
from .formats.definition import defined, definitions
from .metrics import Metric
from .record_text import EARLIER, NAME, SCHEMA, read_record, record_text, schema_of
from .run_files import keep_files, read_held, refuse_links
from .sample_scores import FOLDER, FP32, Held, SampleScores
from .soundness import impossible, nonsense
from .storage import tables_from_bytes, tables_to_bytes, write
from .trial_result import TrialResult as TrialResult

RECORD_SCHEMA = SCHEMA


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
        files: those of the run as a whole, ``"tables.npz"`` -> SHA-256.
        said: what must be said of the record as it was read.
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
    files: Mapping[str, str] = field(default_factory=dict)
    said: tuple[str, ...] = field(default=(), compare=False)

    @property
    def damage(self) -> tuple[str, ...]:
        """What is not as it was written, or cannot be true, as far as the run was looked at; a sentence each, without its full stop."""
        return (*self.said, *getattr(self.scores, "damage", ()))

    def __repr__(self) -> str:
        """One line: a record holds hundreds of trials and tables of a hundred thousand numbers."""
        ended = f"{len(self.complete)} of {len(self.trials)} trials complete"
        return f"SweepRecord({self.task!r}, {ended}, {len(self.budgets)} budgets, costs {', '.join(m.key for m in self.costs)})"

    def tables_of(self, trial: TrialResult) -> Mapping[str, CostTable]:
        """Cost and loss tables for the quantisers of one trial; empty where its formats are in none that were kept."""
        tables = {**self.tables, **self.scheme_tables.get(str(trial.knobs.get("scheme", "")), {})}
        chosen = set((trial.allocation or {}).values())
        return tables if all(chosen <= set(table.options) for table in tables.values()) else {}

    @property
    def complete(self) -> tuple[TrialResult, ...]:
        """Trials that ended with a measured score."""
        return tuple(t for t in self.trials if t.state == "complete")

    def metric(self, key: str) -> Metric:
        """The cost or score metric with this key."""
        return find_metric(key, (self.score, *self.costs))

    def with_trials(self, trials: tuple[TrialResult, ...]) -> SweepRecord:
        """The same run with other trials, ordered by number."""
        found = replace(self, trials=tuple(sorted(trials, key=lambda t: t.number)))
        return replace(found, scores=found.scores.holding(found.held_scores())) if isinstance(found.scores, SampleScores) else found

    def with_scores(self, folder: Path) -> SweepRecord:
        """The same run, whose scores of samples are read from its folder where they are asked for."""
        return replace(self, scores=SampleScores(folder, self.held_scores()))

    def held_scores(self) -> dict[str, Held]:
        """What the record says of the scores of each trial, and of the FP32 network."""
        key, reference = self.score.key, self.reference
        found = {}
        for trial in self.complete:
            name = str(trial.number)
            found[name] = Held(trial.files.get(f"{FOLDER}/{name}.npy", ""), trial.measures.get(key, math.nan), trial.samples)
        if "validation" in reference:
            count = int(reference.get("validation_samples", 0))
            found[FP32] = Held(self.files.get(f"{FOLDER}/{FP32}.npy", ""), float(reference["validation"]), count)
        return found

    def table_files(self) -> dict[str, bytes]:
        """``tables.npz`` and ``tables/SCHEME.npz`` with their content, those that there are."""
        named = {f"{TABLES}.npz": self.tables, **{f"{TABLES}/{s}.npz": t for s, t in self.scheme_tables.items()}}
        return {name: tables_to_bytes(tables) for name, tables in named.items() if tables}

    def save(self, folder: Path) -> SweepRecord:
        """Writes the tables and the record; returns it with the checksums of its tables."""
        files = self.table_files()
        keep_files(folder, files, {**dict.fromkeys(files if (folder / NAME).exists() else (), ""), **self.files})
        found = replace(self, files={**self.files, **{name: digest(content) for name, content in files.items()}})
        found.write(folder)
        return found

    def write(self, folder: Path) -> None:
        """Writes ``record.json`` alone.

        Raises:
            StorageError: a folder that cannot be written. UsageError: ``record.json`` is a link.
        """
        refuse_links(folder, (NAME,))
        write(folder / NAME, record_text(self.to_dict()))

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
            "files": dict(self.files),
            "formats": definitions({number for one in self._formats() for number in (one.weight, one.activation)}),
            "trials": [t.to_dict() for t in self.trials],
        }

    def _formats(self) -> set[LayerFormat]:
        """Formats that are chosen from, or were."""
        chosen = {one for trial in self.trials for one in (trial.allocation or {}).values()}
        return chosen.union(() if self.choices is None else self.choices.options, *(t.options for t in self.tables.values()))

    @classmethod
    def load(cls, folder: Path, tables: bool = True) -> SweepRecord:
        """Reads a run folder.

        Args:
            tables: False leaves the tables where they are, for what is asked of the trials alone.

        Raises:
            StorageError: no record there. FileFormatError: truncated, of another schema, or with a key missing.
        """
        refuse_links(folder)
        data, said = read_record(folder)
        record = cls.from_dict(data, folder / NAME)
        record = replace(record, said=(*said, *record.said)).with_scores(folder)
        record = record._with_tables(folder) if tables else record
        if schema_of(data, folder / NAME) == SCHEMA:
            return record
        return replace(record, scheme_tables={name: tables_with_formats(name, found) for name, found in record.scheme_tables.items()})

    def _with_tables(self, folder: Path) -> SweepRecord:
        listed = [name for name in self.files if name == f"{TABLES}.npz" or name.startswith(f"{TABLES}/")]
        names = listed or [str(path.relative_to(folder)) for path in table_files(folder)]
        found, absent = {}, []
        for name in names:
            try:
                found[name.removeprefix(f"{TABLES}/").removesuffix(".npz")] = _tables(folder, name, self.files)
            except FileNotFoundError:
                absent.append(f"{folder / name} is not there: what needs its costs and losses is left out")
        return replace(self, tables=found.pop(TABLES, {}), scheme_tables=found, said=(*self.said, *absent))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], path: Path) -> SweepRecord:
        """The inverse of :meth:`to_dict`, without tables. ``path``: where it was read, for errors.

        Raises:
            FileFormatError: of another schema, or with a key missing.
        """
        earlier = schema_of(data, path) == EARLIER
        try:
            for definition in (data.get("formats") or {}).values():
                defined(definition, path)
            score, costs = Metric(**data["score"]), tuple(Metric(**m) for m in data["costs"])
            trials = [TrialResult.from_dict(t) for t in data["trials"]]
            if earlier:
                trials = list(map(trial_with_formats, trials))
            wrong = impossible(score, costs, data["reference"])
            left = {t.number: why for t in trials if (why := nonsense(t, score, costs))}
            record = cls(
                task=data["task"],
                score=score,
                costs=costs,
                budgets=tuple(tuple(b) for b in data["budgets"]),
                trials=tuple(t for t in trials if t.number not in left),
                choices=Choices.from_dict(data["choices"]) if data.get("choices") else None,
                files=dict(data.get("files") or {}),
                said=tuple(f"{path}: trial {n} is left out: {why}" for n, why in left.items()),
                **{k: data[k] for k in ("limits", "reference", "graph", "conventions", "provenance", "config")},
            )
        except KeyError as error:
            raise FileFormatError(path, "is missing.", f"key {error}") from None
        except (TypeError, ValueError, AttributeError, LookupError, OverflowError, RecursionError) as error:
            raise FileFormatError(path, f"cannot be read: {error}.") from None
        if wrong:
            raise FileFormatError(path, f"cannot be true: {wrong}.")
        return record


TABLES = "tables"  # the file of the run's own; those of other quantisers are named after these


def table_files(folder: Path) -> list[Path]:
    """The files of a run folder that hold tables."""
    own = folder / f"{TABLES}.npz"
    return [*([own] if own.exists() else []), *sorted((folder / TABLES).glob("*.npz"))]


def _tables(folder: Path, name: str, files: Mapping[str, str]) -> dict[str, CostTable]:
    try:
        return tables_from_bytes(read_held(folder, name, files), folder / name)
    except FileFormatError as error:
        raise FileFormatError(folder / name, f"{error.problem} Give the command of the sweep again: it writes it anew.") from None


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
