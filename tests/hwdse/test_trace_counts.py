"""MACs against published numbers, closed forms, and PyTorch's own counter."""

from __future__ import annotations

import warnings
from math import prod
from typing import Any

import models
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hwdse.graph import LayerGraph
from hwdse.trace import trace

IMAGE = (torch.zeros(1, 3, 224, 224),)
TOKENS = (torch.zeros(2, 8, dtype=torch.long),)


def second_count(model: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """MACs by ``FlopCounterMode`` (two per MAC), with kernels that it can see into."""
    model.requires_grad_(False)  # the counter's own hooks trip over parameters that modules are called with
    counter = FlopCounterMode(display=False)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
            warnings.simplefilter("ignore")
            with torch.backends.mkldnn.flags(enabled=False), counter:
                model.eval()(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    assert counter.get_total_flops() % 2 == 0
    return counter.get_total_flops() // 2


def body(graph: LayerGraph) -> int:
    return graph.macs - graph["conv1"].macs - graph["fc"].macs


def test_resnet18_has_its_published_macs() -> None:
    graph = trace(models.resnet18(), IMAGE)
    assert (graph.macs, graph["conv1"].macs, graph["fc"].macs) == (1_814_073_344, 118_013_952, 512_000)
    assert graph.left_out == ()


@pytest.mark.parametrize(("v1", "macs"), [(True, 3_737_911_296), (False, 3_969_122_304)])
def test_resnet50_versions_differ_in_where_the_stride_is(v1: bool, macs: int) -> None:
    assert body(trace(models.resnet50(v1), IMAGE)) == macs


def test_mobilenet_v2_has_its_published_macs() -> None:
    graph = trace(models.MobileNetV2(), IMAGE)
    assert graph.macs == 300_774_272
    assert sum(layer.depthwise for layer in graph.layers) == 17


def test_resnet20_has_its_published_macs() -> None:
    graph = trace(models.ResNet20(), (torch.zeros(1, 3, 32, 32),))
    assert graph.macs == 40_551_040
    assert len(graph.layers) == 20


@pytest.mark.parametrize("fused", [True, False])
def test_an_attention_block_counts_the_same_fused_and_spelled_out(fused: bool) -> None:
    graph = trace(models.Attention(192, 3, fused), (torch.zeros(1, 197, 192),))
    assert graph.macs == 43_951_488
    products = sum(layer.macs for layer in graph.layers if layer.kind in ("attention", "matmul"))
    assert products == 2 * 197 * 197 * 192


ARCHITECTURES: dict[str, tuple[Any, tuple[Tensor, ...]]] = {
    "resnet18": (models.resnet18, (torch.zeros(1, 3, 64, 64),)),
    "resnet50": (lambda: models.resnet50(True), (torch.zeros(1, 3, 64, 64),)),
    "mobilenet": (models.MobileNetV2, (torch.zeros(1, 3, 64, 64),)),
    "resnet20": (models.ResNet20, (torch.zeros(3, 3, 32, 32),)),
    "vit fused": (models.ViT, (torch.zeros(2, 3, 32, 32),)),
    "vit spelled out": (lambda: models.ViT(fused=False), (torch.zeros(2, 3, 32, 32),)),
    "gpt": (models.GPT, TOKENS),
    "llama, grouped queries": (lambda: models.Llama(50, 32, 4, 2, 48, 2), TOKENS),
    "u-net": (models.UNet, (torch.zeros(1, 3, 16, 16),)),
    "audio": (models.Audio, (torch.zeros(2, 2, 64),)),
    "video": (models.Video, (torch.zeros(1, 3, 4, 8, 8),)),
    "detector": (models.Detector, (torch.zeros(1, 3, 32, 32),)),
    "encoder": (models.Encoder, (torch.zeros(2, 7, 24),)),
    "lstm": (models.Recurrent, TOKENS),
    "lstm, two ways": (lambda: models.Recurrent(num_layers=2, bidirectional=True), TOKENS),
    "lstm, projected": (lambda: models.Recurrent(num_layers=2, bidirectional=True, proj_size=4), TOKENS),
    "lstm without bias": (lambda: models.Recurrent(bias=False), TOKENS),
    "gru": (lambda: models.Recurrent(nn.GRU, num_layers=2), TOKENS),
    "rnn": (lambda: models.Recurrent(nn.RNN, nonlinearity="relu", bidirectional=True), TOKENS),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_second_counter_agrees(name: str) -> None:
    make, inputs = ARCHITECTURES[name]
    model = make()
    graph = trace(model, inputs)
    assert graph.data_flow
    assert graph.macs == second_count(model, inputs) > 0


@pytest.mark.parametrize("how", ["bmm", "each"])
def test_experts_count_as_groups_or_one_by_one(how: str) -> None:
    model = models.Experts()
    model.how = how
    inputs = (torch.zeros(3, 6),)
    graph = trace(model, inputs)
    assert graph.macs == second_count(model, inputs) == 3 * 6 * 4 + 4 * 3 * 6 * 6
    assert graph.params == 6 * 4 + 4 * 6 * 6
    assert graph.left_out == ()


class Wrap(nn.Module):
    """A function of a parameter and an input as a model."""

    def __init__(self, function: Any, weight: Tensor | None = None) -> None:
        super().__init__()
        self.w = nn.Parameter(weight) if weight is not None else None
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs) if self.w is None else self.function(*inputs, self.w)


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_convolution_counts_as_the_second_counter_says(data: st.DataObject) -> None:
    rank = data.draw(st.sampled_from([1, 2, 3]), "rank")
    transposed = data.draw(st.booleans(), "transposed")
    groups = data.draw(st.sampled_from([1, 2, 4]), "groups")
    kind = getattr(nn, f"Conv{'Transpose' * transposed}{rank}d")
    stride, dilation, padding = (data.draw(st.integers(low, 2)) for low in (1, 1, 0))
    kernel = data.draw(st.integers(1, 3), "kernel")
    bias = data.draw(st.booleans(), "bias")
    conv = kind(4, 8, kernel, stride, padding, dilation=dilation, groups=groups, bias=bias)
    batch = data.draw(st.sampled_from([(), (2,)]), "batch")
    inputs = (torch.zeros(*batch, 4, *(data.draw(st.integers(5, 7)) for _ in range(rank))),)
    (layer,) = trace(nn.Sequential(conv), inputs).layers
    assert layer.macs == second_count(conv, tuple(x if batch else x[None] for x in inputs))
    assert (layer.stride, layer.padding, layer.dilation) == ((stride,) * rank, (padding,) * rank, (dilation,) * rank)
    assert (layer.groups, layer.transposed, layer.weight_shape) == (groups, transposed, tuple(conv.weight.shape))
    assert (layer.extra_params, layer.kind, layer.kernel) == (8 * bias, "conv", (kernel,) * rank)
    assert (layer.input_shape, layer.output_shape) == (tuple(inputs[0].shape), tuple(conv(*inputs).shape))


EINSUMS = [
    ("bij,bjk->bik", (3, 4, 5), (3, 5, 6)),
    ("ij,jk", (4, 5), (5, 6)),
    ("...d,ed->...e", (2, 3, 5), (7, 5)),
    ("bhid,bhjd->bhij", (2, 3, 4, 5), (2, 3, 6, 5)),
    ("i,i->", (4,), (4,)),
    ("btd,edf->btf", (2, 3, 5), (4, 5, 6)),  # e is summed before the product
    ("bi,bi->bi", (3, 4), (3, 4)),  # element-wise
    ("i,j->ij", (3,), (5,)),  # nothing is summed
    ("bchw,kc->bkhw", (2, 3, 4, 4), (5, 3)),
]


@pytest.mark.parametrize(("equation", "first", "second"), EINSUMS)
@pytest.mark.parametrize("weighted", [False, True])
def test_einsum_counts_as_the_second_counter_says(equation: str, first: tuple[int, ...], second: tuple[int, ...], weighted: bool) -> None:
    if weighted:
        model, inputs = Wrap(lambda x, w: torch.einsum(equation, x, w), torch.ones(second)), (torch.zeros(first),)
    else:
        model, inputs = Wrap(lambda x, y: torch.einsum(equation, x, y)), (torch.zeros(first), torch.zeros(second))
    graph = trace(model, inputs)
    assert graph.macs == second_count(model, inputs)
    for layer in graph.layers:
        assert layer.kind == ("linear" if weighted else "matmul")
        assert layer.weight == ("w" if weighted else None)
        assert layer.params == (prod(second) if weighted and "edf" not in equation else layer.params)


@pytest.mark.parametrize("equation", ["ij,jk,kl->il", "bi,ij,bj->b", "ab,bc,cd,de->ae"])
def test_an_einsum_of_many_operands_sums_its_pairs(equation: str) -> None:
    extents = dict(zip("abcdeijkl", (2, 3, 4, 5, 6, 3, 5, 2, 4), strict=True))
    inputs = tuple(torch.zeros([extents[c] for c in text]) for text in equation.split("->")[0].split(","))
    model = Wrap(lambda *operands: torch.einsum(equation, *operands))
    assert trace(model, inputs).macs == second_count(model, inputs)


PRODUCTS: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...], int]] = {
    "vector times matrix": (lambda x, y: x @ y, (5,), (5, 4), 20),
    "matrix times vector": (lambda x, y: x @ y, (4, 5), (5,), 20),
    "dot": (torch.dot, (6,), (6,), 6),
    "broadcast": (torch.matmul, (2, 1, 3, 5), (4, 5, 6), 2 * 4 * 3 * 5 * 6),
    "bmm": (torch.bmm, (2, 3, 5), (2, 5, 4), 120),
    "baddbmm": (lambda x, y: torch.baddbmm(x[:, :, :1], x, y), (2, 3, 5), (2, 5, 4), 120),
    "addmm": (lambda x, y: torch.addmm(x[:, :1], x, y), (3, 5), (5, 4), 60),
    "addbmm": (lambda x, y: torch.addbmm(x[0, :, :1], x, y), (2, 3, 5), (2, 5, 4), 120),
    "tensordot": (lambda x, y: torch.tensordot(x, y, ([1, 2], [0, 1])), (2, 3, 5), (3, 5, 4), 2 * 15 * 4),
    "linear without weight of its own": (lambda x, y: F.linear(x, y), (2, 3, 5), (4, 5), 120),
    "convolution with a computed kernel": (lambda x, y: F.conv2d(x, y), (1, 3, 6, 6), (4, 3, 3, 3), 4 * 16 * 27),
}
UNSEEN = ("matrix times vector", "dot", "addbmm")  # of these the second counter knows nothing


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_two_activations_count(name: str) -> None:
    function, first, second, macs = PRODUCTS[name]
    model, inputs = Wrap(function), (torch.zeros(first), torch.zeros(second))
    graph = trace(model, inputs)
    (layer,) = graph.layers
    assert layer.macs == macs
    assert second_count(model, inputs) == (0 if name in UNSEEN else macs)
    assert (layer.kind, layer.weight, layer.params, layer.module) == ("matmul", None, 0, None)
    (reads,) = (s.reads for s in graph.steps if s.layer)
    assert reads[0] == graph.inputs[0]  # the quantised input comes first
    assert set(graph.inputs) <= set(reads)


@pytest.mark.parametrize("name", [name for name in PRODUCTS if name not in ("convolution with a computed kernel", "addbmm")])
def test_products_with_a_parameter_are_linear_layers(name: str) -> None:
    function, first, second, macs = PRODUCTS[name]
    model, inputs = Wrap(function, torch.zeros(second)), (torch.zeros(first),)
    (layer,) = trace(model, inputs).layers
    assert layer.macs == macs
    assert (layer.kind, layer.weight, layer.params) == ("linear", "w", prod(second))
    assert layer.input_shape == first


def test_a_weight_repeated_by_a_view_is_stored_once() -> None:
    model, inputs = Wrap(lambda x, w: torch.bmm(x, w.expand(7, -1, -1)), torch.zeros(5, 4)), (torch.zeros(7, 3, 5),)
    (layer,) = trace(model, inputs).layers
    assert layer.macs == second_count(model, inputs) == 7 * 3 * 5 * 4
    assert (layer.weight, layer.weight_shape, layer.groups) == ("w", (4, 5), 1)


def test_cells_count_once_per_call() -> None:
    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.gru = nn.LSTMCell(5, 7), nn.GRUCell(7, 3)

        def forward(self, x: Tensor) -> Tensor:
            h, c = self.lstm(x)
            h, c = self.lstm(x, (h, c))
            return self.gru(h)

    graph = trace(Steps(), (torch.zeros(2, 5),))
    assert [(layer.name, layer.macs) for layer in graph.layers] == [
        ("lstm", 2 * 4 * 7 * (5 + 7)),
        ("lstm#2", 2 * 4 * 7 * (5 + 7)),
        ("gru", 2 * 3 * 3 * (7 + 3)),
    ]
    assert graph.params == 4 * 7 * 12 + 3 * 3 * 10
    assert ("lstm", "lstm#2") in graph.edges


def test_packed_sequences_count_their_real_steps() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(4, 6)

        def forward(self, data: Tensor) -> Tensor:
            return self.rnn(nn.utils.rnn.PackedSequence(data, torch.tensor([3, 2, 1])))[0].data

    graph = trace(Packed(), (torch.zeros(6, 4),))
    assert graph.macs == 6 * 3 * 6 * (4 + 6)
    assert [item.name for item in graph.left_out] == ([] if graph.data_flow else ["data flow"])


def test_recurrent_layers_hold_all_their_weights_once() -> None:
    model = models.Recurrent(num_layers=2, bidirectional=True, proj_size=4)
    graph = trace(model, TOKENS)
    matrices = [p.numel() for name, p in model.named_parameters() if p.ndim == 2]
    biases = [p.numel() for name, p in model.named_parameters() if p.ndim == 1]
    assert graph.params == sum(matrices)
    assert sum(layer.extra_params for layer in graph.layers) == sum(biases)
    assert graph.left_out == ()


def test_macs_grow_with_the_batch_and_parameters_do_not() -> None:
    one, three = (trace(models.MobileNetV2(), (torch.zeros(n, 3, 32, 32),)) for n in (1, 3))
    assert (three.macs, three.params) == (3 * one.macs, one.params)


def test_same_padding_becomes_numbers() -> None:
    conv = nn.Conv2d(3, 4, (3, 5), padding="same", dilation=(2, 1))
    assert trace(nn.Sequential(conv), (torch.zeros(1, 3, 9, 9),)).layers[0].padding == (2, 2)
    conv = nn.Conv2d(3, 4, 3, padding="valid")
    assert trace(nn.Sequential(conv), (torch.zeros(1, 3, 9, 9),)).layers[0].padding == (0, 0)
