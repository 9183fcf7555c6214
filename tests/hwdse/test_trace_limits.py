"""What tracing cannot count is said; models stay as they were; bad inputs are named."""

from __future__ import annotations

from typing import Any

import models
import pytest
import torch
from torch import Tensor, nn

from hwdse.errors import TraceError
from hwdse.graph import LayerGraph, Parameter
from hwdse.trace import trace

X = (torch.ones(3, 2, 6),)


def reasons(graph: LayerGraph) -> dict[str, str]:
    return {item.name: item.reason for item in graph.left_out}


def test_a_parameter_that_reaches_no_layer_is_left_out_by_name_and_size() -> None:
    graph = trace(models.Experts(), (torch.zeros(3, 6),))
    stored = "stored in floating point, which 'weights' counts; its work is not counted"
    assert reasons(graph) == {"experts": f"a parameter of 144 elements that reaches no counted layer; {stored}"}
    assert graph.parameters == (Parameter("experts", 144),)


def test_experts_that_are_not_called_are_left_out_in_elements() -> None:
    class Some(models.Experts):
        def forward(self, x: Tensor) -> Tensor:
            return self.router(x)[:, :1] * (x @ self.experts[0]) + x @ self.experts[2]

    graph = trace(Some(), (torch.zeros(3, 6),))
    assert reasons(graph)["experts"].startswith("72 of 144 elements reach no counted layer; stored in floating point")
    assert graph.parameters == (Parameter("experts", 72),)


def test_positions_and_tokens_are_left_out_of_a_vision_transformer() -> None:
    assert set(reasons(trace(models.ViT(), (torch.zeros(1, 3, 32, 32),)))) == {"token", "position"}


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("fft_fft", lambda x: torch.fft.fft(x).real),
        ("cdist", lambda x: torch.cdist(x, x)),
        ("cosine_similarity", lambda x: torch.cosine_similarity(x, x.flip(0))),
        ("linalg_multi_dot", lambda x: torch.linalg.multi_dot([x[0], x[0].t(), x[0]])),
        ("linalg_inv_ex", lambda x: torch.linalg.inv(x[:2, :2, :2])),
    ],
)
def test_operations_without_a_rule_are_left_out(name: str, function: Any) -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x) + 1

    graph = trace(Model(), (torch.randn(3, 4, 6),))
    assert any(name in found or found in name for found in reasons(graph)), reasons(graph)
    assert "without a counting rule" in next(iter(reasons(graph).values()))


def test_layers_under_vmap_are_said_to_count_once() -> None:
    class Mapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return torch.vmap(self.fc)(x)

    assert "for one entry" in reasons(trace(Mapped(), X))["_add_batch_dim"]


def test_repeated_operations_without_a_rule_are_one_item() -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cdist(torch.cdist(x, x), x.mT)

    assert [item.reason[-9:] for item in trace(Model(), (torch.zeros(4, 4),)).left_out] == ["(2 times)"]


def test_control_flow_in_the_graph_is_left_out_with_what_it_holds() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cond(x.sum() > 0, lambda y: self.a(y), lambda y: self.b(y) + 1, (x,))

    graph = trace(Branch(), X)
    assert set(reasons(graph)) == {"cond", "a.weight", "b.weight"}
    assert graph.layers == ()
    assert len(graph.outputs) == 1


def test_shapes_that_depend_on_data_are_left_out() -> None:
    class Routed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.expert = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return self.expert(x[x[:, 0] > 0])

    graph = trace(Routed(), (torch.zeros(4, 6),))
    if graph.data_flow:
        assert "depends on the data" in reasons(graph)["expert"]
        assert [layer.name for layer in graph.layers] == ["first"]
        assert "expert.weight" in reasons(graph)


def test_a_custom_operation_is_left_out() -> None:
    @torch.library.custom_op("hwdse_test::mix", mutates_args=())
    def mix(x: Tensor, w: Tensor) -> Tensor:
        return x @ w

    @mix.register_fake
    def _(x: Tensor, w: Tensor) -> Tensor:
        return x.new_empty(*x.shape[:-1], w.shape[1])

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(6, 5))

        def forward(self, x: Tensor) -> Tensor:
            return mix(x, self.w)

    graph = trace(Model(), X)
    assert set(reasons(graph)) == {"hwdse_test::mix", "w"}
    assert graph.tensors[graph.outputs[0]].elements == 30


def test_a_custom_operation_that_only_writes_is_left_out() -> None:
    @torch.library.custom_op("hwdse_test::fill_products", mutates_args=("out",))
    def fill_products(x: Tensor, out: Tensor) -> None:
        out.copy_(x @ x.mT)

    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            out = x.new_zeros(3, 2, 2)
            fill_products(x, out)
            return out + 1

    assert "returns nothing" in reasons(trace(Model(), X))["hwdse_test::fill_products"]


def test_the_fallback_counts_modules_and_says_what_it_cannot_know() -> None:
    model = models.ValueDependent()
    graph = trace(model, X)
    assert not graph.data_flow
    assert (graph.steps, graph.edges, graph.activation_ties) == ((), (), ())
    assert graph.call_ties == (("fc", "fc#2", "fc#3"),)  # one module has one quantiser
    assert "torch.export could not trace the model" in reasons(graph)["data flow"]
    assert reasons(graph)["extra"].startswith("a parameter of 36 elements")
    names = [layer.name for layer in graph.layers]
    assert names == ["fc", "rnn/l0", "attn/linear", "attn/attention", "attn.out_proj", "fc#2", "fc#3"]
    assert [graph[name].macs for name in names[:5]] == [216, 6 * 24 * 12, 6 * 6 * 18, 2 * 2 * 3 * 3 * 6, 6 * 36]
    assert graph.weight_ties == (("fc", "fc#2", "fc#3"),)
    assert reasons(graph)["products outside of modules"].startswith(f"{2 * 6 * 36} multiply-accumulates")
    assert float(model.calls) == 0


def test_the_fallback_agrees_with_the_export_on_modules() -> None:
    class Looks(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Any:
            if float(x.sum()) > 1e9:
                return x
            return self.inner(x)

    for model, inputs in [
        (models.ResNet20(), (torch.zeros(1, 3, 32, 32),)),
        (models.UNet(), (torch.zeros(1, 3, 16, 16),)),
        (models.Encoder(), (torch.zeros(2, 7, 24),)),
        (models.Recurrent(num_layers=2, bidirectional=True, proj_size=4), (torch.zeros(2, 8, dtype=torch.long),)),
        (models.Detector(), (torch.zeros(1, 3, 16, 16),)),
    ]:
        full, seen = trace(model, inputs), trace(Looks(model), inputs)
        assert full.data_flow
        assert not seen.data_flow
        assert [layer.macs for layer in seen.layers] == [layer.macs for layer in full.layers]
        assert [layer.name for layer in seen.layers] == [f"inner.{layer.name}" for layer in full.layers]
        assert [layer.weight_shape for layer in seen.layers] == [layer.weight_shape for layer in full.layers]
        assert {item.name for item in seen.left_out} == {"data flow"} | {f"inner.{item.name}" for item in full.left_out}


def test_the_fallback_counts_a_layer_inside_a_layer_once() -> None:
    class LowRank(nn.Linear):
        def __init__(self) -> None:
            super().__init__(6, 6)
            self.down, self.up = nn.Linear(6, 2, bias=False), nn.Linear(2, 6, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + self.up(self.down(x))

    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = LowRank()

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x) if float(x.sum()) < 1e9 else x

    graph = trace(Looks(), X)
    assert [(layer.name, layer.module, layer.macs) for layer in graph.layers] == [
        ("fc", "fc", 216),
        ("fc.down", "fc.down", 72),
        ("fc.up", "fc.up", 72),
    ]
    assert set(reasons(graph)) == {"data flow"}


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (models.ResNet20(), (torch.randn(2, 3, 32, 32),)),
        (models.Recurrent(dropout=0.5, num_layers=2), (torch.zeros(2, 8, dtype=torch.long),)),
        (models.Encoder(), (torch.randn(2, 7, 24),)),
        (models.ValueDependent(), X),
    ],
    ids=["resnet20", "lstm", "encoder", "fallback"],
)
def test_the_model_is_as_it_was(model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    torch.backends.mha.set_fastpath_enabled(True)
    model.train()
    next(iter(model.children())).eval()
    next(iter(model.parameters())).requires_grad_(False)

    def look() -> tuple[Any, ...]:
        tensors = [*model.named_parameters(), *model.named_buffers()]
        return (
            [(name, module.training) for name, module in model.named_modules()],
            [(name, id(tensor), tensor.requires_grad, tensor.grad) for name, tensor in tensors],
            [name for name, _ in model.named_modules()],
            [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()],
            torch.is_grad_enabled(),
            torch.backends.mha.get_fastpath_enabled(),
            torch.get_rng_state().tolist(),
        )

    state = {name: value.clone() for name, value in model.state_dict().items()}
    before = look()
    trace(model, inputs)
    assert look() == before
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    model(*inputs)


def test_a_model_on_the_meta_device_is_traced_as_any_other() -> None:
    with torch.device("meta"):
        model = models.Llama(50, 32, 4, 2, 48, 2)
    tokens = (torch.zeros(2, 8, dtype=torch.long),)
    real = trace(models.Llama(50, 32, 4, 2, 48, 2), tokens)
    graph = trace(model, tokens)
    assert (graph.layers, graph.edges, graph.left_out) == (real.layers, real.edges, real.left_out)


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ((torch.zeros(1, 4, 32, 32),), r"must run on its example inputs, \(float32\[1, 4, 32, 32\]\); got .*channels"),
        ((torch.zeros(1, 3, 32, 32),) * 2, r"must run on its example inputs, .*positional argument"),
        ((), r"must run on its example inputs, \(\); got .*missing 1 required positional argument"),
        ((torch.zeros(1, 3, 32, 32, dtype=torch.long),), r"int64\[1, 3, 32, 32\]"),
        (torch.zeros(1, 3, 32, 32), r"must be a tuple .* got Tensor\. Write \(x,\)"),
    ],
)
def test_inputs_that_do_not_fit_are_named(inputs: Any, problem: str) -> None:
    with pytest.raises(TraceError, match=problem):
        trace(models.ResNet20(), inputs)


def test_a_class_is_no_model() -> None:
    with pytest.raises(TraceError, match=r"must be a torch\.nn\.Module; got type"):
        trace(models.ResNet20, (torch.zeros(1, 3, 32, 32),))  # type: ignore[arg-type]


def test_without_the_fallback_the_reason_is_raised() -> None:
    with pytest.raises(TraceError, match=r"must be exportable by torch\.export on \(float32\[3, 2, 6\]\); got .*data-dependent"):
        trace(models.ValueDependent(), X, fallback=False)


def test_a_failed_trace_leaves_the_model_as_it_was_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    model = models.ResNet20().train()
    with pytest.raises(TraceError):
        trace(model, (torch.zeros(1, 4, 32, 32),))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    trace(models.ValueDependent(), X)
    assert capfd.readouterr() == ("", "")
