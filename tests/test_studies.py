"""Every study runs on a task that trains in a fraction of a second; its table is recomputed, its budgets are checked."""

from __future__ import annotations

import argparse
import importlib
import math
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from commands import cache, task_file
from torch.nn import functional as F

from hwdse.allocators import reallocation
from hwdse.problem import Problem, Solution
from hwdse.solvers import solve

STUDIES = Path(__file__).parents[1] / "examples" / "studies"
NAMES = sorted(path.stem for path in STUDIES.glob("*.py") if path.stem != "study")
DEEP = """
class Deep(Toy):
    recipes = Recipes(scratch=Recipe(epochs=20, lr=0.1), finetune=Recipe(epochs=1, lr=0.01))

    def model(self):
        return nn.Sequential(nn.Linear(8, 24), *(m for i in range(4) for m in (nn.ReLU(), nn.Linear(24, 24))), nn.ReLU(), nn.Linear(24, 4))
"""
Run = Callable[..., tuple[str, pd.DataFrame]]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("studies")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.syspath_prepend(STUDIES)
        patch.setenv("HWDSE_CACHE", str(cache()))
        yield task_file(folder, DEEP, of="Deep")


@pytest.fixture
def run(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """What a study prints, and its CSV."""

    def running(name: str, *more: str) -> tuple[str, pd.DataFrame]:
        path = tmp_path / "results.csv"
        monkeypatch.setattr(sys, "argv", [name, task, "--output", str(path), *more])
        runpy.run_path(str(STUDIES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out, pd.read_csv(path)

    return running


def options(task: str, epochs: int = 1) -> argparse.Namespace:
    return argparse.Namespace(task=task, accelerator="npu", epochs=epochs, seeds=1, output=None)


def cases_of(name: str, task: str) -> Mapping[str, Any]:
    found = runpy.run_path(str(STUDIES / f"{name}.py"))["cases"]
    cases: Mapping[str, Any] = found(options(task)) if found.__code__.co_argcount else found()
    return cases


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "budgets")) for name in NAMES])
def test_every_case_is_measured_inside_its_budget_and_shown(name: str, run: Run, task: str) -> None:
    out, found = run(name, "--seeds", "1", "--epochs", "1")
    cases = cases_of(name, task)
    assert list(found["case"]) == list(cases)
    bench = importlib.import_module("study").bench
    for _, row in found.iterrows():
        assert 0.25 < row["accuracy"] <= 1  # of four classes
        assert row["accuracy"] * 512 == pytest.approx(round(row["accuracy"] * 512))  # of 256 validation and 256 test samples
        assert 0 < row["loss"] < math.inf
        limits = list(bench(task, "npu", 0, "fit").budget(*cases[row["case"]].budget))
        assert limits
        for limit in limits:
            assert row[limit.metric.key] <= limit.limit * (1 + 1e-12)
        (line,) = [line for line in out.splitlines() if line.startswith(row["case"] + "  ")]
        assert line.removeprefix(row["case"]).split()[:3] == [f"{row['accuracy'] * 100:.2f}", "%", f"{row['loss']:.4f}"]


def test_the_table_has_mean_and_standard_deviation_over_the_seeds(run: Run) -> None:
    out, found = run("budgets", "--seeds", "2", "--epochs", "0")
    assert list(found["seed"]) == [0] * 7 + [1] * 7
    first, second = (100 * a for a in found.loc[found["case"] == "bitops", "accuracy"])
    (line,) = [line for line in out.splitlines() if line.startswith("bitops")]
    assert f"{(first + second) / 2:.2f} % ± {abs(first - second) / math.sqrt(2):.2f} %" in line


def test_the_loss_is_that_of_all_samples_alike(task: str) -> None:
    study = importlib.import_module("study")
    made = study.bench(task, "npu", 0, "fit")
    network = made.network()
    data = [batch for split in ("validation", "test") for batch in made.task.batches(split, 0)]
    with torch.no_grad():
        expected = F.cross_entropy(network(torch.cat([x for x, _ in data])), torch.cat([y for _, y in data]))
    assert study.loss_of(network, made.task) == pytest.approx(float(expected), rel=1e-6)


def test_before_and_during_differ_in_that_widths_change(run: Run) -> None:
    _, found = run("during_or_before", "--seeds", "1", "--epochs", "4")
    changes = found.groupby(found["case"].str.partition(": ")[2])["changes"].sum()
    assert changes["uniform"] == changes["allocated before training"] == 0
    assert changes["re-allocated during training"] > 0


def test_a_tau_is_run_where_the_training_reaches_it_and_said_where_not(task: str, capsys: pytest.CaptureFixture[str]) -> None:
    cases = runpy.run_path(str(STUDIES / "tau.py"))["cases"]

    def taus(epochs: int) -> list[str]:
        return [name for name in cases(options(task, epochs)) if name.startswith("tau")]

    assert taus(1) == []
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["50", "100", "250", "500", "1000"]
    for count, line in enumerate(lines, 1):
        needed = int(line.split()[-1])
        assert len(taus(needed)) == count
        assert len(taus(needed - 1)) == count - 1
    assert taus(67) == ["tau 50: 4 times"]  # 4 steps an epoch, three quarters of 268


def test_tau_is_as_often_as_its_row_says(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    solved: list[str] = []

    def counting(problem: Problem, method: str) -> Solution:
        solved.append(method)
        return solve(problem, method)

    monkeypatch.setattr(reallocation, "solve", counting)
    _, found = run("tau", "--seeds", "1", "--epochs", "67")
    assert list(found["case"]) == ["once, before training", "tau 50: 4 times"]
    assert len(solved) == 1 + (1 + 4)  # each solves before training too


def test_the_readme_has_a_line_for_every_study() -> None:
    text = (STUDIES / "README.md").read_text()
    for name in NAMES:
        assert f"python examples/studies/{name}.py" in text
