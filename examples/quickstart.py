"""From a task and an accelerator to one allocation, and to a small sweep with its report: the command line's work from Python."""

from pathlib import Path

from hwdse.costmodels import cost_model, load_accelerator
from hwdse.reports import pick, write_report
from hwdse.solvers import solve
from hwdse.sweeps import SweepConfig, run_sweep
from hwdse.tasks import load_task
from hwdse.workbench import Workbench

bench = Workbench(load_task("digits"), [load_accelerator("npu")], [cost_model("bitops"), cost_model("weights")])
problem = bench.problem("energy <= 60% of w8a8", "weights <= 50% of w8a8")  # traces, trains FP32, scores the layers: once
solution = solve(problem)  # milliseconds; so is any other budget from here on
print(solution.status, solution.allocation, solution.slack)

config = SweepConfig.make(task="digits", accelerators=["npu"], budgets=["energy <= 60% of w8a8"], trials=10, epochs=[0, 2])
record = run_sweep(bench, config, Path("runs/quickstart"))
print(write_report(Path("runs/quickstart")))
print(pick(record, maxima=["energy = 5 uJ"]).explanation)
