"""What a sweep writes down: everything but the trials before them, and after them the test scores of the fronts."""

from __future__ import annotations

import datetime
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwdse.costs import CostTable
from hwdse.errors import FileFormatError, HwdseError
from hwdse.evaluation import evaluate
from hwdse.metrics import Metric
from hwdse.quantizers import Scheme
from hwdse.reading import decode, json_object
from hwdse.records import SweepRecord, TrialResult, table_files
from hwdse.run_files import read_held, read_own
from hwdse.storage import StorageError, read_checkpoint
from hwdse.workbench import Workbench

from .config import SweepConfig
from .knobs import Plan


def record_of(bench: Workbench, config: SweepConfig, plan: Plan, folder: Path) -> SweepRecord:
    """Everything but the trials."""
    graph = bench.graph
    tables = {**bench.tables, "loss": bench.loss()}
    return SweepRecord(
        task=bench.task.name,
        score=bench.task.metric,
        costs=tuple(t.metric for t in bench.tables.values()),
        budgets=tuple(tuple(c.text for c in budget) for budget in dict.fromkeys(plan.limits.values())),
        limits={c.text: c.limit for budget in plan.limits.values() for c in budget},
        trials=(),
        reference=bench.reference,
        graph={
            "fingerprint": graph.fingerprint,
            "macs": graph.macs,
            "params": graph.params,
            "batch": graph.layers[0].input_shape[0] if graph.layers else 1,
            "layers": [
                {k: v for k, v in asdict(layer).items() if k in ("name", "kind", "macs", "weight_shape", "output_shape")}
                | {"params": layer.params, "quantisable": layer.quantisable}
                for layer in graph.layers
            ],
            "parameters": [asdict(item) for item in graph.parameters],
            "left_out": [asdict(item) for item in graph.left_out],
        },
        conventions={t.metric.key: _convention(t.metric, t.convention, t.notes) for t in bench.tables.values()}
        | {"loss": _convention(tables["loss"].metric, tables["loss"].convention, tables["loss"].notes)},
        provenance={
            **bench.provenance(),
            "accelerators": _entries(bench, config),
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        },
        config=config.plain(),
        choices=bench.choices,
        tables=tables,
    ).with_scores(folder)


def _entries(bench: Workbench, config: SweepConfig) -> dict[str, str]:
    """Accelerator's name -> the name or file under which the configuration has it."""
    entries = list(dict.fromkeys(config.accelerators))
    return dict(zip(bench.targets, entries, strict=True)) if len(entries) == len(bench.targets) else {}


def _convention(metric: Metric, convention: str, notes: Sequence[str]) -> Mapping[str, Any]:
    return {"convention": convention, "notes": list(notes), "accelerator": metric.on}


def scheme_tables(bench: Workbench, results: Sequence[TrialResult]) -> dict[str, Mapping[str, CostTable]]:
    """What the quantisers of the trials lose and cost, where that is not what :attr:`SweepRecord.tables` says."""
    found: dict[str, Mapping[str, CostTable]] = {}
    for text in sorted({str(t.knobs["scheme"]) for t in results if t.state == "complete"} - {str(Scheme())}):
        scheme = Scheme.parse(text)
        others = {} if bench.choices_for(scheme) is bench.choices else bench.tables_by(scheme)
        found[text] = {**others, "loss": bench.loss(scheme)}
    return found


def _written(folder: Path) -> dict[str, Any]:
    """The record in a folder as it stands there; empty where there is none, or none that can be read: it is written from the study."""
    path = folder / "record.json"
    try:
        return json_object(path, decode(path, read_own(folder, "record.json")))
    except (FileNotFoundError, FileFormatError, StorageError):
        return {}


def owner_of(folder: Path) -> str | None:
    """Which study the record in a folder belongs to; empty for one that does not say. None where there is none that can be read."""
    found = _written(folder)
    provenance = found.get("provenance")
    return str(provenance.get("run", "")) if isinstance(provenance, dict) else "" if found else None


def listed(folder: Path) -> dict[str, str]:
    """The files that the record in a folder lists; of an earlier version, which listed none, the tables that it wrote."""
    found = _written(folder)
    files = found.get("files")
    if isinstance(files, dict):
        return {str(name): str(checksum) for name, checksum in files.items()}
    return {str(path.relative_to(folder)): "" for path in table_files(folder)} | {"scores/fp32.npy": ""} if found else {}


SEVERAL = "which trial ends first decides what is tried next, so the same seed may give other trials"


def searched_by(processes: int) -> str:
    """Whether a run can be had again from its seed."""
    if processes > 1:
        return f"{processes} processes: {SEVERAL}; each trial by itself can be measured again"
    return "1 process: the same seed gives the same trials, on the same kind of machine with the same versions"


def test_scores(
    bench: Workbench, record: SweepRecord, wanted: Container[int], folder: Path, hosts: Mapping[int, str]
) -> dict[int, float | str]:
    """Scores trials on the test split, from their checkpoints. Validation has picked; this is the one look.

    Args:
        wanted: numbers of the trials. hosts: by number, who ran it.

    Returns:
        Number of the trial -> its score, or why there is none: the trained weights are elsewhere, or not this trial's.
    """
    found: dict[int, float | str] = {}
    by_number = {t.number: t for t in record.trials}
    for trial in record.trials:
        if trial.number not in wanted or trial.test is not None:
            continue
        measured = by_number.get(trial.knobs.get("same_as", trial.number), trial)
        name, host = f"checkpoints/{measured.number}.pt", hosts.get(trial.number) or "another worker"
        try:
            content = read_held(folder, name, measured.files)
        except FileNotFoundError:
            found[trial.number] = f"no test score: {name} is not in this run folder; {host} ran the trial"
            continue
        except HwdseError as error:
            found[trial.number] = f"no test score: {error}"
            continue
        state = read_checkpoint(content, folder / name)
        scheme = Scheme(*state["scheme"])
        if trial.allocation is None or state.get("allocation") != trial.allocation.to_dict() or str(scheme) != trial.knobs.get("scheme"):
            found[trial.number] = f"no test score: {name} holds other widths or quantisers than the trial; {host} ran it"
            continue
        model = bench.quantized(scheme)
        model.load_state(state)
        found[trial.number] = evaluate(model.network, bench.task, "test").mean
    return found
