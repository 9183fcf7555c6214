"""Names of modules, of whatever letters PyTorch takes, change nothing but names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hwdse.choices import Choices
from hwdse.costmodels import ActivationMemory, BitOps, WeightMemory
from hwdse.formats import grid
from hwdse.graph import LayerGraph
from hwdse.quantized import QuantizedModel
from hwdse.trace import trace

COUNT = 5
PLAIN = tuple(f"part{i}" for i in range(COUNT))
HOSTILE = ("Linear[0]", "x#2", "a/linear", "[red]$x_1$ &<b>", "weight")


class Net(nn.Module):
    """Layers called once and twice, a tied weight, a norm that folds, and an attention, under given names."""

    def __init__(self, names: tuple[str, ...], looks: bool) -> None:
        super().__init__()
        a, b, c, d, e = names
        self.names, self.looks, self.parts = names, looks, nn.ModuleDict()
        self.parts[a], self.parts[b] = nn.Linear(8, 8), nn.Linear(8, 8)
        self.parts[c], self.parts[d], self.parts[e] = nn.BatchNorm1d(8), nn.MultiheadAttention(8, 2), nn.Linear(8, 8)
        self.parts[e].weight = self.parts[a].weight

    def forward(self, x: Tensor) -> Tensor:
        a, b, c, d, e = (self.parts[name] for name in self.names)
        if self.looks and float(x.sum()) > 1e9:  # torch.export cannot follow this
            return x
        x = a(b(c(a(x)))).relu() + b(x)
        return e(d(x[:, None], x[:, None], x[:, None])[0][:, 0])


def facts(names: tuple[str, ...], looks: bool) -> Any:
    """Everything that is counted, without the names."""
    torch.manual_seed(0)
    model = Net(names, looks)
    graph = trace(model, (torch.zeros(2, 8),))
    assert graph.data_flow is not looks
    place = {layer.name: i for i, layer in enumerate(graph.layers)}
    layers = [replace(layer, name="", weight=None, module=None) for layer in graph.layers]
    choices, options = Choices.of(graph), grid([4, 8], [4, 8])
    ties = [[place[n] for n in tie] for tie in (*choices.weight_ties, *choices.activation_ties)]
    models = [WeightMemory(), BitOps(), *([] if looks else [ActivationMemory()])]
    tables = [model.tabulate(graph, options) for model in models]
    quantised = QuantizedModel(model, graph)
    known = dict(model.named_modules())
    assert all(layer.module in known for layer in graph.quantisable)
    assert len(quantised.weights) == 3
    return layers, ties, flow(graph), [(t.cells.tolist(), t.fixed.tolist(), t.row.tolist(), t.layer.tolist()) for t in tables]


def flow(graph: LayerGraph) -> Any:
    """Tensors and steps by number, and how much is stored beside the layers."""
    number = {name: i for i, name in enumerate(graph.tensors)}
    tensors = [(t.elements, t.integer, t.bits) for t in graph.tensors.values()]
    steps = [(s.op, [number[t] for t in s.reads], [number[t] for t in s.writes]) for s in graph.steps]
    return tensors, steps, [p.elements for p in graph.parameters], len(graph.left_out)


def taken(name: str) -> bool:
    """Whether PyTorch refuses the name."""
    return not name or "." in name or hasattr(nn.ModuleDict(), name)


letters = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("[]#/: $&<_0123"), min_size=1, max_size=8)
hostile = st.lists(letters.filter(lambda n: not taken(n)), min_size=COUNT, max_size=COUNT, unique=True)


@pytest.mark.parametrize("looks", [False, True], ids=["exported", "by hooks"])
def test_hostile_names_change_nothing(looks: bool) -> None:
    plain = facts(PLAIN, looks)

    @settings(max_examples=6, deadline=None)
    @given(hostile)
    @example(list(HOSTILE))
    def same(names: list[str]) -> None:
        assert facts(tuple(names), looks) == plain

    same()
