"""A model under an allocation, in place, and back."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from hwdse.choices import Choices
from hwdse.errors import UsageError
from hwdse.formats import Allocation, LayerFormat
from hwdse.quantized import QuantizedModel
from hwdse.quantizers import Scheme
from hwdse.task import batches_of
from hwdse.trace import trace
from hwdse.trace.computed_weights import detach_computed
from hwdse.workbench import Workbench

pytestmark = pytest.mark.numeric


def image(bench: Workbench) -> torch.Tensor:
    return next(iter(bench.task.batches("validation", 0)))[0]


def test_removing_gives_the_original_back_bit_for_bit(bench: Workbench) -> None:
    original = bench.network()
    expected, state = original(image(bench)), {k: v.clone() for k, v in original.state_dict().items()}
    model = bench.quantized()
    model.observe(batches_of(bench.task, "calibration"))
    model.set(bench.choices.uniform(LayerFormat.of(2, 2)), calibrate=True)
    assert not torch.equal(model.network.eval()(image(bench)), expected)
    back = model.remove().eval()
    assert torch.equal(back(image(bench)), expected)
    assert {k: v.shape for k, v in back.state_dict().items()} == {k: v.shape for k, v in state.items()}
    assert all(torch.equal(v, state[k]) for k, v in back.state_dict().items())


def test_until_set_it_runs_in_floating_point(bench: Workbench) -> None:
    assert torch.equal(bench.quantized().network.eval()(image(bench)), bench.network()(image(bench)))


def test_weights_and_inputs_have_their_levels(bench: Workbench) -> None:
    model = bench.quantized()
    model.observe(batches_of(bench.task, "calibration"))
    allocation = dict(bench.choices.uniform(LayerFormat.of(8, 8)))
    allocation["block1.conv1"] = LayerFormat.of(3, 2)
    model.set(allocation, calibrate=True)
    layer = model.network.get_submodule("block1.conv1")
    assert len(layer.weight.unique()) <= 8
    seen: list[torch.Tensor] = []
    layer.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    with torch.no_grad():
        model.network.eval()(image(bench))
    assert 1 < len(seen[0].unique()) <= 4


def test_another_allocation_makes_no_second_network(bench: Workbench) -> None:
    model = bench.quantized()
    model.observe(batches_of(bench.task, "calibration"))
    before = {name: p.data_ptr() for name, p in model.network.named_parameters()}
    for bits in (8, 4, 2):
        model.set(bench.choices.uniform(LayerFormat.of(bits, bits)), calibrate=True)
    assert {name: p.data_ptr() for name, p in model.network.named_parameters()} == before


@pytest.mark.parametrize("scheme", [Scheme(), Scheme("codebook", "n2uq"), Scheme("dorefa", "pact"), Scheme("codebook", "pact")])
def test_checkpoint_gives_the_same_outputs(bench: Workbench, scheme: Scheme) -> None:
    model = bench.quantized(scheme)
    model.observe(batches_of(bench.task, "calibration"))
    model.set(bench.choices_for(scheme).uniform(scheme.formats(LayerFormat.of(4, 4))), calibrate=True)
    assert {w.quantizer.method(w.format) for w in model.weights.values()} == {scheme.weight}
    expected = model.network.eval()(image(bench))
    other = bench.quantized(scheme)
    other.load_state(model.state())
    assert torch.equal(other.network.eval()(image(bench)), expected)
    assert other.allocation == model.allocation


def test_checkpoint_of_another_scheme_is_refused(bench: Workbench) -> None:
    with pytest.raises(UsageError, match="the checkpoint is of other quantisers"):
        bench.quantized(Scheme("codebook", "lsq")).load_state(bench.quantized().state())


def test_calibrating_without_data(bench: Workbench) -> None:
    with pytest.raises(UsageError, match="saw no calibration data: call observe"):
        bench.quantized().set(bench.choices.uniform(LayerFormat.of(4, 4)), calibrate=True)


def test_allocation_of_another_model(bench: Workbench) -> None:
    with pytest.raises(UsageError, match="must name the model's quantisable layers; they differ in"):
        bench.quantized().set(Allocation({"conv1": LayerFormat.of(4, 4)}))


class Odd(nn.Module):
    """One weight in two modules, and a layer called with a keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.two.weight = self.one.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(input=self.two(self.one(x).relu()))


def test_modules_that_share_a_weight_share_its_quantiser_and_keywords_are_quantised() -> None:
    torch.manual_seed(0)
    network = Odd()
    graph = trace(network, (torch.randn(4, 6),))
    model = QuantizedModel(network, graph)
    model.observe([((torch.randn(32, 6),), None)])
    model.set({n: LayerFormat.of(4, 2) for n in model.layers}, calibrate=True)
    assert torch.equal(network.one.weight, network.two.weight)
    assert len(model.distinct_weights()) == 2
    seen: list[torch.Tensor] = []
    network.out.register_forward_hook(lambda module, args, named, out: seen.append(named["input"]), with_kwargs=True)
    network(torch.randn(8, 6))
    assert len(seen[0].unique()) <= 4


COMPUTED = {
    "weight norm": lambda layer: parametrizations.weight_norm(layer),
    "weight norm, by hook": lambda layer: weight_norm(layer),
    "spectral norm": lambda layer: parametrizations.spectral_norm(layer),
    "spectral norm, by hook": lambda layer: spectral_norm(layer),
    "orthogonal": lambda layer: parametrizations.orthogonal(layer),
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
}


@pytest.mark.parametrize("name", COMPUTED)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
def test_a_weight_computed_before_the_forward_pass_is_quantised_as_computed(name: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 6)
    blank = detach_computed(nn.Sequential(nn.Linear(6, 6), COMPUTED[name](nn.Linear(6, 6)), nn.Linear(6, 2)).eval())
    graph = trace(blank, (x,))
    one, other = (copy.deepcopy(blank) for _ in range(2))
    expected = blank(x)
    for network in (one, other):  # copies share the class that a parametrisation makes
        model = QuantizedModel(network, graph)
        assert torch.allclose(model.network(x), expected, atol=1e-6)
        model.observe([((x,), None)])
        model.set({n: LayerFormat.of(2, 8) for n in model.layers}, calibrate=True)
        assert len(model.network[1].weight.unique()) <= 4
    if name == "pruned":
        zeros = model.original("1") == 0
        model.network(x).sum().backward()
        assert (model.original("1").grad[zeros] == 0).all()
        assert zeros.sum() == 18


def test_rows_of_an_embedding_are_brought_to_their_norm_before_they_are_rounded() -> None:
    torch.manual_seed(0)
    words = torch.arange(20)[None]
    network = nn.Sequential(nn.Embedding(20, 8, max_norm=1.0), nn.Linear(8, 2)).eval()
    graph = trace(network, (words,))
    plain = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 2)).eval()
    same = trace(plain, (words,))
    assert (graph.layers, graph.tensors, graph.left_out) == (same.layers, same.tensors, ())
    model = QuantizedModel(network, graph)
    expected = copy.deepcopy(plain)
    expected.load_state_dict({"0.weight": torch.renorm(model.original("0").detach(), 2, 0, 1.0), **{
        f"1.{k}": v for k, v in {"weight": model.original("1").detach(), "bias": network[1].bias.detach()}.items()
    }})  # fmt: skip
    assert torch.allclose(model.network(words), expected(words), atol=1e-6)
    model.observe([((words,), None)])
    model.set({n: LayerFormat.of(2, 8) for n in model.layers}, calibrate=True)
    with torch.no_grad():
        assert len(model.network[0](words).unique()) <= 4
    model.network(words).sum().backward()
    assert model.remove()[0].max_norm == 1.0


def test_calls_of_one_module_take_one_width() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.one(self.two(self.one(x).relu()))
            return self.out(x) + self.out(x.relu())

    graph = trace(Twice(), (torch.randn(4, 6),))
    choices = Choices.of(graph, [4, 8], [4, 8], ends=None)
    assert choices.activation_ties == (("one", "one#2"), ("out", "out#2"))
    model = QuantizedModel(Twice(), graph)
    same = {n: LayerFormat.of(4, 4) for n in model.layers}
    model.set(same)
    with pytest.raises(UsageError, match=r"layers 'one' and 'one#2' share one quantiser .* one activation format; got int4 and int8"):
        model.set({**same, "one#2": LayerFormat.of(4, 8)})
    with pytest.raises(UsageError, match="must have one weight format; got int4 and int8"):
        model.set({**same, "out#2": LayerFormat.of(8, 4)})
