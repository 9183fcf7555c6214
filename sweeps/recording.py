"""What a sweep writes down: everything but the trials before them, and after them the test scores of the fronts."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hwdse.costs import CostTable
from hwdse.evaluation import evaluate
from hwdse.metrics import Metric
from hwdse.pareto import ParetoFront
from hwdse.quantizers import Scheme
from hwdse.records import SweepRecord, TrialResult
from hwdse.sample_scores import SampleScores
from hwdse.storage import read_checkpoint
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
            "left_out": [asdict(item) for item in graph.left_out],
        },
        conventions={t.metric.key: _convention(t.metric, t.convention, t.notes) for t in bench.tables.values()}
        | {"loss": _convention(tables["loss"].metric, tables["loss"].convention, tables["loss"].notes)},
        provenance={**bench.provenance(), "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")},
        config=config.plain(),
        choices=bench.choices,
        scores=SampleScores(folder),
        tables=tables,
    )


def _convention(metric: Metric, convention: str, notes: Sequence[str]) -> Mapping[str, Any]:
    return {"convention": convention, "notes": list(notes), "accelerator": metric.on}


def scheme_tables(bench: Workbench, results: Sequence[TrialResult]) -> dict[str, Mapping[str, CostTable]]:
    """What the quantisers of the trials lose and cost, where that is not what :attr:`SweepRecord.tables` says."""
    found: dict[str, Mapping[str, CostTable]] = {}
    for text in sorted({str(t.knobs["scheme"]) for t in results if t.state == "complete"} - {str(Scheme())}):
        scheme = Scheme.parse(text)
        found[text] = {**(bench.tables_by(scheme) if scheme.codebook else {}), "loss": bench.loss(scheme)}
    return found


def tested(bench: Workbench, record: SweepRecord, folder: Path, hosts: Mapping[int, str]) -> SweepRecord:
    """Scores the points of every front on the test split, from their checkpoints. Validation has picked; this is the one look."""
    wanted = {t.number for m in record.costs for t in ParetoFront.of(record.trials, (m, record.score)).trials}
    wanted |= {t.number for t in record.complete if t.knobs.get("origin") == "baseline"}
    trials = []
    for trial in record.trials:
        path = folder / "checkpoints" / f"{trial.knobs.get('same_as', trial.number)}.pt"
        if trial.number in wanted and trial.test is None and path.exists():
            state = read_checkpoint(path.read_bytes(), path)
            model = bench.quantized(Scheme(*state["scheme"]))
            model.load_state(state)
            trial = replace(trial, test=evaluate(model.network, bench.task, "test").mean)
        elif trial.number in wanted and trial.test is None:
            name, host = path.relative_to(folder), hosts.get(trial.number) or "another worker"
            said = f"no test score: {name} is not in this run folder; {host} ran the trial"
            trial = replace(trial, notes=(*trial.notes, said))
        trials.append(trial)
    return record.with_trials(tuple(trials))
