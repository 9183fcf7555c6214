"""Score once, solve many: what a workbench keeps, under which key, and what it never does twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwdse.costmodels import cost_model, load_accelerator
from hwdse.errors import UnknownName, UsageError
from hwdse.metrics import Metric
from hwdse.quantizers import Scheme
from hwdse.solvers import solve
from hwdse.task import Recipe, Recipes
from hwdse.workbench import Workbench

PASSES = {"forward": 0, "backward": 0}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third, self.last = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        PASSES["forward"] += 1
        return self.last(F.relu(self.third(F.relu(self.second(F.relu(self.first(x)))))))


class OtherNet(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0  # the same weights and the same layers, other code


class Toy:
    name = "toy"
    metric = Metric("accuracy", "fraction", "higher")
    recipes = Recipes(scratch=Recipe(epochs=2, lr=0.1))
    shift = 0.0

    def model(self) -> nn.Module:
        return Net()

    def example_inputs(self) -> tuple[Tensor, ...]:
        return (torch.zeros(1, 8),)

    def batches(self, split: str, seed: int) -> list[tuple[Tensor, Tensor]]:
        random = torch.Generator().manual_seed(("train", "calibration", "validation", "test").index(split))
        x = torch.randn(64, 8, generator=random) + self.shift
        return [(x, x[:, :4].argmax(1))]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            PASSES["backward"] += 1
        return F.cross_entropy(output, target)

    def scores(self, output: Tensor, target: Tensor) -> Tensor:
        return (output.argmax(1) == target).float()


class OtherCode(Toy):
    def scores(self, output: Tensor, target: Tensor) -> Tensor:
        return (output.argmax(1) == target).double()


class OtherData(Toy):
    shift = 0.5


class OtherModelCode(Toy):
    def model(self) -> nn.Module:
        return OtherNet()


def bench(task: Any = None, **options: Any) -> Workbench:
    made = {"cache": None, **options}
    return Workbench(task or Toy(), [load_accelerator("mpic")], [cost_model("bitops"), cost_model("weights")], **made)


def passes_since(before: dict[str, int]) -> dict[str, int]:
    return {key: PASSES[key] - before[key] for key in PASSES}


def test_a_hundred_budgets_run_the_model_no_more_often_than_one() -> None:
    one = bench()
    before = dict(PASSES)
    solve(one.problem("bitops <= 60% of w8a8"))
    first = passes_since(before)
    assert first["forward"] > 0
    before = dict(PASSES)
    losses = [solve(one.problem(f"bitops <= {p}% of w8a8", "latency <= 3 ms", target="mpic")).loss for p in range(40, 140)]
    assert passes_since(before) == {"forward": 0, "backward": 0}
    assert losses == sorted(losses, reverse=True)  # and they are answers: more room never costs accuracy
    assert losses[0] > losses[-1]


def test_the_same_workbench_again_trains_nothing(tmp_path: Path) -> None:
    first = bench(cache=tmp_path)
    table = first.loss()
    files = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir() if p.is_file()}
    assert len(files) == 2
    before = dict(PASSES)
    again = bench(cache=tmp_path)
    assert (again.loss().cells == table.cells).all()
    assert passes_since(before)["backward"] == 0
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir() if p.is_file()} == files
    assert again.weights_fingerprint == first.weights_fingerprint


def kept(cache: Path, **options: Any) -> set[str]:
    """Names of the files that a workbench leaves in a cache."""
    made = bench(cache=cache, **options)
    made.loss()
    solve(made.problem("bitops <= 60% of w8a8"))
    return {p.name for p in cache.iterdir() if p.is_file()}


@pytest.mark.parametrize(
    ("options", "weights", "losses"),
    [
        ({"seed": 1}, 1, 1),
        ({"task": OtherCode()}, 1, 1),
        ({"task": OtherData()}, 1, 1),
        ({"task": OtherModelCode()}, 1, 1),
        ({"method": "fit_noise"}, 0, 1),
        ({"weights": (2, 4, 8)}, 0, 1),
    ],
)
def test_what_changes_a_key(options: dict[str, Any], weights: int, losses: int, tmp_path: Path) -> None:
    before = kept(tmp_path)
    new = kept(tmp_path, **options) - before
    assert sum(".pt-" in name for name in new) == weights
    assert sum(".npz-" in name for name in new) == losses


def test_another_budget_or_accelerator_changes_no_key(tmp_path: Path) -> None:
    before = kept(tmp_path)
    solve(bench(cache=tmp_path).problem("weights <= 70% of w8a8", "energy <= 80% of w8a8"))
    other = Workbench(Toy(), [load_accelerator("npu")], [cost_model("bitops")], cache=tmp_path)
    other.problem("bitops <= 50% of w8a8")
    assert {p.name for p in tmp_path.iterdir() if p.is_file()} == before


def test_other_weights_change_the_key_of_the_sensitivities(tmp_path: Path) -> None:
    class Ready(Toy):
        trained = True
        factor = 1.0

        def model(self) -> nn.Module:
            net = Net()
            with torch.no_grad():
                net.second.weight *= self.factor
            return net

    one, two = Ready(), Ready()
    two.factor = 2.0
    first, second = bench(one, cache=tmp_path), bench(two, cache=tmp_path)
    assert (first.loss().cells != second.loss().cells).any()
    assert first.weights_fingerprint != second.weights_fingerprint
    assert len([p for p in tmp_path.iterdir() if p.is_file()]) == 2  # two tables, no trained weights


def test_quantisers_have_their_own_table(tmp_path: Path) -> None:
    made = bench(cache=tmp_path)
    assert made.loss() is made.loss()
    assert (made.loss(Scheme("codebook", "lsq")).cells != made.loss().cells).any()


def test_networks_are_fresh_copies() -> None:
    made = bench()
    one, two = made.network(), made.network()
    with torch.no_grad():
        next(one.parameters()).zero_()
    assert all(torch.equal(a, b) for a, b in zip(two.parameters(), made.network().parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(two.parameters()))


def test_mistakes_are_said_before_anything_runs() -> None:
    before = dict(PASSES)
    with pytest.raises(UnknownName, match="unknown sensitivity method 'fitt'; did you mean 'fit'"):
        bench(method="fitt")
    with pytest.raises(UnknownName, match="unknown accelerator 'npu'"):
        bench().problem(target="npu")
    with pytest.raises(UsageError, match="two cost models give the metric bitops"):
        Workbench(Toy(), [], [cost_model("bitops"), cost_model("bitops")], cache=None).problem("bitops <= 50% of w8a8")
    assert passes_since(before)["backward"] == 0
