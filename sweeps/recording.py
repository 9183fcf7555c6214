"""What a sweep writes down: everything but the trials before them, and after them the test scores of the fronts."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwdse.costs import CostTable
from hwdse.errors import HwdseError
from hwdse.evaluation import evaluate
from hwdse.metrics import Metric
from hwdse.pareto import ParetoFront
from hwdse.quantizers import Scheme
from hwdse.records import SweepRecord, TrialResult
from hwdse.sample_scores import SampleScores
from hwdse.storage import read_checkpoint, read_json
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
        scores=SampleScores(folder),
        tables=tables,
    )


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
        found[text] = {**(bench.tables_by(scheme) if scheme.codebook else {}), "loss": bench.loss(scheme)}
    return found


def owner_of(folder: Path) -> str | None:
    """Which study the record in a folder belongs to; empty for one that does not say. None where there is none that can be read."""
    try:
        found = read_json(folder / "record.json")
    except HwdseError:
        return None
    return str(found.get("provenance", {}).get("run", ""))


def test_scores(bench: Workbench, record: SweepRecord, folder: Path, hosts: Mapping[int, str]) -> dict[int, float | str]:
    """Scores the points of every front on the test split, from their checkpoints. Validation has picked; this is the one look.

    Returns:
        Number of the trial -> its score, or why there is none: the trained weights are elsewhere, or not this trial's.
    """
    wanted = {t.number for m in record.costs for t in ParetoFront.of(record.trials, (m, record.score)).trials}
    wanted |= {t.number for t in record.complete if t.knobs.get("origin") == "baseline"}
    found: dict[int, float | str] = {}
    for trial in record.trials:
        if trial.number not in wanted or trial.test is not None:
            continue
        path = folder / "checkpoints" / f"{trial.knobs.get('same_as', trial.number)}.pt"
        name, host = path.relative_to(folder), hosts.get(trial.number) or "another worker"
        if not (path.exists() and path.resolve().is_relative_to(folder.resolve())):
            found[trial.number] = f"no test score: {name} is not in this run folder; {host} ran the trial"
            continue
        state = read_checkpoint(path.read_bytes(), path)
        scheme = Scheme(*state["scheme"])
        if trial.allocation is None or state.get("allocation") != trial.allocation.to_dict() or str(scheme) != trial.knobs.get("scheme"):
            found[trial.number] = f"no test score: {name} holds other widths or quantisers than the trial; {host} ran it"
            continue
        model = bench.quantized(scheme)
        model.load_state(state)
        found[trial.number] = evaluate(model.network, bench.task, "test").mean
    return found
