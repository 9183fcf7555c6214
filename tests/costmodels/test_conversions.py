"""Conversions between layers of different width: which edges there are, what they cost, and what allocations make of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwdse.allocators import make_allocator
from hwdse.constraints import Budget, Constraint
from hwdse.costmodels import check_accelerator, load_accelerator
from hwdse.costmodels.conversions import Conversion, Crossing, crossings
from hwdse.costs import CostTable
from hwdse.errors import FileFormatError
from hwdse.formats import Allocation, LayerFormat, grid
from hwdse.graph import LayerGraph, Step, Tensor
from hwdse.metrics import LOSS
from hwdse.problem import Problem
from hwdse.quantizers import Scheme
from hwdse.solvers import solve
from hwdse.task import recipes_of
from hwdse.tasks import load_task
from hwdse.testing import small_graph
from hwdse.trace import trace
from hwdse.training import train_quantized
from hwdse.workbench import Workbench

Write = Callable[..., Path]
OPTIONS = grid([2, 4, 8], [4, 8])
ROOFLINE = """
[compute]
model = "roofline"
memory = "dram"
[compute.macs_per_s]
w4a4 = 4e9
w4a8 = 2e9
w8a4 = 2e9
w8a8 = 1e9
[[memory]]
name = "dram"
bytes_per_s = 1e9
"""
CONVERSION = """
[conversion]
s = 1e-6
elements_per_s = 1e9
"""


def latency(path: Path, graph: LayerGraph) -> CostTable:
    return load_accelerator(path).cost_models()[0].tabulate(graph, OPTIONS)


class TestCrossings:
    def test_readers_share_and_a_sum_is_made_by_its_last_layer(self) -> None:
        assert crossings(small_graph()) == (
            Crossing("stem", "body", 512, 0.5),
            Crossing("stem", "skip", 512, 0.5),
            Crossing("body", "skip", 512),
            Crossing("skip", "head", 16),  # what is read after pooling is smaller than what was written
        )

    def graph(
        self, build: Any, steps: list[tuple[str, str, tuple[str, ...], tuple[str, ...]]], names: str, sizes: dict[str, int]
    ) -> LayerGraph:
        layers = tuple(build.attention(n, 4, 4) if n == "m" else build.conv(n, 4, 4, 4) for n in names)
        made = tuple(Step(name, op, reads, writes, name if op == "layer" else None) for name, op, reads, writes in steps)  # type: ignore[arg-type]
        return LayerGraph(layers, {n: Tensor(n, k) for n, k in sizes.items()}, made, ("x",), (steps[-1][3][0],))

    def test_a_shortcut_is_at_the_width_of_the_layer_that_reads_it(self, build: Any) -> None:
        graph = self.graph(
            build, [("a", "layer", ("x",), ("t",)), ("r", "activation", ("t",), ("u",)), ("b", "layer", ("u",), ("v",)),
             ("+", "add", ("v", "u"), ("w",)), ("c", "layer", ("w",), ("y",))],
            "abc", dict.fromkeys("xtuvwy", 8),
        )  # fmt: skip
        assert crossings(graph) == (Crossing("a", "b", 8), Crossing("b", "c", 8))
        longer = self.graph(
            build, [("a", "layer", ("x",), ("t",)), ("b", "layer", ("t",), ("u",)), ("c", "layer", ("u",), ("v",)),
             ("+", "add", ("v", "t"), ("w",)), ("d", "layer", ("w",), ("y",))],
            "abcd", dict.fromkeys("xtuvwy", 8),
        )  # fmt: skip
        assert crossings(longer) == (Crossing("a", "b", 8), Crossing("b", "c", 8), Crossing("b", "c", 8), Crossing("c", "d", 8))

    def test_parts_of_a_concatenation_keep_their_widths(self, build: Any) -> None:
        graph = self.graph(
            build, [("a", "layer", ("x",), ("t",)), ("b", "layer", ("x",), ("u",)), ("|", "concat", ("t", "u"), ("v",)),
             ("flat", "view", ("v",), ("w",)), ("c", "layer", ("w",), ("y",))],
            "abc", {"x": 4, "t": 8, "u": 24, "v": 32, "w": 32, "y": 4},
        )  # fmt: skip
        assert crossings(graph) == (Crossing("a", "c", 8), Crossing("b", "c", 24))

    def test_layers_that_read_a_part_each_have_their_own(self, build: Any) -> None:
        graph = self.graph(
            build, [("a", "layer", ("x",), ("t",)), ("split", "view", ("t",), ("u", "v")), ("b", "layer", ("u",), ("y",)),
             ("c", "layer", ("v",), ("z",))],
            "abc", {"x": 4, "t": 8, "u": 4, "v": 4, "y": 4, "z": 4},
        )  # fmt: skip
        assert crossings(graph) == (Crossing("a", "b", 4), Crossing("a", "c", 4))

    @pytest.mark.parametrize("seed", range(40))
    def test_any_graph_gives_few_crossings_of_some_size(self, build: Any, seed: int) -> None:
        graph = build.random(seed)
        for one in crossings(graph):
            assert one.writer != one.reader
            assert 0 < one.share <= 1
            assert one.elements > 0
        assert len(crossings(graph)) <= 3 * len(graph.steps)

    def test_a_residual_stream_takes_edges_in_proportion_to_its_depth(self) -> None:
        task = load_task("digits_vit")
        graph = trace(task.model(), task.example_inputs())
        assert len(graph.layers) == 23
        assert len(crossings(graph)) == 34


class TestCosts:
    def test_the_cost_of_every_allocation_by_hand(self, write: Write) -> None:
        graph = small_graph()
        plain, table = latency(write(ROOFLINE), graph), latency(write(ROOFLINE + CONVERSION), graph)
        chosen = np.random.default_rng(0).integers(0, len(OPTIONS), (200, 4))
        for one, before, after in zip(chosen, plain.totals(chosen), table.totals(chosen), strict=True):
            width = dict(zip(table.layers, (8 if OPTIONS[j].activation.bits > 4 else 4 for j in one), strict=True))
            extra = sum(
                share * (1e-6 + elements * 1e-9)
                for a, b, elements, share in (
                    ("stem", "body", 512, 0.5),
                    ("stem", "skip", 512, 0.5),
                    ("body", "skip", 512, 1),
                    ("skip", "head", 16, 1),
                )
                if width[a] != width[b]
            )
            assert after - before == pytest.approx(extra, abs=1e-15)
        note = [n for n in table.notes if n not in plain.notes]
        assert note == [
            "converting a tensor for a layer that runs at another activation width costs 1e-06 s each and 1e-09 s an element; "
            "4 edges of layers."
        ]

    def test_executed_widths_count_not_chosen_ones(self, write: Write) -> None:
        base = write(ROOFLINE + CONVERSION)
        text = (
            base.read_text()
            .replace("activations = [4, 8]", 'activations = [4, 8]\npairs = "equal"')
            .replace("w4a8 = 2e9\nw8a4 = 2e9\n", "")
        )
        base.write_text(text)
        table = latency(base, small_graph())
        assert table.edges is not None
        at = {str(o): j for j, o in enumerate(OPTIONS)}
        assert table.edges.cells[0, at["w4a4"], at["w2a4"]] == 0  # both run as w4a4
        assert table.edges.cells[0, at["w8a4"], at["w4a8"]] == 0  # both as w8a8
        assert table.edges.cells[0, at["w8a4"], at["w4a4"]] == pytest.approx(0.5 * (1e-6 + 512e-9))

    def test_calibration_scales_them(self, write: Write) -> None:
        plain = latency(write(ROOFLINE + CONVERSION), small_graph())
        scaled = latency(write(ROOFLINE + CONVERSION + "[calibration]\noffset_s = 1.0\nscale = 3.0\n"), small_graph())
        assert plain.edges is not None
        assert scaled.edges is not None
        np.testing.assert_allclose(scaled.edges.cells, 3 * plain.edges.cells)

    def test_energy_of_conversions(self, write: Write) -> None:
        energy = '[energy]\nmodel = "power"\nwatts = 2.0\n'
        models = load_accelerator(write(ROOFLINE + CONVERSION + "pj_per_element = 5.0\n" + energy)).cost_models()
        time, joules = (model.tabulate(small_graph(), OPTIONS) for model in models[:2])
        assert joules.metric.name == "energy"
        assert time.edges is not None
        assert joules.edges is not None
        extra = np.array([512, 512, 512, 16]) * np.array([0.5, 0.5, 1, 1]) * 5e-12
        np.testing.assert_allclose(joules.edges.cells, 2 * time.edges.cells + extra[:, None, None] * (time.edges.cells > 0))

    def test_a_layer_without_widths_of_its_own_is_at_the_other_one(self, build: Any) -> None:
        layers = (build.conv("a", 4, 4, 4), build.attention("m", 4, 4), build.conv("b", 4, 4, 4))
        steps = (Step("a", "layer", ("x",), ("t",), "a"), Step("m", "layer", ("t",), ("u",), "m"), Step("b", "layer", ("u",), ("y",), "b"))
        graph = LayerGraph(layers, {n: Tensor(n, 10) for n in "xtuy"}, steps, ("x",), ("y",))
        precision = load_accelerator("t4").precision  # runs equal widths only, the other one is w8a8
        table = CostTable.one_row(replace(LOSS, name="latency"), ("a", "b"), OPTIONS, np.zeros((2, len(OPTIONS))))
        found = Conversion(1.0, 0.1, precision).added(table, graph)
        assert found.edges is None
        want = [0.0 if precision.executed(o) == LayerFormat.of(8, 8) else 2.0 for o in OPTIONS]
        assert found.cells.tolist() == [want, want]

    def test_unknown_data_flow_is_said(self, build: Any, write: Write) -> None:
        table = latency(write(ROOFLINE + CONVERSION), build.loose(build.conv("a", 4, 4), build.conv("b", 4, 4)))
        assert table.edges is None
        assert any("conversions between layers of different widths are not counted" in note for note in table.notes)

    def test_a_pipelined_device_has_them_in_the_readers_row(self) -> None:
        graph = small_graph()
        names = tuple(layer.name for layer in graph.quantisable)
        rows = np.arange(4)
        table = replace(CostTable.one_row(replace(LOSS, name="interval"), names, OPTIONS, np.ones((4, 6))), row=rows, fixed=np.zeros(4))
        found = Conversion(1.0, 0.0, load_accelerator("mpic").precision).added(table, graph)
        assert found.edges is not None
        assert found.edges.row.tolist() == [1, 2, 2, 3]

    @pytest.mark.parametrize(
        ("extra", "message"),
        [
            ("[conversion]\n", "'conversion' says nothing: give s, elements_per_s or pj_per_element"),
            ("[conversion]\nelements_per_s = 0.0\n", "elements converted a second"),
            ("[conversion]\ns = -1.0\n", "seconds of each conversion"),
            ("[conversion]\npj_per_element = 1.0\n", "the file gives no energy"),
            ("[conversion]\nbytes_per_s = 1.0\n", "is not known"),
        ],
    )
    def test_mistakes_in_the_file(self, write: Write, extra: str, message: str) -> None:
        path = write(ROOFLINE + extra)
        with pytest.raises(FileFormatError, match=message.replace("'conversion' says", "'conversion'.*says")):
            load_accelerator(path)
        assert any(line.startswith("problem:") for line in check_accelerator(path))


DEAR = "[conversion]\ns = 1e-5\nelements_per_s = 1e8\n"  # a tensor of 1,280 elements takes 23 us, about what a layer takes at 4 bits


def problem_on(bench: Workbench, path: Path, part: float, scheme: Scheme | None = None) -> Problem:
    """The digits network with its own sensitivities, under a share of the latency at w8a8, in the formats that the quantisers make."""
    model, choices = load_accelerator(path).cost_models()[0], bench.choices_for(scheme)
    plain, table = (model.tabulate(bench.graph, c.options).aligned(c) for c in (bench.choices, choices))
    limit = Constraint(table.metric, part * plain.total(bench.choices.uniform(LayerFormat.of(8, 8))))
    return Problem(choices, bench.loss(scheme or Scheme()), (table,), Budget((limit,)))


def test_digits_change_width_less_often_where_conversions_cost(bench: Workbench, write: Write) -> None:
    blind, aware = (solve(problem_on(bench, write(ROOFLINE + extra), 0.6)) for extra in ("", DEAR))
    assert blind.status == aware.status == "OPTIMAL"
    assert changes(aware.allocation) < changes(blind.allocation)
    problem = problem_on(bench, write(ROOFLINE + DEAR), 0.6)
    assert problem.broken(blind.allocation)  # what looked like meeting the budget does not
    assert not problem.broken(aware.allocation)


@pytest.mark.parametrize("name", ["qbitopt", "adaqat", "uniform", pytest.param("adq", marks=pytest.mark.slow)])
def test_allocators_count_conversions_in_the_budget(bench: Workbench, write: Write, name: str) -> None:
    allocator = make_allocator(name)
    problem = problem_on(bench, write("codebooks = true\n" + ROOFLINE + DEAR), 0.7, allocator.scheme)
    recipe = replace(recipes_of(bench.task).finetune, epochs=1)
    trained = train_quantized(bench.quantized(allocator.scheme), bench.task, problem, allocator, recipe, seed=0)
    assert not problem.broken(trained.solution.allocation)
    assert trained.solution.costs == pytest.approx(problem.cost_of(trained.solution.allocation))


def changes(allocation: Allocation) -> int:
    return sum(a.activation != b.activation for a, b in pairwise(allocation.values()))
