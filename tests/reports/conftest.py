"""A run that looks like a real one: a 12-layer CNN, three accelerators, three allocators and uniform baselines, some trials failed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from hwdse.choices import Choices
from hwdse.costs import SOURCE_CODE, CostTable
from hwdse.formats import Allocation, LayerFormat, grid
from hwdse.metrics import ACTIVATIONS, BITOPS, LOSS, WEIGHTS, Metric
from hwdse.records import SweepRecord, TrialResult

ACCURACY = Metric("accuracy", "fraction", "higher")
LATENCIES = tuple(Metric("latency", "s", on=name) for name in ("t4", "mpic", "npu"))
ENERGY = Metric("energy", "J", on="npu")
COSTS = (BITOPS, WEIGHTS, ACTIVATIONS, *LATENCIES, ENERGY)
OPTIONS = grid((2, 4, 8), (4, 8))
BUDGETS = (
    ("latency@t4 <= 1.1 ms",),
    ("latency@t4 <= 1.5 ms",),
    ("weights <= 70% of w8a8", "energy@npu <= 0.7 mJ"),
    ("latency@t4 <= 0.5 ms",),
)
_CHANNELS = (3, 16, 16, 16, 32, 32, 32, 64, 64, 64, 128, 128)
_SIZES = (32, 32, 32, 32, 16, 16, 16, 8, 8, 8, 4, 4)
LAYERS = (*(f"features.{i}.conv" for i in range(11)), "classifier")


def graph() -> dict:
    layers = []
    for i, name in enumerate(LAYERS):
        last = i == len(LAYERS) - 1
        params = 128 * 10 if last else _CHANNELS[i] * _CHANNELS[i + 1] * 9
        macs = params if last else params * _SIZES[i] ** 2
        shape = [10] if last else [_CHANNELS[i + 1], _SIZES[i], _SIZES[i]]
        layers.append({"name": name, "kind": "linear" if last else "conv2d", "macs": macs, "params": params,
                       "weight_shape": [shape[0], _CHANNELS[i]], "output_shape": [1, *shape]})  # fmt: skip
    return {
        "fingerprint": "3f9a1c22d0b7", "macs": sum(x["macs"] for x in layers) + 40_000, "params": sum(x["params"] for x in layers),
        "batch": 1, "layers": layers,
        "left_out": [{"name": "pool", "reason": "pooling, counted as 0"}, {"name": "bn.*", "reason": "folded into the convolution"}],
    }  # fmt: skip


def tables(layers: Sequence[dict]) -> dict[str, CostTable]:
    w = np.array([o.weight.bits for o in OPTIONS], float)
    a = np.array([o.activation.bits for o in OPTIONS], float)
    macs = np.array([x["macs"] for x in layers], float)[:, None]
    params = np.array([x["params"] for x in layers], float)[:, None]
    inputs = np.array([c * s * s for c, s in zip(_CHANNELS, _SIZES, strict=True)], float)[:, None]
    names = [x["name"] for x in layers]
    rng = np.random.default_rng(7)
    spread = rng.lognormal(0, 0.5, (len(names), 1))
    source = np.full((len(names), len(OPTIONS)), SOURCE_CODE["exact"], np.int8)
    source[:, w == 2] = SOURCE_CODE["rounded"]
    source[3:5] = SOURCE_CODE["analytic"]
    t4 = 2e-5 + macs * np.maximum(w, 4) * np.maximum(a, 4) * spread * 1.1e-12
    npu = 5e-6 + macs * w * a * 2.5e-13
    npu[8, (w == 2) & (a == 4)] = math.inf  # the npu cannot run one layer at w2a4

    def table(metric: Metric, cells: np.ndarray, fixed: float = 0.0, sources: object = "computed", **about: object) -> CostTable:
        return CostTable.one_row(metric, names, OPTIONS, cells, fixed, sources, **about)  # type: ignore[arg-type]

    peak = inputs * a / 8
    return {
        "bitops": table(BITOPS, macs * w * a, convention="MACs x weight bits x activation bits; first and last layer at 8/8."),
        "weights": table(WEIGHTS, params * w / 8 + 64, convention="ceil(numel x bits / 8) per tensor plus 16-bit scales."),
        "activations": CostTable(
            ACTIVATIONS, tuple(names), OPTIONS, np.repeat(peak, 2, axis=0)[1:-1], np.repeat(np.arange(11), 2),
            np.repeat(np.arange(12), 2)[1:-1], np.zeros(11), np.zeros((22, len(OPTIONS)), np.int8),
            "Peak of the live tensors along the traced order.", row_names=tuple(f"after {n}" for n in names[:-1])),
        "latency@t4": table(LATENCIES[0], t4, 1.2e-4, source, convention="Sum of layer latencies from a table; widths rounded up.",
                            notes=("Conversions between widths are not in it.",)),
        "latency@mpic": table(LATENCIES[1], 1e-5 + macs / (64 / np.maximum(w, a)) * 4e-9, 0, "signature", convention="MACs per cycle."),
        "latency@npu": table(LATENCIES[2], npu, 0, "analytic", convention="Roofline."),
        "energy@npu": table(ENERGY, np.where(np.isinf(npu), np.inf, macs * w * a * 7e-13 + params * w * 2e-12), 0, "analytic"),
        "loss": table(LOSS, spread * (1 / (w - 1) ** 2 * 0.2 + 1 / (a - 2) ** 2 * 0.1) + 0 * macs,
                      convention="Expected loss increase, second order, 512 calibration samples."),
    }  # fmt: skip


def make_record(trials: int = 60, seed: int = 0, *, costs: Sequence[Metric] = COSTS, samples: int = 1000) -> SweepRecord:
    """The run. Of every 16 trials one failed and one was interrupted; scores follow the loss table, with noise."""
    about = graph()
    found = tables(about["layers"])
    rng = np.random.default_rng(seed)
    made = []
    for number in range(trials):
        method = ("uniform", "adaqat", "qbitopt", "adq")[0 if number < 4 else number % 4]
        budget = BUDGETS[number // 4 % len(BUDGETS)]
        knobs = {"allocator": method, "accelerator": ("t4", "npu", None)[number % 3], "budget": [] if method == "uniform" else list(budget),
                 "epochs": 5, "seed": number % 2, "seeded": number < 8}  # fmt: skip
        if number % 16 == 15:
            made.append(TrialResult(number, knobs, "failed", seconds=3.2, error=f"TrainingDiverged: loss is not finite at step {number}."))
            continue
        if method == "uniform":
            widths = dict.fromkeys(LAYERS, OPTIONS[number % len(OPTIONS)])
        else:
            lean = rng.uniform(0, 1)
            widths = {n: OPTIONS[min(int(rng.beta(1 + 3 * lean, 2) * len(OPTIONS)), len(OPTIONS) - 1)] for n in LAYERS}
        widths[LAYERS[0]] = widths[LAYERS[-1]] = LayerFormat.of(8, 8)
        allocation = Allocation(widths)
        measures = {m.key: found[m.key].total(allocation) for m in costs}
        loss = measures["loss"] = found["loss"].total(allocation)
        state = "interrupted" if number % 16 == 14 else "complete"
        if state == "complete":
            right = 0.974 - 0.035 * loss + rng.normal(0, 0.003) + (0 if method == "uniform" else 0.004)
            measures[ACCURACY.key] = round(min(max(right, 0.1), 1.0) * samples) / samples
        slack = {}
        if "latency@t4" in measures and method != "uniform":
            slack = {"latency@t4 <= 1.5 ms": 1.5e-3 - measures["latency@t4"]} if budget == BUDGETS[1] else {}
        if method != "uniform" and budget == BUDGETS[2] and {"weights", "energy@npu"} <= set(measures):
            share = 0.7 * found["weights"].total(dict.fromkeys(LAYERS, LayerFormat.of(8, 8)))
            slack = {
                f"weights <= {WEIGHTS.format(share)}": share - measures["weights"],
                "energy@npu <= 700 uJ": 7e-4 - measures["energy@npu"],
            }
        test = measures[ACCURACY.key] - 0.004 if state == "complete" and number % 3 == 1 else None
        made.append(TrialResult(number, knobs, state, allocation, measures, test, samples, slack, 41.5 + number))
    ends = (LAYERS[0], LAYERS[-1])
    return SweepRecord(
        task="digits", score=ACCURACY, costs=tuple(costs), budgets=BUDGETS, trials=tuple(made),
        reference={"validation": 0.973, "test": 0.969, "validation_samples": samples, "test_samples": 10_000},
        graph=about,
        conventions={k: {"convention": t.convention, "notes": list(t.notes), "accelerator": t.metric.on}
                     for k, t in found.items() if k == "loss" or t.metric in costs},
        provenance={"versions": {"hwdse": "0.1.0", "torch": "2.13.0"}, "seeds": [0, 1], "weights": "sha256:9c1d22",
                    "accelerators": {"t4": "t4", "mpic": "mpic", "npu": "chips/npu.toml"},
                    "created": "2026-01-12T09:30:00Z"},
        config={"task": "digits", "trials": trials, "samples": {"calibration": 512}},
        tables={k: t for k, t in found.items() if k == "loss" or t.metric in costs},
        choices=Choices(LAYERS, OPTIONS, np.array([[n not in ends or str(o) == "w8a8" for o in OPTIONS] for n in LAYERS])),
    )  # fmt: skip


LATENCY_X = Metric("latency", "s", on="x")
TINY_OPTIONS = (LayerFormat.of(2, 2), LayerFormat.of(4, 4), LayerFormat.of(8, 8))


def make_tiny() -> SweepRecord:
    """Two layers, numbers that can be checked by hand: latency = 1 ms + 0.5 or 1.5 ms a layer; x cannot run w2a2."""

    def table(metric: Metric, a: tuple[float, ...], b: tuple[float, ...], fixed: float = 0.0, source: str = "computed") -> CostTable:
        return CostTable.one_row(metric, ("a", "b"), TINY_OPTIONS, np.array([a, b]), fixed, source, f"rule of {metric.key}")

    found = {
        "latency@x": table(LATENCY_X, (math.inf, 0.5e-3, 1.5e-3), (math.inf, 0.5e-3, 1.5e-3), 1e-3, "exact"),
        "weights": table(WEIGHTS, (25, 50, 100), (75, 150, 300)),
        "loss": table(LOSS, (0.4, 0.2, 0.1), (0.1, 0.05, 0)),
    }

    def trial(number: int, method: str, a: str, b: str, score: float, budget: tuple[str, ...] = (), **more: object) -> TrialResult:
        allocation = Allocation({"a": LayerFormat.parse(a), "b": LayerFormat.parse(b)})
        measures = {k: t.total(allocation) for k, t in found.items()} | {"accuracy": score}
        knobs = {"allocator": method, "accelerator": "x", "budget": list(budget), "epochs": 1, "seed": 0, "seeded": False}
        return TrialResult(number, knobs, "complete", allocation, measures, samples=100, **more)  # type: ignore[arg-type]

    relative = ("weights <= 75% of w8a8",)
    lost = {"allocator": "adq", "accelerator": "x", "budget": ["latency@x <= 1 ms"], "epochs": 1}
    return SweepRecord(
        task="tiny",
        score=ACCURACY,
        costs=(WEIGHTS, LATENCY_X),
        budgets=(("latency@x <= 3 ms",), ("latency@x <= 2 ms",), relative, ("latency@x <= 1 ms",)),
        trials=(
            trial(0, "uniform", "w8a8", "w8a8", 0.95),
            trial(1, "uniform", "w4a4", "w4a4", 0.80),
            trial(2, "qbitopt", "w8a8", "w4a4", 0.93, relative, test=0.92, slack={"weights <= 300 B": 50.0}),
            trial(3, "adaqat", "w4a4", "w8a8", 0.90, ("latency@x <= 3 ms",)),
            TrialResult(4, lost, "failed", error="TrainingDiverged: loss is nan at step 7"),
            trial(5, "adq", "w2a2", "w4a4", 0.85),
            TrialResult(6, lost, "interrupted"),
            TrialResult(7, lost, "failed", error="TrainingDiverged: loss is nan at step 12"),
        ),
        reference={"validation": 0.96, "test": 0.955, "validation_samples": 100, "test_samples": 200},
        graph={"fingerprint": "f00d", "macs": 4000, "params": 400, "batch": 1, "left_out": [{"name": "attention", "reason": "no rule"}],
               "layers": [{"name": "a", "macs": 1000, "params": 100}, {"name": "b", "macs": 2000, "params": 300}]},
        conventions={"weights": {"convention": "packed", "notes": ["no scales"], "accelerator": None}},
        provenance={"versions": {"hwdse": "0.1.0"}, "seeds": [0], "accelerators": {"x": "x"}},
        config={"task": "tiny"},
        tables=found,
    )  # fmt: skip


@pytest.fixture
def tiny() -> SweepRecord:
    return make_tiny()


@pytest.fixture(scope="session")
def record() -> SweepRecord:
    return make_record()


@pytest.fixture(scope="session")
def builder() -> Callable[..., SweepRecord]:
    return make_record
