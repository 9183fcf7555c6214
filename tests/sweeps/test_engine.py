"""A real sweep on the embedded task: what it leaves, how it goes on, and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hwdse import sweeps
from hwdse.costmodels import load_accelerator
from hwdse.errors import FileFormatError, InfeasibleBudget, TrainingDiverged, UnknownName, UsageError
from hwdse.evaluation import evaluate
from hwdse.formats import Allocation, LayerFormat, plain_integer
from hwdse.intervals import interval_of
from hwdse.pareto import ParetoFront
from hwdse.quantizers import Scheme
from hwdse.records import SweepRecord
from hwdse.reports.explaining import explain
from hwdse.storage import StorageError, read_checkpoint
from hwdse.sweeps import Knobs, Plan, Progress, SweepConfig, run_sweep, run_trial
from hwdse.workbench import Workbench

BUDGETS = [["latency@mpic <= 60% of w8a8"], ["energy@npu <= 60% of w8a8", "weights <= 60% of w8a8"]]


def config(**changes: object) -> SweepConfig:
    values = {
        "task": "digits", "accelerators": ["mpic", "npu"], "budgets": BUDGETS, "trials": 14, "epochs": [0, 1],
        "baselines": ["w8a8", "w4a4"], "baseline_epochs": 0, "ladder": 1, "refine": 0.0, "rounding": "nearest", "keep_checkpoints": "all",
    }  # fmt: skip
    return SweepConfig.make("test", **{**values, **changes})


@pytest.fixture(scope="session")
def finished(bench: Workbench, tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepRecord, Path]:
    folder = tmp_path_factory.mktemp("run")
    return run_sweep(bench, config(), folder), folder


def test_every_point_is_inside_its_budget(finished: tuple[SweepRecord, Path], bench: Workbench) -> None:
    record, _ = finished
    assert len(record.trials) == 14
    assert all(t.state == "complete" for t in record.trials)
    for trial in record.complete:
        for text in trial.knobs["budget"]:
            key, _, rest = text.partition(" <= ")
            base, _, factor = rest.partition(" x ")
            limit = record.limits[f"{key} <= {base}"] * float(factor or 1)
            assert trial.measures[key] <= limit * (1 + 1e-12)
            assert trial.allocation is not None
            table = bench.tables_by(Scheme.parse(trial.knobs["scheme"]))[key]
            assert trial.measures[key] == pytest.approx(table.total(trial.allocation))


def test_all_allocators_baselines_and_solver_seeds_ran(finished: tuple[SweepRecord, Path]) -> None:
    record, _ = finished
    assert {t.knobs["allocator"] for t in record.trials} == {"uniform", "qbitopt", "adaqat", "adq"}
    assert {t.knobs["origin"] for t in record.trials} == {"baseline", "solver", "start", "search"}
    assert [t.knobs["widths"] for t in record.trials[:2]] == ["w8a8", "w4a4"]


@pytest.mark.slow
def test_every_measure_can_be_had_from_the_tables_on_disk(bench: Workbench, tmp_path: Path) -> None:
    budgets = [["weights@npu <= 70% of w8a8"]]
    run_sweep(bench, config(budgets=budgets, allocators=["adq", "adaqat"], baselines=["w8a8"], trials=4, epochs=[1]), tmp_path)
    record = SweepRecord.load(tmp_path)
    assert any(t.knobs["scheme"].startswith("codebook") for t in record.complete)
    for trial in record.complete:
        assert trial.allocation is not None
        for key, table in record.tables_of(trial).items():
            assert table.total(trial.allocation) == pytest.approx(trial.measures[key]), (trial.number, key)
    book = next(t for t in record.complete if t.knobs["scheme"].startswith("codebook"))
    explained = explain(record, book.number)
    loss = sum(one.loss for one in explained.layers) + record.tables_of(book)["loss"].fixed[0]
    assert loss == pytest.approx(book.measures["loss"])
    lost = replace(record, scheme_tables={})
    assert lost.tables_of(book) == {}
    with pytest.raises(UsageError, match="has formats whose tables are not in the run folder yet"):
        explain(lost, book.number)


def test_codebooks_are_replaced_only_where_the_device_or_the_budget_forbids_them_and_it_is_said(
    finished: tuple[SweepRecord, Path], bench: Workbench
) -> None:
    record, _ = finished
    found = [t for t in record.complete if t.knobs["allocator"] == "adq"]
    assert found
    for trial in found:
        if trial.knobs["scheme"].startswith("lsq"):
            why = "mpic cannot run cb2" if trial.knobs["accelerator"] == "mpic" else "budget has no room"
            assert any(why in note for note in trial.notes)


def test_codebook_weights_are_charged_for_their_codes(bench: Workbench, tmp_path: Path) -> None:
    plan = Plan.of(config(budgets=[["weights <= 60% of w8a8"]]), bench)
    trial = run_trial(bench, plan, Knobs("adq", "npu", 0), 0, tmp_path)
    assert trial.knobs["scheme"] == "codebook+n2uq@mse"
    assert trial.allocation is not None
    codes = sum((2**w.weight.bits - 1) * max(8, w.weight.bits) // 8 for w in trial.allocation.values())
    plain = Allocation({n: LayerFormat(plain_integer(w.weight.bits), w.activation) for n, w in trial.allocation.items()})
    assert trial.measures["weights"] == pytest.approx(bench.tables["weights"].total(plain) + codes)
    eight = Allocation({n: LayerFormat(plain_integer(8), w.activation) for n, w in trial.allocation.items()})
    for key in ("bitops", "latency@npu", "energy@npu"):  # the multiplier sees 8-bit codes, whatever the index width
        assert trial.measures[key] == pytest.approx(bench.tables[key].total(eight))
    assert trial.measures["latency@mpic"] == float("inf")  # no look-up there
    assert trial.measures["weights"] <= plan.limits["npu", 0].constraints[0].limit


def test_the_record_on_disk_is_the_record(finished: tuple[SweepRecord, Path]) -> None:
    record, folder = finished
    again = SweepRecord.load(folder)
    assert again.trials == record.trials
    assert again.limits == record.limits
    assert again.graph["fingerprint"] == record.provenance["graph"]
    assert set(again.tables) == {m.key for m in record.costs} | {"loss"}
    assert {"hwdse", "torch", "optuna", "numpy"} <= set(again.provenance["versions"])


def test_the_scores_of_every_sample_are_kept(finished: tuple[SweepRecord, Path], bench: Workbench) -> None:
    record = SweepRecord.load(finished[1])
    key = record.score.key
    assert record.scores["fp32"].mean() == pytest.approx(record.reference["validation"])
    for trial in record.complete:
        assert record.scores[str(trial.number)].mean() == pytest.approx(trial.measures[key])
        assert len(record.scores[str(trial.number)]) == trial.samples
        assert trial.interval == interval_of(record.scores[str(trial.number)])


def test_a_checkpoint_gives_the_measured_score(finished: tuple[SweepRecord, Path], bench: Workbench) -> None:
    record, folder = finished
    trial = next(t for t in record.complete if t.knobs["epochs"] and t.knobs["allocator"] == "adq")
    state = read_checkpoint((folder / "checkpoints" / f"{trial.number}.pt").read_bytes())
    model = bench.quantized(Scheme(*state["scheme"]))
    model.load_state(state)
    assert evaluate(model.network, bench.task, "validation").mean == trial.measures["accuracy"]
    handed = Allocation.from_json((folder / "allocations" / f"{trial.number}.json").read_text())
    assert handed == trial.allocation == model.allocation


def test_the_front_is_scored_on_the_test_split(finished: tuple[SweepRecord, Path]) -> None:
    record, _ = finished
    for metric in record.costs:
        for trial in ParetoFront.of(record.trials, (metric, record.score)).trials:
            assert trial.test is not None
            if trial.measures[record.score.key] > 0.95:  # narrow post-training points are broken on both splits, each in its way
                assert abs(trial.test - trial.measures[record.score.key]) < 0.05


def test_an_edited_accelerator_file_does_not_continue_an_old_run(bench: Workbench, tmp_path: Path) -> None:
    text = load_accelerator("npu").file.read_text().replace('name = "npu"', 'name = "mine"')
    path = tmp_path / "mine.toml"
    once = config(accelerators=[str(path)], budgets=[["weights <= 60% of w8a8"]], trials=1, epochs=[0])

    def fresh() -> Workbench:
        made = Workbench(bench.task, [load_accelerator(path)], bench.cost_models, cache=bench.cache)
        return made

    path.write_text(text)
    run_sweep(fresh(), once, tmp_path / "run")
    run_sweep(fresh(), once, tmp_path / "run")  # the same file goes on
    path.write_text(text.replace("layer_s = 2e-6", "layer_s = 9e-6"))
    assert path.read_text() != text
    with pytest.raises(UsageError, match="accelerator file or version of hwdse"):
        run_sweep(fresh(), once, tmp_path / "run")


def test_same_seed_same_trials(finished: tuple[SweepRecord, Path], bench: Workbench, tmp_path: Path) -> None:
    record, _ = finished
    again = run_sweep(bench, config(trials=9), tmp_path)
    for one, other in zip(record.trials, again.trials, strict=False):
        assert one.allocation == other.allocation
        assert one.measures == other.measures


def test_it_goes_on_where_it_stopped(finished: tuple[SweepRecord, Path], bench: Workbench, tmp_path: Path) -> None:
    _, folder = finished
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    seen: list[Progress] = []
    record = run_sweep(bench, config(trials=15), copy, seen.append)
    assert len(record.trials) == 15
    assert seen[0].trials_done == 14
    assert record.trials[:14] == tuple(replace(t, test=o.test) for t, o in zip(finished[0].trials, record.trials, strict=False))


def test_interrupted_trial_is_run_again_and_nothing_is_lost(bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = config(trials=4, epochs=[0])  # the two baselines and the two solver seeds
    whole = run_sweep(bench, once, tmp_path / "whole")
    real, calls = sweeps.engine.run_trial, []  # type: ignore[attr-defined]  # loaded by then

    def stopping(*args: object, **kwargs: object) -> object:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr("hwdse.sweeps.engine.run_trial", stopping)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(bench, once, tmp_path / "cut")
    assert len(SweepRecord.load(tmp_path / "cut").trials) == 2
    record = run_sweep(bench, once, tmp_path / "cut")
    # the one that was cut off comes last, under a number of its own
    assert {(t.knobs["origin"], t.knobs["widths"], t.allocation) for t in record.trials} == {
        (t.knobs["origin"], t.knobs["widths"], t.allocation) for t in whole.trials
    }
    assert len(record.trials) == 4


def test_a_failed_trial_is_recorded_and_the_sweep_goes_on(bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sweeps.engine.run_trial  # type: ignore[attr-defined]  # loaded by then

    def breaking(bench_: Workbench, plan: object, knobs: object, number: int, *rest: object) -> object:
        if number == 1:
            raise TrainingDiverged("the loss is nan at step 3; lower the learning rate, or look at the data.")
        if number == 2:
            raise RuntimeError("CUDA out of memory")
        return real(bench_, plan, knobs, number, *rest)

    monkeypatch.setattr("hwdse.sweeps.engine.run_trial", breaking)
    record = run_sweep(bench, config(trials=5), tmp_path)
    assert [t.state for t in record.trials] == ["complete", "failed", "failed", "complete", "complete"]
    assert record.trials[1].error.startswith("the loss is nan at step 3")
    assert record.trials[2].error == "RuntimeError: CUDA out of memory"


def test_another_configuration_does_not_continue_an_old_run(finished: tuple[SweepRecord, Path], bench: Workbench) -> None:
    with pytest.raises(UsageError, match=r"made with another configuration \(epochs: was \[0, 1\], now \[0\]\)"):
        run_sweep(bench, config(epochs=[0]), finished[1])


def test_a_folder_of_another_task_is_refused(finished: tuple[SweepRecord, Path], bench: Workbench, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished[1], copy)
    other = Workbench(bench.task, bench.targets.values(), bench.cost_models, cache=None)
    other.fingerprint = "of another task"  # type: ignore[misc]  # a cached property
    other.__dict__["reference"], other.__dict__["_state"] = bench.reference, bench._state
    with pytest.raises(UsageError, match="belongs to another task, model, seed, accelerator file or version"):
        run_sweep(other, config(), copy)


def test_truncated_study(finished: tuple[SweepRecord, Path], bench: Workbench, tmp_path: Path) -> None:
    shutil.copytree(finished[1], tmp_path / "run")
    study = tmp_path / "run" / "study.db"
    study.write_bytes(b"SQLite format 3\x00" + study.read_bytes()[16:3000])
    with pytest.raises(FileFormatError, match=r"study\.db: is truncated or not a study database"):
        run_sweep(bench, config(), tmp_path / "run")


def test_budget_nobody_can_meet_is_said_before_training(bench: Workbench, tmp_path: Path) -> None:
    with pytest.raises(InfeasibleBudget, match="latency@mpic <= 1 us cannot be met: the smallest reachable"):
        run_sweep(bench, config(budgets=[["latency@mpic <= 1 us"]]), tmp_path)


@pytest.mark.parametrize(
    ("budgets", "sentence"),
    [
        ([["latency@t4 <= 60% of w8a8"]], "unknown accelerator in a budget 't4'"),
        ([["latency@mpic <= 1 ms", "energy@npu <= 1 uJ"]], "budget 1 names several accelerators"),
        ([["speed <= 3"]], "unknown metric 'speed'"),
        ([["latency@mpic <= 60%"]], "a relative limit names its reference"),
    ],
)
def test_budgets_that_cannot_be_read(bench: Workbench, tmp_path: Path, budgets: list[list[str]], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        run_sweep(bench, config(budgets=budgets), tmp_path)


def test_a_folder_that_cannot_be_written(bench: Workbench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        run_sweep(bench, config(), tmp_path / "file" / "run")


@pytest.mark.slow
def test_two_costs_as_objectives(bench: Workbench, tmp_path: Path) -> None:
    record = run_sweep(bench, config(objective=["bitops", "weights"], trials=6), tmp_path)
    assert len(record.complete) == 6


def test_unknown_sampler(bench: Workbench, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown sampler 'tpee'; did you mean 'tpe'"):
        run_sweep(bench, config(sampler="tpee"), tmp_path)


def test_record_holds_no_infinity_that_json_lacks(finished: tuple[SweepRecord, Path]) -> None:
    text = (finished[1] / "record.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in record.json"))
