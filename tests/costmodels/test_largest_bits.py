"""The L-infinity budget: against a maximum taken by hand, with and without the ends, and through the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import hwdse, task_file

from hwdse.choices import Choices
from hwdse.cli.setup import make_bench
from hwdse.constraints import parse_budget
from hwdse.costmodels import LargestBits
from hwdse.costs import CostModel
from hwdse.errors import InfeasibleBudget, UsageError
from hwdse.formats import LayerFormat, grid
from hwdse.graph import Layer
from hwdse.problem import Problem, loss_table
from hwdse.solvers import solve
from hwdse.testing import CostModelContract

OPTIONS = grid((2, 4, 8), (3, 8))


class TestWithTheEnds(CostModelContract):
    def model(self) -> CostModel:
        return LargestBits(ends=True)


class TestOfWeights(CostModelContract):
    def model(self) -> CostModel:
        return LargestBits("weights")


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("of", ["weights", "activations", "both"])
def test_it_is_the_largest_width(build, of: str, ends: bool) -> None:
    graph = build.loose(*(build.linear(name, 4, 4) for name in "abcde"))
    table = LargestBits(of, ends).tabulate(graph, OPTIONS)
    rng = np.random.default_rng(1)
    for _ in range(50):
        chosen = {layer.name: OPTIONS[rng.integers(len(OPTIONS))] for layer in graph.layers}
        counted = [chosen[name] for name in ("abcde" if ends else "bcd")]
        widths = [w.weight.bits for w in counted] * (of != "activations") + [w.activation.bits for w in counted] * (of != "weights")
        assert table.total(chosen) == max(widths)
    assert ("between the first and the last" in table.convention) != ends


def test_every_row_is_named(build) -> None:
    graph = build.loose(*(build.linear(name, 4, 4) for name in "abc"))
    assert LargestBits().tabulate(graph, OPTIONS).row_names == ("b weight", "b input")


def test_the_input_of_an_embedding_has_no_width(build) -> None:
    table = Layer("words", "embedding", 0, (1, 5), (1, 5, 4), "words.weight", (9, 4), 0, "words")
    graph = build.loose(build.linear("a", 4, 4), table, build.linear("b", 4, 4))
    assert LargestBits().tabulate(graph, OPTIONS).row_names == ("words weight",)


def test_without_layers_between_the_ends_it_says_so(build) -> None:
    graph = build.loose(build.linear("a", 4, 4), build.linear("b", 4, 4))
    table = LargestBits().tabulate(graph, OPTIONS)
    assert table.total({"a": LayerFormat.of(8, 8), "b": LayerFormat.of(2, 3)}) == 0
    assert "no such tensor" in table.notes[0]


def test_an_unknown_operand_is_refused() -> None:
    with pytest.raises(UsageError, match="of must be 'weights', 'activations' or 'both', got 'bits'"):
        LargestBits("bits")  # type: ignore[arg-type]


def problem(build, budget: str, ends: bool, pins: dict[str, LayerFormat] | None = None) -> Problem:
    graph = build.loose(*(build.linear(name, 4, 4) for name in "abcd"))
    choices = Choices.of(graph, (2, 4, 8), (3, 8), pins=pins)
    table = LargestBits(ends=ends).tabulate(graph, choices.options)
    loss = np.tile([4.0**-o.weight.bits + 4.0**-o.activation.bits for o in choices.options], (4, 1))
    return Problem(choices, loss_table(choices, loss, "test"), (table,), parse_budget([budget], [table], choices))


def test_a_budget_holds_every_tensor_between_the_ends(build) -> None:
    found = solve(problem(build, "largest_bits <= 7", ends=False))
    assert found.status == "OPTIMAL"
    assert [str(found.allocation[name]) for name in "abcd"] == ["w8a8", "w4a3", "w4a3", "w8a8"]
    assert found.costs["largest_bits"] == 4


@pytest.mark.parametrize(("ends", "pins"), [(True, None), (False, {"b": LayerFormat.of(2, 8)})])
def test_what_is_pinned_above_the_limit_is_said(build, ends: bool, pins: dict[str, LayerFormat] | None) -> None:
    with pytest.raises(InfeasibleBudget, match="largest_bits <= 4 bit cannot be met: the smallest reachable largest_bits is 8 bit"):
        solve(problem(build, "largest_bits <= 4", ends, pins))


def test_allocate_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(make_bench.__kwdefaults__, "cost_models", ("largest_bits",))
    task = task_file(tmp_path)
    found = hwdse("allocate", task, "--budget", "largest_bits <= 4", "--json")
    assert found.code == 0, found.err
    answer = json.loads(found.out)
    assert answer["layers"] == {"0": "w8a8", "2": "w4a4", "4": "w4a4", "6": "w8a8"}
    assert answer["costs"] == {"largest_bits": 4}
    short = hwdse("allocate", task, "--budget", "largest_bits <= 1")
    assert short.code != 0
    assert "largest_bits <= 1 bit cannot be met: the smallest reachable largest_bits is 2 bit" in short.said


def test_a_sweep_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    task = task_file(tmp_path)
    (tmp_path / "sweep.toml").write_text(
        f'schema = "hwdse.sweep/1"\ntask = "{task}"\ncost_models = ["bitops", "largest_bits"]\nbudgets = ["largest_bits <= 4"]\n'
        'allocators = ["qbitopt"]\nbaselines = ["w8a8"]\ntrials = 2\nepochs = [0]\n'
    )
    ran = hwdse("sweep", "sweep.toml", "--no-report", "-o", "run")
    assert ran.code == 0, ran.err
    trials = json.loads((tmp_path / "run" / "record.json").read_text())["trials"]
    baseline, chosen = (trial["measures"]["largest_bits"] for trial in trials)
    assert baseline == 8
    assert 2 <= chosen <= 4
