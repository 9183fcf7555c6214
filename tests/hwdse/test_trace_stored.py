"""What the deployed network stores, against PyTorch's own folding of batch norms and against sums over parameters."""

from __future__ import annotations

from typing import Any

import models
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from hwdse.costmodels import BitOps, WeightMemory
from hwdse.formats import LayerFormat
from hwdse.graph import LayerGraph, Parameter
from hwdse.trace import trace

IMAGE = (torch.zeros(1, 3, 32, 32),)
W4, W8 = LayerFormat.of(4, 8), LayerFormat.of(8, 8)


def stored(graph: LayerGraph, widths: LayerFormat = W8) -> float:
    """Bytes of the deployed network, without scales."""
    table = WeightMemory(scale_bits=0).tabulate(graph, [widths])
    return table.total(dict.fromkeys(table.layers, widths))


@pytest.mark.parametrize("make", [models.MobileNetV2, models.ResNet20, models.resnet18, models.UNet], ids=lambda m: m.__name__)
def test_bytes_are_those_of_the_network_with_its_norms_folded(make: Any) -> None:
    graph = trace(make(), IMAGE)
    folded = fuse(make().eval())
    parameters = dict(folded.named_parameters())
    weights = sum(p.numel() for p in parameters.values() if p.ndim > 1)
    assert graph.params == weights
    assert graph.parameters == ()
    assert stored(graph) == weights + 4 * (sum(p.numel() for p in parameters.values()) - weights)


def test_mobilenet_has_a_bias_for_each_of_its_17_056_channels() -> None:
    graph = trace(models.MobileNetV2(), (torch.zeros(1, 3, 224, 224),))
    weights = sum(p.numel() for p in models.MobileNetV2().parameters() if p.ndim > 1)
    channels = sum(m.num_features for m in models.MobileNetV2().modules() if isinstance(m, nn.BatchNorm2d))
    assert channels == 17_056
    assert stored(graph, W4) == weights / 2 + 4 * (channels + 1000)
    bare = WeightMemory(scale_bits=0, bias_bits=0).tabulate(graph, [W4])  # as published tables of sizes count
    assert bare.total(dict.fromkeys(bare.layers, W4)) == weights / 2


class Net(nn.Module):
    """Modules and a forward pass of their own."""

    def __init__(self, forward: Any, **parts: Any) -> None:
        super().__init__()
        self.way = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self, x)


def conv(bias: bool = False, inputs: int = 4) -> nn.Conv2d:
    return nn.Conv2d(inputs, 4, 3, padding=1, bias=bias)


def norm(**more: Any) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(4, **more)


# name: (network, biases of its layers, other parameters)
FOLDS: dict[str, tuple[Net, list[int], int]] = {
    "a norm after a layer": (Net(lambda m, x: m.b(m.a(x)), a=conv(), b=norm()), [4], 0),
    "one without parameters": (Net(lambda m, x: m.b(m.a(x)), a=conv(), b=norm(affine=False)), [4], 0),
    "a layer with a bias": (Net(lambda m, x: m.b(m.a(x)), a=conv(True), b=norm()), [4], 0),
    "through dropout": (Net(lambda m, x: m.b(m.d(m.a(x))), a=conv(), d=nn.Dropout(), b=norm()), [4], 0),
    "both called twice": (Net(lambda m, x: m.b(m.a(m.b(m.a(x)))), a=conv(), b=norm()), [4, 0], 0),
    "one norm behind two layers": (Net(lambda m, x: m.b(m.a(x)) + m.b(m.c(x)), a=conv(), c=conv(), b=norm()), [4, 4], 0),
    "transposed": (Net(lambda m, x: m.b(m.a(x)), a=nn.ConvTranspose2d(4, 4, 2), b=norm()), [4], 0),
    "before the layer": (Net(lambda m, x: m.a(m.b(x)), a=conv(), b=norm()), [0], 8),
    "without parameters, before": (Net(lambda m, x: m.a(m.b(x)), a=conv(), b=norm(affine=False)), [0], 8),
    "behind an activation": (Net(lambda m, x: m.b(F.relu(m.a(x))), a=conv(), b=norm()), [0], 8),
    "of the batch's statistics": (Net(lambda m, x: m.b(m.a(x)), a=conv(), b=norm(track_running_stats=False)), [0], 8),
    "what else is read": (Net(lambda m, x: (y := m.a(x)) + m.b(y), a=conv(), b=norm()), [0], 8),
    "two norms of one layer": (Net(lambda m, x: m.b(m.a(x)) + m.c(m.a(x)), a=conv(True), b=norm(), c=norm()), [4, 0], 16),
    "a norm used elsewhere": (Net(lambda m, x: m.b(m.a(m.b(x))), a=conv(), b=norm()), [4], 8),
    "another dimension": (Net(lambda m, x: m.b(m.a(x)), a=nn.Linear(8, 8), b=nn.BatchNorm1d(4)), [8], 8),
    "group norm": (Net(lambda m, x: m.b(m.a(x)), a=conv(), b=nn.GroupNorm(2, 4)), [0], 8),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDS)
def test_norms_fold_where_one_layer_alone_is_followed_by_one(name: str) -> None:
    model, biases, others = FOLDS[name]
    graph = trace(model, (torch.zeros(2, 4, 8) if name == "another dimension" else torch.zeros(1, 4, 8, 8),))
    assert [layer.extra_params for layer in graph.layers] == biases
    assert sum(p.elements for p in graph.parameters) == others
    assert graph.left_out == ()
    assert stored(graph) == graph.params + 4 * (sum(biases) + others)


def test_every_parameter_is_stored_once_and_listed_whatever_its_rank() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.b, self.norm = nn.Parameter(torch.zeros(16, 8)), nn.Parameter(torch.zeros(8)), nn.LayerNorm(8)
            self.act, self.scale, self.fc = nn.PReLU(8), nn.Parameter(torch.ones(8)), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(x @ self.w + self.b)
            return self.fc(x + self.scale * self.act(x))

    graph = trace(Small(), (torch.zeros(1, 16),))
    assert {p.name: p.elements for p in graph.parameters} == dict.fromkeys(("b", "norm.weight", "norm.bias", "act.weight", "scale"), 8)
    table = WeightMemory(scale_bits=0).tabulate(graph, [W8])
    assert stored(graph) == 4 * 128 + 24 + 4 * (3 + 40)
    assert "parameters that no counted layer uses are stored at 32 bits: b (8), scale (8)" in " ".join(table.notes)


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (models.ViT(), IMAGE),
        (models.GPT(), (torch.zeros(2, 8, dtype=torch.long),)),
        (models.Encoder(), (torch.zeros(2, 7, 24),)),
        (models.Recurrent(num_layers=2, bidirectional=True, proj_size=4), (torch.zeros(2, 8, dtype=torch.long),)),
        (models.ValueDependent(), (torch.ones(3, 2, 6),)),
        (models.Experts(), (torch.zeros(3, 6),)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_without_norms_to_fold_all_parameters_add_up(model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    graph = trace(model, inputs)
    total = graph.params + sum(layer.extra_params for layer in graph.layers) + sum(p.elements for p in graph.parameters)
    assert total == sum(p.numel() for p in model.parameters())


def test_an_attention_called_twice_has_one_bias() -> None:
    model = Net(lambda m, x: m.a(m.a(x, x, x)[0], x, x)[0], a=nn.MultiheadAttention(8, 2))
    graph = trace(model, (torch.zeros(3, 2, 8),))
    assert graph.params + sum(layer.extra_params for layer in graph.layers) == sum(p.numel() for p in model.parameters())


class Low(nn.Linear):
    """A low-rank addition to the weight, in the forward pass."""

    def __init__(self, size: int, rank: int) -> None:
        super().__init__(size, size)
        self.down, self.up = nn.Parameter(torch.randn(rank, size)), nn.Parameter(torch.randn(size, rank))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight + self.up @ self.down, self.bias)


class Standardised(nn.Conv2d):
    """A standardised weight."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, (self.weight - self.weight.mean()) / self.weight.std(), self.bias)


def test_weights_computed_in_the_forward_pass_are_in_floating_point() -> None:
    model = nn.Sequential(nn.Linear(8, 16), Low(16, 2), nn.Linear(16, 3))
    graph = trace(model, (torch.zeros(1, 8),))
    assert [(layer.name, layer.module, layer.computed) for layer in graph.layers] == [
        ("0", "0", False),
        ("1", None, True),
        ("2", "2", False),
    ]
    assert graph.parameters == (Parameter("1.down", 32), Parameter("1.up", 32))
    assert [item.name for item in graph.left_out] == ["1.down", "1.up"]
    assert "from which a layer's weight is computed in the forward pass" in graph.left_out[0].reason
    assert stored(graph) == 128 + 48 + 4 * (256 + 64 + 16 + 16 + 3)
    table = BitOps().tabulate(graph, [W8])
    assert table.total(dict.fromkeys(table.layers, W8)) == 64 * (128 + 48) + 1024 * 256
    (layer,) = trace(nn.Sequential(Standardised(4, 4, 3)), (torch.zeros(1, 4, 8, 8),)).layers
    assert (layer.module, layer.computed, layer.weight) == (None, True, "0.weight")


def test_a_weight_generated_from_others_stores_those() -> None:
    class Generated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.code, self.maker = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2, 100))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, (self.code @ self.maker)[:64].view(8, 8))

    graph = trace(nn.Sequential(nn.Linear(8, 8), Generated()), (torch.zeros(1, 8),))
    assert (graph["1/linear"].weight, graph["1/linear"].computed, graph["1/linear"].macs) == (None, True, 64)
    assert {p.name: p.elements for p in graph.parameters} == {"1.code": 2, "1.maker": 200}


COMPUTED = {
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(6, 6)),
    "weight norm, by hook": lambda: weight_norm(nn.Linear(6, 6)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Linear(6, 6)),
    "spectral norm, by hook": lambda: spectral_norm(nn.Linear(6, 6)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(6, 6)),
    "pruned": lambda: prune.l1_unstructured(nn.Linear(6, 6), "weight", 0.5),
}


@pytest.mark.parametrize("name", COMPUTED)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
def test_weights_computed_before_the_forward_pass_are_stored_as_computed(name: str) -> None:
    model = nn.Sequential(nn.Linear(6, 6), COMPUTED[name]())
    graph = trace(model, (torch.zeros(1, 6),))
    assert [(layer.name, layer.module, layer.params, layer.extra_params) for layer in graph.layers] == [
        ("0", "0", 36, 6),
        ("1", "1", 36, 6),
    ]
    assert (graph.parameters, graph.left_out) == ((), ())


def test_complex_numbers_are_two_and_their_products_four() -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.c, self.fc = nn.Linear(16, 16), nn.Linear(16, 8, dtype=torch.complex64), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.c(self.a(x).to(torch.complex64)).abs())

    graph = trace(Dense(), (torch.zeros(1, 16),))
    assert [layer.macs for layer in graph.layers] == [256, 4 * 128, 24]
    assert [(layer.params, layer.module) for layer in graph.layers] == [(256, "a"), (256, None), (24, "fc")]
    assert graph["c"].extra_params == 16
    assert stored(graph) == 256 + 24 + 4 * (256 + 16 + 16 + 3)
    assert graph.tensors["c"].elements == 16
