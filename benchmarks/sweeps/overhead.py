"""What the sweeper costs beyond training and evaluation, and what a second worker brings.

Overhead: the time of a sweep, less the seconds that its trials say they took, a trial. Second worker: trials a second of two workers over
one's, in pairs run after one another, workers loaded beforehand (``tests/killing.py`` without a kill). The trials of the pairs are uniform
widths, each trained as long: what a search proposes depends on who is at work, and its trials are not the same work.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

from hwdse.cli.worker import bench_of
from hwdse.sweeps import Place, SweepConfig, run_sweep
from hwdse.sweeps.engine import _Sweep
from hwdse.sweeps.recording import record_of

sys.path.append(str(Path(__file__).parents[2] / "tests"))  # after hwdse: there is a folder of that name
from commands import TOY
from postgres import Server

ROOT = Path(__file__).parents[2]
PAIRS, TRIALS = 4, 24
LONG = """
class Long(Toy):
    recipes = Recipes(scratch=Recipe(epochs=4, lr=0.1), finetune=Recipe(epochs=1, lr=0.01))
"""


def main() -> None:
    home = Path(tempfile.mkdtemp(prefix="hwdse-overhead-"))
    (home / "long.py").write_text(TOY + LONG)
    os.chdir(home)
    os.environ["HWDSE_CACHE"] = str(home / "cache")
    server, found = Server(), {}
    try:
        short = SweepConfig.make("overhead", task="long:Long", budgets=[["weights <= 70% of w8a8"]], epochs=[0], trials=20, ladder=15)
        bench = bench_of(short, lambda what, done, total: None)
        bench.loss()
        for name, url in (("sqlite", None), ("postgresql", server.url)):
            times = []
            for again in range(PAIRS):
                place = Place(home / f"{name}{again}", url, f"overhead{again}")
                sweep = _Sweep(bench, short, place, None, None)
                sweep.record = record_of(sweep.bench, sweep.config, sweep.plan, sweep.folder)
                began = time.perf_counter()
                sweep._work(sweep._save_in_turn)
                spent = time.perf_counter() - began
                times.append((spent - sum(r.seconds for r in sweep.study.results)) / short.trials)
                sweep.study.close()
            found[f"overhead, {name}, s a trial"] = round(statistics.median(times), 4)
            print(found, flush=True)
        widths = [f"w{w}a{a}" for w in range(3, 9) for a in range(5, 9)][:TRIALS]
        long = SweepConfig.make(
            "overhead", task="long:Long", budgets=[["weights <= 70% of w8a8"]], epochs=[240], trials=TRIALS, ladder=1, baselines=widths
        )
        record = run_sweep(bench, long, home / "warm")
        found["s a trial, of the pairs"] = round(statistics.mean(t.seconds for t in record.trials), 2)
        ratios = []
        for pair in range(PAIRS):
            seconds = []
            for workers in (1, 2):
                folder = home / f"pair{pair}-{workers}"
                _Sweep(bench, long, Place(folder), None, None).study.close()
                asked = {"folder": str(folder), "study": "sweep", "workers": workers, "kills": 0, "mean": 1.0, "seed": 0}
                done = subprocess.run(
                    [sys.executable, "-P", str(ROOT / "tests" / "killing.py"), json.dumps(asked)], stdout=subprocess.PIPE, text=True,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join([str(home), os.environ.get("PYTHONPATH", "")])}, check=True,
                )  # fmt: skip
                seconds.append(json.loads(done.stdout)["seconds"])
            ratios.append(round(seconds[0] / seconds[1], 2))
            print(seconds, ratios, flush=True)
        found["trials a second, 2 workers over 1"] = sorted(ratios)
        found["load of the machine"] = os.getloadavg()[0]
    finally:
        server.close()
    print(json.dumps(found))
    (Path(__file__).parent / "results" / "overhead.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
