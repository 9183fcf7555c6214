"""A study of 10,000 trials: how long taking the next trial, ``hwdse status``, ``hwdse report`` and ``hwdse pick`` take then.

Allocations are random and costed by the tables of ``digits``; scores are made up from the expected loss, since only the times count here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import optuna
import sqlalchemy

from hwdse.cli.worker import bench_of
from hwdse.formats import Allocation
from hwdse.records import TrialResult
from hwdse.sweeps import Knobs, Place, SweepConfig
from hwdse.sweeps.engine import _Sweep
from hwdse.sweeps.recording import record_of
from hwdse.sweeps.tries import KEPT, TRY, attempt

TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000


def main() -> None:
    run = Path(tempfile.mkdtemp(prefix="hwdse-many-"))
    config = SweepConfig.make(
        "many", task="digits", accelerators=["mpic", "npu"], budgets=[["latency@mpic <= 60% of w8a8"], ["energy@npu <= 60% of w8a8"]],
        epochs=[0], trials=TRIALS + 1,
    )  # fmt: skip
    bench = bench_of(config, lambda what, done, total: None)
    sweep = _Sweep(bench, config, Place(run), None, None)
    storage = sweep.study.database.storage
    sqlalchemy.event.listen(storage.engine, "connect", lambda connection, record: connection.execute("PRAGMA synchronous=OFF"))
    storage.engine.dispose()
    for number, result in enumerate(results(bench, TRIALS)):
        knobs = Knobs("adaqat", "mpic", 0, tightness=0.5 + 0.5 * number / TRIALS)
        params = sweep.study.space.point(knobs)
        row = optuna.create_trial(
            state=optuna.trial.TrialState.COMPLETE, values=list(sweep._values(result)), constraints={"budget": 0.0},
            user_attrs={TRY: attempt(number, "nobody", knobs), KEPT: result.to_dict()},
            params=params, distributions={name: one for name, one in sweep.study.space.distributions.items() if name in params},
        )  # fmt: skip
        storage.create_new_trial(sweep.study.study._study_id, row)
    sweep.study.close()

    found: dict[str, float] = {"trials": TRIALS}
    began = time.perf_counter()
    sweep = _Sweep(bench, config, Place(run), None, None)
    sweep.record = record_of(sweep.bench, sweep.config, sweep.plan, sweep.folder)
    sweep._save()
    found["opening the study and writing the record, s"] = time.perf_counter() - began
    for name in ("first", "second"):
        began = time.perf_counter()
        claim = sweep.study.claim()
        found[f"taking a trial, {name}, s"] = time.perf_counter() - began
        sweep.study.release(claim)  # type: ignore[arg-type]
    sweep.study.close()
    for command in (["status", str(run)], ["pick", str(run), "--max", "latency@mpic = 1 ms"], ["report", str(run)]):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "from hwdse.cli import main; main()", *command], check=True, stdout=subprocess.DEVNULL)
        found[f"hwdse {command[0]}, s"] = time.perf_counter() - began
    for name in ("record.json", "report.html", "study.db"):
        found[f"{name}, MB"] = (run / name).stat().st_size / 1e6
    print(json.dumps(found, indent=1))
    out = Path(__file__).parent / "results" / "many.json"
    out.write_text(json.dumps({k: round(v, 2) for k, v in found.items()}, indent=1) + "\n")


def results(bench, count):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    choices, metric = bench.choices, bench.task.metric
    loss, tables = bench.loss(), bench.tables
    for number in range(count):
        widths = bench.choices.options[int(rng.integers(len(choices.options)))]
        wanted = {
            name: (widths if rng.random() < 0.7 else choices.options[int(rng.integers(len(choices.options)))]) for name in choices.layers
        }
        pinned = choices.uniform(widths)
        allocation = Allocation({n: pinned[n] if choices.allowed[choices.position[n]].sum() == 1 else w for n, w in wanted.items()})
        measures = {key: t.total(allocation) for key, t in tables.items()}
        measures["loss"] = loss.total(allocation)
        score = round(450 * float(np.clip(0.99 - 0.3 * measures["loss"] + rng.normal(0, 0.004), 0.1, 1))) / 450
        knobs = {**Knobs("adaqat", "mpic", 0).to_dict(), "budget": ["latency@mpic <= 983.2 us"], "scheme": "lsq+lsq"}
        yield TrialResult(number, knobs, "complete", allocation, {**measures, metric.key: score}, None, 450, {}, 2.0)


if __name__ == "__main__":
    main()
