"""Hypervolume against trials: this sweeper, and searches that choose the widths of every layer blindly.

    python benchmarks/sweeps/hypervolume.py digits|known [--seeds 5] [--trials 40] [--blind 400]

``digits``: measured validation accuracy of the quantised network, without training and rounded to nearest (a second a trial less), against
latency on ``mpic``. ``known``: the layers of ResNet-20 with made-up sensitivities, ``score = exp(-sum s_l (4^-w + 4^-a))``, against
BitOPs; its front is known from an exact solver, and the sweeper's loss table is off by a factor exp(N(0, 0.5)) a cell, as a measured one
would be. Everything else is the sweeper as it is.

The blind searches get the same layers, widths, ties and pins, and measure in the same way: random, Optuna's TPE and NSGA-II, both with
(score, cost) as objectives. Hypervolume: of (cost / cost of w8a8, score) up to cost 1 and the lowest score of ``REFERENCE``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import optuna

from hwdse.cli.worker import bench_of
from hwdse.constraints import Budget, Constraint
from hwdse.formats import Allocation, LayerFormat
from hwdse.ladder import ladder
from hwdse.pareto import hypervolume
from hwdse.problem import Problem, loss_table
from hwdse.quantizers import Scheme
from hwdse.records import TrialResult
from hwdse.solvers import solve
from hwdse.sweeps import Knobs, Plan, SweepConfig, engine, run_sweep, run_trial
from hwdse.workbench import Workbench

FOLDER = Path(__file__).parent / "results"
REFERENCE = {"digits": 0.5, "known": 0.5}
METRIC = {"digits": "latency@mpic", "known": "bitops"}
NOISE = 0.5


def config_for(case: str, trials: int, seed: int) -> SweepConfig:
    common: dict[str, Any] = {"epochs": [0], "ladder": 14, "trials": trials, "seed": seed, "baselines": ["w8a8", "w4a4", "w2a2"]}
    if case == "digits":
        budgets = [["latency@mpic <= 95% of w8a8"]]
        return SweepConfig.make(
            "benchmark", task="digits", accelerators=["mpic"], budgets=budgets, tightness=[0.2, 1.0], rounding="nearest", **common
        )
    budgets = [["bitops <= 95% of w8a8"]]
    return SweepConfig.make("benchmark", task="hwdse.tasks.cifar10:Cifar10", budgets=budgets, tightness=[0.05, 1.0], **common)


class Digits:
    """Measured by the sweeper's own trials; equal allocations once."""

    def __init__(self) -> None:
        self.bench = bench_of(config_for("digits", 1, 0), lambda what, done, total: None)
        self.plan = Plan.of(config_for("digits", 1, 0), self.bench)
        self._known: dict[tuple[Allocation, int], tuple[float, float]] = {}

    def measure(self, allocation: Allocation, seed: int) -> tuple[float, float]:
        if (allocation, seed) not in self._known:
            knobs = Knobs("uniform", None, None, seed=seed, allocation=allocation.to_dict())
            self._known[allocation, seed] = self.point(run_trial(self.bench, self.plan, knobs, 0))
        return self._known[allocation, seed]

    def point(self, result: TrialResult) -> tuple[float, float]:
        table = self.bench.tables[METRIC["digits"]]
        widest = table.total(self.bench.choices.uniform(LayerFormat.of(8, 8)))
        return result.measures[METRIC["digits"]] / widest, result.measures[self.bench.task.metric.key]

    def sweep(self, trials: int, seed: int) -> list[tuple[float, float]]:
        with tempfile.TemporaryDirectory() as folder:
            return [self.point(t) for t in run_sweep(self.bench, config_for("digits", trials, seed), Path(folder)).trials]


class Known:
    """A score that is a formula. Trials are the sweeper's; what they measure, and the loss table that they see, are replaced."""

    def __init__(self, seed: int) -> None:
        from hwdse.costmodels import cost_model
        from hwdse.tasks.cifar10 import ResNet20

        rng = np.random.default_rng(seed)
        self.bench = Workbench(_Untrained(ResNet20), cost_models=[cost_model("bitops")], cache=None)
        choices = self.bench.choices
        scale = rng.lognormal(0, 1.2, size=(len(choices.layers), 2))
        errors = scale[:, :1] * 4.0**-choices.weight_bits + scale[:, 1:] * 4.0**-choices.activation_bits
        cells = np.where(choices.allowed, 0.25 * errors, np.inf)
        self.truth = loss_table(choices, cells)
        self.bench._losses[Scheme()] = loss_table(choices, cells * rng.lognormal(0, NOISE, size=cells.shape))
        self.table = self.bench.tables["bitops"]
        self.widest = self.table.total(choices.uniform(LayerFormat.of(8, 8)))

    def measure(self, allocation: Allocation, seed: int) -> tuple[float, float]:
        return self.table.total(allocation) / self.widest, float(np.exp(-self.truth.total(allocation)))

    def front(self, points: int) -> list[tuple[float, float]]:
        """Exact, at so many limits."""
        problem = Problem(self.bench.choices, self.truth, (self.table,), Budget((Constraint(self.table.metric, self.widest),)))
        return [self.measure(rung.solution.allocation, 0) for rung in ladder(problem, "bitops", points)]

    def sweep(self, trials: int, seed: int) -> list[tuple[float, float]]:
        def formula(bench: Workbench, plan: Plan, knobs: Knobs, number: int, *rest: object) -> TrialResult:
            if knobs.allocation is not None:
                allocation = Allocation.from_dict(knobs.allocation)
            elif knobs.widths is not None:
                allocation = bench.choices.uniform(LayerFormat.parse(knobs.widths))
            else:  # every allocator answers what the solver does, as without training
                allocation = solve(Problem(bench.choices, bench.loss(), bench.tables_for(None), plan.budget(knobs))).allocation
            _, score = self.measure(allocation, 0)
            measures = {"bitops": self.table.total(allocation), bench.task.metric.key: score, "loss": bench.loss().total(allocation)}
            said = {**knobs.to_dict(), "budget": [c.text for c in plan.budget(knobs)], "scheme": str(Scheme())}
            return TrialResult(number, said, "complete", allocation, measures, samples=10_000)

        with tempfile.TemporaryDirectory() as folder, _replaced(engine, "run_trial", formula), _replaced(engine.Workbench, "reference", {}):
            config = config_for("known", trials, seed).model_copy(update={"cost_models": ("bitops",)})
            record = run_sweep(self.bench, config, Path(folder))
        return [self.measure(t.allocation, 0) for t in record.trials if t.allocation is not None]


class _Untrained:
    """Its network is traced and never run."""

    name, trained = "known", True

    def __init__(self, make: Callable[[], Any]) -> None:
        from hwdse.metrics import Metric

        self.model, self.metric = make, Metric("accuracy", "fraction", "higher")

    def example_inputs(self) -> tuple[Any, ...]:
        import torch

        return (torch.zeros(1, 3, 32, 32),)

    def batches(self, split: str, seed: int) -> list[Any]:
        return [((self.example_inputs()[0],), None)]

    def loss(self, output: Any, target: Any) -> Any:
        return output.mean()

    def scores(self, output: Any, target: Any) -> Any:
        return output.new_zeros(1)


@contextlib.contextmanager
def _replaced(where: Any, name: str, by: Any) -> Iterator[None]:
    before = where.__dict__[name]
    setattr(where, name, by)
    yield
    setattr(where, name, before)


def blind(problem: Digits | Known, name: str, trials: int, seed: int) -> list[tuple[float, float]]:
    """A width of weights a layer, and one of activations for each group of layers that read one tensor."""
    choices = problem.bench.choices
    sampler: optuna.samplers.BaseSampler = {
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        "TPE": lambda: optuna.samplers.TPESampler(seed=seed),
        "NSGA-II": lambda: optuna.samplers.NSGAIISampler(seed=seed),
    }[name]()
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)
    group = {layer: tie[0] for tie in choices.activation_ties for layer in tie}
    found = []
    for _ in range(trials):
        trial = study.ask()
        widths = {}
        for i, layer in enumerate(choices.layers):
            allowed = [o for o, yes in zip(choices.options, choices.allowed[i], strict=True) if yes]
            weights, activations = sorted({o.weight.bits for o in allowed}), sorted({o.activation.bits for o in allowed})
            w = trial.suggest_categorical(f"w {layer}", weights) if len(weights) > 1 else weights[0]
            a = trial.suggest_categorical(f"a {group.get(layer, layer)}", activations) if len(activations) > 1 else activations[0]
            widths[layer] = LayerFormat.of(w, a)
        found.append(problem.measure(Allocation(widths), seed))
        study.tell(trial, found[-1])
    return found


def volumes(points: list[tuple[float, float]], worst: float) -> list[float]:
    """Hypervolume after each trial."""
    minimised = np.array([[cost, -score] for cost, score in points])
    counts = sorted({*range(1, min(len(points), 60)), *np.geomspace(1, len(points), 80).astype(int)})
    values = {n: hypervolume(minimised[:n], np.array([1.0 + 1e-9, -worst])) for n in counts}
    return [values[max(c for c in counts if c <= n)] for n in range(1, len(points) + 1)]


def draw(case: str) -> None:
    """The mean over seeds, and the band from the least to the most."""
    from hwdse.reports import style

    said = json.loads((FOLDER / f"hypervolume-{case}.json").read_text())
    whole = np.mean(said["known"]) if said["known"] else max(np.mean([one[-1] for one in c]) for c in said["curves"].values())
    with style.styled():
        figure = style.blank(6.4, 4.0)
        axes = figure.subplots()
        style.grid(axes)
        looks = {"hwdse": ("#0072b2", "-"), "TPE": ("#d55e00", "--"), "NSGA-II": ("#009e73", "-."), "random": ("#666666", ":")}
        for name, (colour, line) in looks.items():
            curves = 100 * np.array(said["curves"][name]) / whole
            trials = np.arange(1, curves.shape[1] + 1)
            axes.fill_between(trials, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.15, linewidth=0)
            axes.plot(trials, curves.mean(axis=0), line, color=colour, label=name if name == "hwdse" else f"{name}, per layer")
        axes.set_xscale("log")
        axes.set_xlabel("trials")
        axes.set_ylabel("hypervolume [% of the known front's]" if said["known"] else "hypervolume [% of the best mean]")
        axes.legend(loc="lower right")
    (Path(__file__).parent / f"hypervolume-{case}.svg").write_text(style.svg(figure, f"hypervolume-{case}"))
    for name, curves in said["curves"].items():
        last = 100 * np.array([one[-1] for one in curves]) / whole
        print(f"{case:7} {name:8} {len(curves[0]):5} trials: {last.mean():.1f} % ({last.min():.1f} to {last.max():.1f})")
    # in how many of its trials the sweeper has what a blind search has at its end, seed by seed
    for name in ("random", "TPE", "NSGA-II"):
        pairs = zip(said["curves"]["hwdse"], said["curves"][name], strict=True)
        reached = [next((i for i, v in enumerate(ours, 1) if v >= theirs[-1]), None) for ours, theirs in pairs]
        print(f"{case:7} what {name} has after {said['blind']}: hwdse after {reached} of {said['trials']}")


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("case", choices=list(REFERENCE))
    asked.add_argument("--seeds", type=int, default=5)
    asked.add_argument("--trials", type=int, default=40)
    asked.add_argument("--blind", type=int, default=400)
    asked.add_argument("--only", choices=["hwdse", "random", "TPE", "NSGA-II"], help="this one anew, the others as on record")
    asked.add_argument("--draw", action="store_true", help="only the picture and the table, from the results that are there")
    args = asked.parse_args()
    if args.draw:
        return draw(args.case)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    kept = FOLDER / f"hypervolume-{args.case}.json"
    said = json.loads(kept.read_text()) if args.only else {}
    if said and [said[key] for key in ("seeds", "trials", "blind")] != [args.seeds, args.trials, args.blind]:
        asked.error(f"{kept} is of {said['seeds']} seeds, {said['trials']} and {said['blind']} trials: give the same")
    names = [args.only] if args.only else ["hwdse", "random", "TPE", "NSGA-II"]
    curves: dict[str, list[list[float]]] = {**said.get("curves", {}), **{name: [] for name in names}}
    best, worst, began = [], REFERENCE[args.case], time.perf_counter()
    digits = Digits() if args.case == "digits" else None
    for seed in range(args.seeds):
        problem = digits or Known(seed)
        for name in names:
            points = problem.sweep(args.trials, seed) if name == "hwdse" else blind(problem, name, args.blind, seed)
            curves[name].append(volumes(points, worst))
        if isinstance(problem, Known):
            best.append(volumes(problem.front(400), worst)[-1])
        print(seed, {n: round(c[seed][-1], 4) for n, c in curves.items()}, best[-1:], f"{time.perf_counter() - began:.0f} s", flush=True)
    FOLDER.mkdir(exist_ok=True)
    said = {
        "case": args.case, "seeds": args.seeds, "trials": args.trials, "blind": args.blind, "known": best,
        "curves": {n: [[round(v, 5) for v in one] for one in c] for n, c in curves.items()},
    }  # fmt: skip
    kept.write_text(json.dumps(said) + "\n")
    return draw(args.case)


if __name__ == "__main__":
    main()
