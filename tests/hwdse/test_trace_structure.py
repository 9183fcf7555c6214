"""Names, owners, tensors, steps, edges and ties of traced models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import models
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from hwdse.graph import LayerGraph, Step
from hwdse.trace import trace

WEIGHTS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "weights" / "resnet20-cifar10.pt"
IMAGE = (torch.zeros(1, 3, 32, 32),)
TOKENS = (torch.zeros(2, 8, dtype=torch.long),)


def step(graph: LayerGraph, name: str) -> Step:
    (found,) = (s for s in graph.steps if s.name == name)
    return found


def peak(graph: LayerGraph, in_place: tuple[str, ...]) -> int:
    """Elements of the largest live set; operations ``in_place`` write over what they read first."""
    storage = {name: name for name in graph.tensors}
    for s in graph.steps:
        if s.reads and (s.op in ("view", *in_place) or (s.layer and "depthwise" in in_place and graph[s.layer].depthwise)):
            storage.update((t, storage[s.reads[0]]) for t in s.writes)
    size = {root: max(graph.tensors[t].elements for t in storage if storage[t] == root) for root in set(storage.values())}
    first = dict.fromkeys((storage[t] for t in graph.inputs), 0)
    last = dict.fromkeys((storage[t] for t in graph.outputs), len(graph.steps))
    for i, s in enumerate(graph.steps):
        for t in (*s.reads, *s.writes):
            first.setdefault(storage[t], i)
            last[storage[t]] = max(i, last.get(storage[t], 0))
    return max(sum(size[r] for r in size if first[r] <= i <= last[r]) for i in range(len(graph.steps)))


def valid(graph: LayerGraph) -> None:
    """What holds for every graph with data flow."""
    known = set(graph.inputs)
    for s in graph.steps:
        assert set(s.reads) <= known, s
        known |= set(s.writes)
        assert s.reads or s.op == "other", s
    assert set(graph.outputs) <= known
    assert [s.layer for s in graph.steps if s.layer] == [layer.name for layer in graph.layers]
    for layer in graph.layers:
        assert layer.macs > 0 or layer.kind == "embedding"
        assert graph.tensors[step(graph, layer.name).reads[0]].elements > 0


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (models.ResNet20(), IMAGE),
        (models.MobileNetV2(), IMAGE),
        (models.ViT(), IMAGE),
        (models.GPT(), TOKENS),
        (models.Llama(50, 32, 4, 2, 48, 2), TOKENS),
        (models.UNet(), IMAGE),
        (models.Recurrent(num_layers=2, bidirectional=True, proj_size=4), TOKENS),
        (models.Detector(), IMAGE),
        (models.Encoder(), (torch.zeros(2, 7, 24),)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_every_step_reads_what_was_written_before(model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    graph = trace(model, inputs)
    valid(graph)
    assert trace(model, inputs).fingerprint == graph.fingerprint


def test_live_memory_of_traced_networks_is_as_published() -> None:
    image = (torch.zeros(1, 3, 224, 224),)
    fused = ("norm", "activation", "add")
    assert peak(trace(models.ResNet20(), IMAGE), fused) == 49_152
    assert peak(trace(models.resnet18(), image), fused) == 980 * 1024
    mobilenet = trace(models.MobileNetV2(), image)
    assert peak(mobilenet, fused) == 1_505_280
    assert peak(mobilenet, (*fused, "depthwise")) == 1372 * 1024


def test_convolutions_that_read_one_tensor_are_tied() -> None:
    graph = trace(models.resnet18(), (torch.zeros(1, 3, 64, 64),))
    assert graph.activation_ties == tuple((f"layer{i}.0.conv1", f"layer{i}.0.downsample.0") for i in (2, 3, 4))
    assert graph.weight_ties == ()


def test_residuals_are_edges() -> None:
    edges = trace(models.resnet18(), (torch.zeros(1, 3, 64, 64),)).edges
    assert {("conv1", "layer1.0.conv1"), ("conv1", "layer1.1.conv1"), ("layer1.0.conv2", "layer1.1.conv1")} <= set(edges)
    assert ("layer2.0.downsample.0", "layer2.1.conv1") in edges
    assert ("conv1", "layer1.0.conv2") not in edges


def test_concatenations_are_edges() -> None:
    graph = trace(models.UNet(), IMAGE)
    sources = {a for a, b in graph.edges if b == "dec1.0"}
    assert sources == {"down1.0", "up1"}
    assert sum(s.op == "concat" for s in graph.steps) == 2
    assert graph["up1"].transposed


def test_queries_keys_and_values_share_their_input() -> None:
    graph = trace(models.Llama(50, 32, 4, 2, 48, 1), TOKENS)
    ties = [tuple(name.rpartition(".")[2] for name in tie) for tie in graph.activation_ties]
    assert ties == [("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")]


def test_a_shared_module_is_several_layers_with_one_weight() -> None:
    graph = trace(models.Detector(), IMAGE)
    assert [layer.name for layer in graph.layers] == ["stem", "head.conv", "head.out", "head.conv#2", "head.out#2"]
    assert graph.weight_ties == (("head.conv", "head.conv#2"), ("head.out", "head.out#2"))
    assert graph["head.conv#2"].module == "head.conv"
    assert {("stem", "head.conv#2"), ("head.conv#2", "head.out#2")} <= set(graph.edges)
    assert ("head.conv", "head.conv#2") not in graph.edges
    assert len(graph.outputs) == 2


def test_tied_parameters_are_one_weight_under_its_first_name() -> None:
    model = models.GPT()
    graph = trace(model, TOKENS)
    assert graph["lm_head"].weight == graph["wte"].weight == "wte.weight"
    assert ("wte", "lm_head") in graph.weight_ties
    assert (graph["wte"].module, graph["lm_head"].module, graph["wte"].kind) == ("wte", "lm_head", "embedding")
    assert graph.params == sum(p.numel() for p in model.parameters() if p.ndim == 2)


def test_every_named_weight_is_a_parameter_of_its_shape() -> None:
    model = models.MobileNetV2()
    parameters = dict(model.named_parameters())
    for layer in trace(model, IMAGE).layers:
        assert layer.weight is not None
        assert layer.module is not None
        assert tuple(parameters[layer.weight].shape) == layer.weight_shape
        assert model.get_submodule(layer.module).weight is parameters[layer.weight]


def test_a_projection_that_is_not_called_cannot_be_quantised() -> None:
    graph = trace(models.Encoder(), (torch.zeros(2, 7, 24),))
    assert graph["cross.out_proj"].module is None
    assert graph["encoder.layers.0.self_attn/linear"].module is None
    assert graph["encoder.layers.0.linear1"].module == "encoder.layers.0.linear1"
    assert {layer.name for layer in graph.quantisable} == {f"encoder.layers.{i}.linear{j}" for i in (0, 1) for j in (1, 2)} | {"head"}


def test_parts_of_a_parameter_are_weights_of_their_own() -> None:
    graph = trace(models.Encoder(), (torch.zeros(2, 7, 24),))
    query, rest = graph["cross/linear"], graph["cross/linear#2"]
    assert query.weight == rest.weight == "cross.in_proj_weight"
    assert (query.part, rest.part) == ((0, 576), (576, 1728))
    assert query.params + rest.params == 3 * 24 * 24


def test_what_a_hook_sees_is_what_the_layer_reads() -> None:
    model = models.UNet().eval()
    graph = trace(model, IMAGE)
    seen: dict[str, tuple[int, ...]] = {}
    for layer in graph.quantisable:
        assert layer.module is not None
        model.get_submodule(layer.module).register_forward_pre_hook(
            lambda _, args, name=layer.name: seen.setdefault(name, tuple(args[0].shape)) and None
        )
    model(*IMAGE)
    assert seen == {layer.name: layer.input_shape for layer in graph.quantisable}


class Odd(nn.Module):
    """Layers whose weight or input a hook or a parametrization would not see as the layer does."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.bare = nn.Linear(6, 6), nn.Parameter(torch.zeros(6, 6))
        self.normal = parametrizations.weight_norm(nn.Linear(6, 6))
        self.conv = nn.Conv1d(6, 6, 3, padding=1, padding_mode="circular")
        self.scaled, self.two, self.own = Scaled(6, 6), Double(6, 6), Own()
        self.register_buffer("fixed", torch.eye(6))

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x, self.fc.weight, self.fc.bias)
        x = x @ self.bare.t().to(torch.float64).float() @ self.bare
        x = self.normal(x) @ self.fixed
        x = self.conv(x.transpose(1, 2)).transpose(1, 2)
        return self.own(self.two(self.scaled(x)))


class Own(nn.Module):
    """Not one of PyTorch's layers, but with a weight of the same name."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight)


class Double(nn.Linear):
    """A layer with a second weight."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.second = nn.Parameter(torch.zeros(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(super().forward(x), self.second)


class Scaled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x / 2, self.weight)


def test_names_and_modules_of_layers_without_an_ordinary_owner() -> None:
    graph = trace(Odd(), (torch.zeros(2, 5, 6),))
    assert [(layer.name, layer.weight, layer.module) for layer in graph.layers] == [
        ("fc", "fc.weight", None),
        ("matmul", "bare", None),
        ("matmul#2", "bare", None),
        ("normal", "normal.parametrizations.weight.original1", "normal"),
        ("matmul#3", "fixed", None),
        ("conv", "conv.weight", "conv"),
        ("scaled", "scaled.weight", None),
        ("two", "two.weight", "two"),
        ("two/linear", "two.second", None),
        ("own", "own.weight", None),
    ]
    assert graph["fc"].extra_params == 6
    assert graph["scaled"].extra_params == 0
    assert graph["conv"].padding == (0,)
    assert graph["conv"].input_shape == (2, 6, 7)


def test_a_model_with_quantisers_on_it_is_traced_as_without() -> None:
    class Round(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.round(x * 7) / 7

    model = models.MobileNetV2()
    plain = trace(model, IMAGE)
    for layer in plain.quantisable:
        assert layer.module is not None
        module = model.get_submodule(layer.module)
        nn.utils.parametrize.register_parametrization(module, "weight", Round())
        module.register_forward_pre_hook(lambda _, args: (torch.round(args[0] * 7) / 7,))
    quantised = trace(model, IMAGE)
    assert [(x.name, x.module, x.macs, x.weight_shape) for x in quantised.layers] == [
        (x.name, x.module, x.macs, x.weight_shape) for x in plain.layers
    ]
    assert quantised.edges == plain.edges


def test_a_bare_module_is_a_model() -> None:
    (layer,) = trace(nn.Linear(3, 4), (torch.zeros(2, 3),)).layers
    assert (layer.name, layer.weight, layer.module, layer.macs) == ("linear", "weight", "", 24)


CATEGORIES: dict[str, tuple[Any, str]] = {
    "batch_norm": (nn.BatchNorm1d(4), "norm"),
    "layer_norm": (nn.LayerNorm(6), "norm"),
    "group_norm": (nn.GroupNorm(2, 4), "norm"),
    "relu": (F.relu, "activation"),
    "relu_": (nn.ReLU(inplace=True), "activation"),
    "gelu": (F.gelu, "activation"),
    "hardswish": (F.hardswish, "activation"),
    "silu": (F.silu, "activation"),
    "softmax": (lambda x: x.softmax(-1), "activation"),
    "add": (lambda x: x + x.abs(), "add"),
    "sub": (lambda x: x - x.abs(), "add"),
    "cat": (lambda x: torch.cat([x, x.abs()]), "concat"),
    "stack": (lambda x: torch.stack([x, x.abs()]), "concat"),
    "max_pool1d": (lambda x: F.max_pool1d(x, 2), "pool"),
    "adaptive_avg_pool1d": (lambda x: F.adaptive_avg_pool1d(x, 1), "pool"),
    "mean": (lambda x: x.mean(1), "pool"),
    "reshape": (lambda x: x.reshape(8, -1), "view"),
    "view": (lambda x: x.view(8, -1), "view"),
    "flatten": (lambda x: x.flatten(), "view"),
    "permute": (lambda x: x.permute(2, 0, 1), "view"),
    "transpose": (lambda x: x.transpose(0, 1), "view"),
    "unsqueeze": (lambda x: x[:, None], "view"),
    "squeeze": (lambda x: x.squeeze(), "view"),
    "expand": (lambda x: x.expand(3, 2, 4, 6), "view"),
    "slice": (lambda x: x[:, 1:3], "view"),
    "select": (lambda x: x[0], "view"),
    "getitem": (lambda x: x.chunk(2, 1)[0], "view"),
    "dropout": (nn.Dropout(0.5), "view"),
    "dropout_": (nn.Dropout(0.5, inplace=True), "view"),
    "to": (lambda x: x.to(torch.float32), "view"),
    "mul": (lambda x: x * x.abs(), "other"),
    "pad": (lambda x: F.pad(x, (1, 1)), "other"),
}


@pytest.mark.parametrize("name", CATEGORIES)
def test_operations_fall_into_their_category(name: str) -> None:
    function, expected = CATEGORIES[name]

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(6, 6), nn.Identity()
            self.module = function if isinstance(function, nn.Module) else None

        def forward(self, x: Tensor) -> Tensor:
            x = self.second(self.first(x))
            return self.module(x) if self.module is not None else function(x)

    graph = trace(Model(), (torch.zeros(2, 4, 6),))
    assert graph.left_out == ()
    last = graph.steps[-1]
    assert (graph.outputs, last.op) == (last.writes, expected)
    assert last.name.rpartition("/")[2].startswith(name)
    if expected == "view":
        assert graph._storage[graph.outputs[0]] == "first"


def test_a_copy_that_reshapes_is_no_view() -> None:
    graph = trace(nn.Sequential(nn.Linear(6, 6), nn.Flatten(0, 1)), (torch.zeros(2, 4, 6),))
    assert graph.steps[-1].op == "view"

    class Copy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.transpose(0, 1).reshape(-1)

    assert [s.op for s in trace(Copy(), (torch.zeros(2, 4),)).steps] == ["view", "other"]


def test_ties_reach_through_views_and_identities() -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
            self.drop = nn.Dropout()

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x.flatten(0, 1)) + self.b(self.drop(x).view(-1, 6)) + self.c(x.relu().view(-1, 6))

    assert trace(Views(), (torch.zeros(2, 4, 6),)).activation_ties == (("a", "b"),)


class InPlace(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.how = how
        self.register_buffer("cache", torch.zeros(2, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        if self.how == "whole":  # b and c read what relu wrote
            F.relu_(x)
        elif self.how == "sum":
            x += self.b(x)
        elif self.how == "alias":
            flat = x.view(-1)
            flat.add_(self.b(x).view(-1))
        elif self.how == "part":
            x[:, 0] = self.b(x)[:, 0]
        elif self.how == "buffer":
            self.cache[:] = self.b(x)
            x = self.cache
        return self.c(x) + self.b(x)


@pytest.mark.parametrize(
    ("how", "edges", "ties"),
    [
        ("whole", {("a", "c"), ("a", "b")}, {("c", "b")}),
        ("sum", {("a", "b"), ("a", "c"), ("b", "c"), ("a", "b#2"), ("b", "b#2")}, {("c", "b#2")}),
        ("alias", {("a", "b"), ("a", "c"), ("b", "c"), ("a", "b#2"), ("b", "b#2")}, {("c", "b#2")}),
        ("part", {("a", "b"), ("a", "c"), ("b", "c"), ("a", "b#2"), ("b", "b#2")}, {("b", "c", "b#2")}),
        ("buffer", {("a", "b"), ("b", "c"), ("b", "b#2")}, {("c", "b#2")}),
    ],
)
def test_writing_in_place_reaches_every_later_reader(how: str, edges: set[Any], ties: set[Any]) -> None:
    graph = trace(InPlace(how), (torch.zeros(2, 4),))
    valid(graph)
    assert set(graph.edges) == edges
    assert set(graph.activation_ties) == ties


def test_what_was_written_in_place_is_what_is_read_later() -> None:
    graph = trace(InPlace("whole"), (torch.zeros(2, 4),))
    assert [s.reads for s in graph.steps if s.layer in ("b", "c")] == [("relu_",), ("relu_",)]
    assert step(graph, "relu_").reads == ("a",)


def test_indices_and_masks_are_integer_tensors() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(9, 4)

        def forward(self, i: Tensor, x: Tensor) -> Tensor:
            return torch.where(x > 0, self.embed(i), x)

    graph = trace(Masked(), (torch.zeros(2, dtype=torch.long), torch.zeros(2, 4)))
    assert {name for name, tensor in graph.tensors.items() if tensor.integer} == {"i", "gt"}
    assert graph.inputs == ("i", "x")
    assert graph.tensors["embed"].elements == 8


def test_regions_that_are_only_wrapped_are_read_through() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                y = self.b(self.a(x))
            with torch.enable_grad():
                z = self.b(y.float())
            return torch.utils.checkpoint.checkpoint(self.c, z, use_reentrant=False) + y

    graph = trace(Wrapped(), (torch.zeros(2, 4),))
    valid(graph)
    assert graph.data_flow
    assert graph.left_out == ()
    assert graph.edges == (("a", "b"), ("b", "b#2"), ("b#2", "c"))
    assert [layer.module for layer in graph.layers] == ["a", "b", "b", "c"]


def test_a_module_that_is_found_twice_goes_by_its_first_path() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)
            self.again = self.a

        def forward(self, x: Tensor) -> Tensor:
            return self.again(self.a(x))

    graph = trace(Twice(), (torch.zeros(2, 4),))
    assert [(layer.name, layer.module, layer.weight) for layer in graph.layers] == [
        ("a", "a", "a.weight"),
        ("a#2", "a", "a.weight"),
    ]


def test_published_weights_fit_the_resnet20_of_the_tests() -> None:
    if not WEIGHTS.exists():
        pytest.skip("the published ResNet-20 weights are not part of the repository")
    state = torch.load(WEIGHTS, weights_only=True)
    model = models.ResNet20()
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    names = {f"{layer.weight}" for layer in trace(model, IMAGE).layers}
    assert names == {name for name, value in state.items() if value.ndim > 1}
