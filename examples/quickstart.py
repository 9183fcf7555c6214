"""From a task and an accelerator to an allocation, its score, a front and a small sweep: the command line's work from Python."""

import hwdse

bench = hwdse.Workbench("digits", accelerators=["mpic"])  # names, files, or objects of your own
plan = bench.allocate("latency <= 70% of w8a8", "weights <= 50% of w8a8")  # any other budget takes milliseconds
print(plan.status, plan.allocation, plan.slack)
print(bench.measure(plan))  # rounded without training; epochs=5 trains
print(bench.tradeoff("latency", points=8))  # the exact front of the tables
mixed = bench.allocate("weights <= 40% of w8a8", formats="int2..int8, int4.g32:int8")
print(mixed.allocation)

run = hwdse.sweep(bench, budgets=["latency <= 70% of w8a8"], trials=10, epochs=[0, 2], output="runs/quickstart")
best = run.pick("latency <= 2 ms")
print(best.explanation)
print(run.trials.head())
print(run.report())
print(run.export(best, "deployed", onnx=False)["trial"])
