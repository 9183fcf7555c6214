"""kill -9, 50 times over a study of 100 trials, on SQLite and on a PostgreSQL server that is crashed and restarted in the middle.

The trials are all queued, so that an undisturbed run with the same seed is their truth: same numbers, same decisions, same allocations,
same scores. Workers are forked from a process that has loaded everything, and killed at random moments; each is replaced at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import optuna

from hwdse.cli.worker import bench_of
from hwdse.records import SweepRecord
from hwdse.sweeps import Place, SweepConfig, run_sweep
from hwdse.sweeps.engine import _Sweep

sys.path.append(str(Path(__file__).parents[2] / "tests"))  # after hwdse: there is a folder of that name
from commands import TOY
from postgres import Server

ROOT = Path(__file__).parents[2]
KILLS, MEAN = 50, 1.1  # s between kills, on average
SLOW = """
import os, time
class Slow(Toy):
    def batches(self, split, seed):
        if split == "validation":
            time.sleep(float(os.environ.get("SLOW", "0")))
        return super().batches(split, seed)
"""
BUDGETS = [[f"{limit} of w8a8"] for limit in ("weights <= 80%", "weights <= 70%", "bitops <= 70%", "bitops <= 60%", "bitops <= 50%")]


def measured(record: SweepRecord) -> dict[int, object]:
    told = ("allocator", "budget", "epochs", "widths", "origin", "scheme")
    return {t.number: ({k: t.knobs[k] for k in told}, t.allocation, dict(t.measures), t.state) for t in record.trials}


def attempts(place: Place) -> dict[str, int]:
    """How often trials had to be started, as Optuna's own table has it."""
    url = place.url.replace("postgresql://", "postgresql+psycopg://") if place.url else f"sqlite:///{place.folder / 'study.db'}"
    trials = optuna.load_study(study_name=place.study, storage=url).trials
    often = Counter(t.user_attrs["try"]["number"] for t in trials)
    return {
        "started": len(trials),
        "most for one trial": max(often.values()),
        "with a result": sum("result" in t.user_attrs for t in trials),
    }


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    home = Path(tempfile.mkdtemp(prefix="hwdse-kill-"))
    (home / "slow.py").write_text(TOY + SLOW)
    os.chdir(home)
    os.environ["HWDSE_CACHE"] = str(home / "cache")
    config = SweepConfig.make("kill", task="slow:Slow", budgets=BUDGETS, epochs=[0, 1], ladder=16, trials=100)
    bench = bench_of(config, lambda what, done, total: None)
    whole = run_sweep(bench, config, home / "whole")
    assert len(whole.trials) == 100
    assert all(t.knobs["origin"] != "search" for t in whole.trials)
    server, found = Server(), {}
    try:
        for name, url in (("sqlite", None), ("postgresql", server.url)):
            place = Place(home / name, url, "sweep")
            _Sweep(bench, config, place, None, None).study.close()
            asked = {"folder": str(place.folder), "study": "sweep", "workers": 2, "kills": KILLS, "mean": MEAN, "seed": 3}
            environment = {
                **os.environ,
                "HWDSE_GRACE": "3",
                "SLOW": "1.2",
                "PYTHONPATH": os.pathsep.join([str(home), os.environ.get("PYTHONPATH", "")]),
            }
            if url:
                environment["HWDSE_STORAGE"] = url
                asked["server"] = server.described()
            done = subprocess.run(
                [sys.executable, "-P", str(ROOT / "tests" / "killing.py"), json.dumps(asked)], env=environment, stdout=subprocess.PIPE,
                text=True, check=True,
            )  # fmt: skip
            record = run_sweep(bench, config, place.folder, place=place)
            fronts = [sorted(n for n, t in measured(r).items() if r.trials[n].test is not None) for r in (record, whole)]
            found[name] = {
                **json.loads(done.stdout), "trials": len(record.trials), "failed": len(record.trials) - len(record.complete),
                **attempts(place), "equal to the undisturbed run": measured(record) == measured(whole),
                "same front": fronts[0] == fronts[1],
            }  # fmt: skip
            print(name, json.dumps(found[name]), flush=True)
    finally:
        server.close()
    (Path(__file__).parent / "results" / "kill.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
