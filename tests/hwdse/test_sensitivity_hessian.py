"""Hutchinson's traces against exact Hessians."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hwdse.errors import UsageError
from hwdse.formats import LayerFormat, plain_integer
from hwdse.quantized import QuantizedModel
from hwdse.quantizers import LearntRange
from hwdse.sensitivity import hessian, measured
from hwdse.sensitivity.hessian import Trace, hutchinson
from hwdse.sensitivity.noise import Sample, mean_square_errors
from hwdse.task import batches_of
from tests.hwdse.test_sensitivity import Tiny, prepared

pytestmark = pytest.mark.numeric

ALWAYS = 0.0  # a tolerance that no estimate with noise meets


class Curved(Tiny):
    """Smooth, so that its Hessian is not zero anywhere; batches of 4, 4 and 2."""

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double()

    def example_inputs(self) -> tuple[Tensor, ...]:
        return (torch.zeros(1, 3, dtype=torch.float64),)

    def batches(self, split: str, seed: int) -> list[tuple[Tensor, Tensor]]:
        x, y = (torch.cat(parts).double() for parts in zip(*super().batches(split, seed), strict=True))
        return list(zip(x.split(4), y.split(4), strict=True))


def estimated(task: Tiny, **options: float) -> dict[tuple[str, str], Trace]:
    _, model, _ = prepared(task)
    return hutchinson(model, task, list(batches_of(task, "calibration")), **options)  # type: ignore[arg-type]  # a task


def exact_traces(task: Curved) -> dict[tuple[str, str], float]:
    """From the whole Hessian of each weight, and of each sample's own input to each layer."""
    network = task.model()
    x, y = (torch.cat(parts) for parts in zip(*task.batches("calibration", 0), strict=True))
    found = {}
    for i in (0, 2, 4):
        shape = network[i].weight.shape

        def of_weight(flat: Tensor, i: int = i, shape: torch.Size = shape) -> Tensor:
            return task.loss(torch.func.functional_call(network, {f"{i}.weight": flat.view(shape)}, (x,)), y)

        def of_input(h: Tensor, target: Tensor, i: int = i) -> Tensor:
            return task.loss(network[i:](h[None]), target[None])

        found["weight", str(i)] = float(torch.autograd.functional.hessian(of_weight, network[i].weight.detach().flatten()).trace())
        inputs = network[:i](x).detach()
        per_sample = [torch.autograd.functional.hessian(lambda h, t=t, f=of_input: f(h, t), h) for h, t in zip(inputs, y, strict=True)]
        found["activation", str(i)] = float(torch.stack([h.trace() for h in per_sample]).mean())
    return found


def test_traces_are_those_of_the_full_hessian() -> None:
    exact, found = exact_traces(Curved()), estimated(Curved(), tolerance=ALWAYS, passes=120)
    assert found.keys() == exact.keys()
    for key, trace in found.items():
        assert trace.error < 0.2 * abs(exact[key])
        assert abs(trace.mean - exact[key]) < 4 * trace.error + 1e-9


def test_the_standard_error_is_that_of_repeated_estimates() -> None:
    runs = [estimated(Curved(), tolerance=ALWAYS, passes=3, seed=seed) for seed in range(30)]
    for key in runs[0]:
        spread = np.std([run[key].mean for run in runs], ddof=1)
        claimed = np.sqrt(np.mean([run[key].error ** 2 for run in runs]))
        assert claimed == pytest.approx(spread, rel=0.5, abs=1e-9)  # 29 degrees of freedom: about 4 standard deviations


class Quadratic(Tiny):
    """Mean of (x w - y)^2: the Hessian is 2 / N x^T x. Orthogonal columns make it diagonal, and then every probe is exact."""

    sign = 1.0

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 1, bias=False))

    def batches(self, split: str, seed: int) -> list[tuple[Tensor, Tensor]]:
        return [(torch.diag(torch.tensor([1.0, 2.0, 3.0])), torch.zeros(3, 1)), (torch.tensor([[4.0, 0.0, 0.0]]), torch.zeros(1, 1))]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return self.sign * ((output - target) ** 2).mean()


def test_a_diagonal_hessian_is_found_by_the_first_probe() -> None:
    trace = estimated(Quadratic())["weight", "0"]
    assert trace.mean == pytest.approx(2 / 4 * (1 + 4 + 9 + 16), rel=1e-6)  # samples weigh equally, batches do not
    assert trace.error == pytest.approx(0, abs=1e-6)
    assert len(trace.rows) == 2  # what a standard error needs


def test_the_table_is_half_the_trace_times_the_error() -> None:
    task, model, choices = prepared(Quadratic())
    table = hessian(model, task, choices)
    weight = task.model()[0].weight.detach()
    formats = [plain_integer(2), plain_integer(8)]
    error = dict(zip(formats, mean_square_errors(Sample(LearntRange(), weight, weight), formats), strict=True))
    sample = model.input_sample("0")
    assert sample is not None
    of_input = dict(zip(formats, mean_square_errors(Sample(LearntRange(), sample, sample), formats), strict=True))
    curvature = [0.5 * 15, 0.5 * 2 * float((weight**2).sum())]  # of an input: 2 w w^T for each sample
    for option in (LayerFormat.of(2, 8), LayerFormat.of(8, 2)):
        found = table.cells[0, choices.column[option]]
        expected = curvature[0] * error[option.weight], curvature[1] * of_input[option.activation]
        assert found == pytest.approx(sum(expected), rel=0.3)  # the input's trace is an estimate
    at = [table.cells[0, choices.column[LayerFormat.of(w, 8)]] for w in (2, 8)]
    assert at[0] - at[1] == pytest.approx(curvature[0] * (error[formats[0]] - error[formats[1]]), rel=1e-5)


def test_where_a_trace_is_negative_the_loss_is_measured_and_that_is_said() -> None:
    class Maximum(Quadratic):
        sign = -1.0

    task, model, choices = prepared(Maximum())
    table = hessian(model, task, choices)
    _, again, _ = prepared(Maximum())
    assert table.cells == pytest.approx(measured(again, task, choices).cells)
    assert any(
        "the Hessian's trace is not above 0 for, the weights and inputs of 0: what these lose was measured" in n for n in table.notes
    )


def test_where_the_loss_has_no_curvature_it_is_measured() -> None:
    class Straight(Quadratic):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            return (output - target).mean()

    task, model, choices = prepared(Straight())
    table = hessian(model, task, choices)
    _, again, _ = prepared(Straight())
    assert table.cells == pytest.approx(measured(again, task, choices).cells)


def test_what_stays_uncertain_is_said() -> None:
    task, model, choices = prepared(Curved())
    few = hessian(model, task, choices, passes=2, tolerance=0.01)
    assert any("standard error stayed above 1% for the weights of" in note for note in few.notes)
    assert "up to 2 probes of each of 3 batches" in few.convention


def test_same_seed_same_table() -> None:
    tables = []
    for seed in (0, 0, 1):
        task, model, choices = prepared(Curved())
        tables.append(hessian(model, task, choices, passes=2, seed=seed).cells)
    assert np.array_equal(tables[0], tables[1])
    assert not np.array_equal(tables[0], tables[2])


def test_the_trained_network_is_left_as_it_was() -> None:
    task, model, choices = prepared(Curved())
    model.network.train()
    before = {k: v.clone() for k, v in model.network.state_dict().items() if "quantizer" not in k}
    hessian(model, task, choices, passes=2)
    assert model.network.training
    assert all(torch.equal(model.network.state_dict()[k], v) for k, v in before.items())
    assert all(p.grad is None for p in model.network.parameters())


def test_fused_attention_has_a_second_derivative_here() -> None:
    class Attends(Tiny):
        def model(self) -> nn.Module:
            return Attention()

    task, model, choices = prepared(Attends())
    assert (hessian(model, task, choices, passes=2).cells.max(axis=1) > 0).any()


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.qkv, self.out = nn.Linear(3, 12), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x)[:, None].expand(-1, 2, -1).chunk(3, -1)
        return self.out(F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0].mean(1))


def test_an_operation_without_a_second_derivative() -> None:
    class First(torch.autograd.Function):
        @staticmethod
        def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        @once_differentiable
        def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
            return gradient.clone()

    class Rough(Tiny):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            return super().loss(First.apply(output), target)

    task, model, choices = prepared(Rough())
    with pytest.raises(UsageError, match=r"an operation of the model has none .*differentiate twice.*use --method fit or fit_exact"):
        hessian(model, task, choices)


def test_a_module_called_twice_adds_up_its_inputs() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer, self.last = nn.Linear(3, 3, bias=False), nn.Linear(3, 1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.tanh(self.layer(x)) + torch.tanh(self.layer(2 * x)))

    class Repeats(Tiny):
        def model(self) -> nn.Module:
            return Twice()

    task = Repeats()
    network = task.model()
    _, model, _ = prepared(task)
    assert isinstance(model, QuantizedModel)
    found = estimated(task, tolerance=ALWAYS, passes=150)["activation", "layer"]
    traces = []
    for x, y in task.batches("calibration", 0):
        for a, t in zip(x, y, strict=True):

            def at(u: Tensor, v: Tensor, t: Tensor = t) -> Tensor:
                return task.loss(network.last(torch.tanh(network.layer(u)) + torch.tanh(network.layer(v)))[None], t[None])

            (first, _), (_, second) = torch.autograd.functional.hessian(at, (a, 2 * a))
            traces.append(float(first.trace() + second.trace()))
    assert abs(found.mean - np.mean(traces)) < 4 * found.error
    assert found.error < 0.2 * abs(np.mean(traces))
