"""A model under an allocation, in place, and back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hwdse.bits import Allocation, BitWidths
from hwdse.errors import UsageError
from hwdse.quantized import QuantizedModel
from hwdse.quantizers import Scheme
from hwdse.task import batches_of
from hwdse.trace import trace
from hwdse.workbench import Workbench

pytestmark = pytest.mark.numeric


def image(bench: Workbench) -> torch.Tensor:
    return next(iter(bench.task.batches("validation", 0)))[0]


def test_removing_gives_the_original_back_bit_for_bit(bench: Workbench) -> None:
    original = bench.network()
    expected, state = original(image(bench)), {k: v.clone() for k, v in original.state_dict().items()}
    model = bench.quantized()
    model.observe(batches_of(bench.task, "calibration"))
    model.set(bench.choices.uniform(BitWidths(2, 2)), calibrate=True)
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
    allocation = dict(bench.choices.uniform(BitWidths(8, 8)))
    allocation["block1.conv1"] = BitWidths(3, 2)
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
        model.set(bench.choices.uniform(BitWidths(bits, bits)), calibrate=True)
    assert {name: p.data_ptr() for name, p in model.network.named_parameters()} == before


@pytest.mark.parametrize("scheme", [Scheme(), Scheme("codebook", "n2uq"), Scheme("dorefa", "pact"), Scheme("codebook", "pact")])
def test_checkpoint_gives_the_same_outputs(bench: Workbench, scheme: Scheme) -> None:
    model = bench.quantized(scheme)
    model.observe(batches_of(bench.task, "calibration"))
    model.set(bench.choices.uniform(BitWidths(4, 4)), calibrate=True)
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
        bench.quantized().set(bench.choices.uniform(BitWidths(4, 4)), calibrate=True)


def test_allocation_of_another_model(bench: Workbench) -> None:
    with pytest.raises(UsageError, match="must name the model's quantisable layers; they differ in"):
        bench.quantized().set(Allocation({"conv1": BitWidths(4, 4)}))


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
    model.set({n: BitWidths(4, 2) for n in model.layers}, calibrate=True)
    assert torch.equal(network.one.weight, network.two.weight)
    assert len(model.distinct_weights()) == 2
    seen: list[torch.Tensor] = []
    network.out.register_forward_hook(lambda module, args, named, out: seen.append(named["input"]), with_kwargs=True)
    network(torch.randn(8, 6))
    assert len(seen[0].unique()) <= 4
