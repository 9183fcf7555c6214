"""The lines that an architect types in Python."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import task_file

import hwdse
from hwdse.errors import UsageError
from hwdse.formats import LayerFormat


@pytest.fixture(scope="module")
def bench() -> hwdse.Workbench:
    return hwdse.Workbench("digits", accelerators=["mpic"])


def test_an_allocation_is_inside_and_measured(bench: hwdse.Workbench) -> None:
    plan = bench.allocate("latency <= 70% of w8a8", "weights <= 60% of w8a8")
    assert plan.status == "OPTIMAL"
    assert all(room >= 0 for room in plan.slack.values())
    result = bench.measure(plan)
    assert result.allocation == plan.allocation
    assert result.costs["weights"] == pytest.approx(plan.costs["weights"])
    assert 0.8 < result.score <= 1
    assert result.interval is not None
    assert result.interval[0] <= result.score <= result.interval[1]
    assert result.metric.format(result.score) in str(result)
    assert "<table>" in result._repr_html_()


def test_formats_of_one_question(bench: hwdse.Workbench) -> None:
    plan = bench.allocate("weights <= 60% of w8a8", formats="int2..int8, int4.g32:int8")
    assert {str(one) for one in plan.allocation.values()} - {str(o) for o in bench.choices.options} <= {"int4.g32:int8"}
    assert len(bench.choices.options) == 49  # the bench's own stay


@pytest.mark.slow
def test_an_edited_allocation_is_measured_as_it_is(bench: hwdse.Workbench) -> None:
    plan = bench.allocate("weights <= 60% of w8a8")
    edited = {**plan.allocation, "stem": LayerFormat.of(6, 8)}
    assert bench.measure(edited).allocation["stem"] == LayerFormat.of(6, 8)
    with pytest.raises(UsageError, match="it has none for stem"):
        bench.measure({name: one for name, one in edited.items() if name != "stem"})


def test_a_tradeoff_is_a_front(bench: hwdse.Workbench) -> None:
    curve = bench.tradeoff("latency", points=5)
    assert list(curve.columns) == ["cost", "expected_loss", "status", "allocation"]
    assert curve["cost"].is_monotonic_increasing
    assert curve["expected_loss"].is_monotonic_decreasing


def test_a_sweep_is_run_read_and_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    bench = hwdse.Workbench(task_file(tmp_path, name="typed"))
    run = hwdse.sweep(bench, budgets=["weights <= 60% of w8a8"], trials=3, epochs=[0], allocators=["qbitopt"], output="run")
    assert len(run.trials) == 3
    again = hwdse.load_run("run")
    best = again.pick("weights <= 1 MiB", "accuracy >= 1 %")
    with pytest.raises(UsageError, match="give task='typed:Toy'"):
        again.export(best, "deployed", onnx=False)
    assert run.export(best, "deployed", onnx=False)["trial"] == best.trial.number
    assert again.report(formats=()).stat().st_size > 50_000
    assert "<table" in again._repr_html_()
    with pytest.raises(UsageError, match="make the workbench from names"):
        hwdse.sweep(hwdse.Workbench(bench.task), budgets=["weights <= 60% of w8a8"], output="other")


def test_quantisers_that_are_asked_for_are_those_that_round() -> None:
    bench = hwdse.Workbench("digits", accelerators=["mpic", "t4"], cost_models=["weights"])
    result = bench.measure(bench.choices.uniform(LayerFormat.of(4, 8)), scheme="codebook+lsq")
    assert {str(one) for one in result.allocation.values()} == {"cb8:int8", "cb4:int8"}
    assert result.costs["latency@t4"] == float("inf")  # it has no look-up
    assert any("codebook" in note for note in result.notes)
