"""A tensor that no gradient reaches is measured: every way in which a forward pass stops gradients, under every method."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hwdse.allocators import AdaQAT, QBitOpt
from hwdse.choices import Choices
from hwdse.constraints import Budget, Constraint
from hwdse.costs import CostTable
from hwdse.errors import UsageError
from hwdse.formats import Allocation
from hwdse.metrics import Metric
from hwdse.problem import Problem
from hwdse.quantized import QuantizedModel
from hwdse.sensitivity import SENSITIVITIES, measured, sensitivity
from hwdse.task import Recipe
from hwdse.training import Step, train_quantized
from tests.hwdse.test_sensitivity import Tiny, prepared

Stop = Callable[[nn.Module, Tensor], Tensor]


def no_grad(layer: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return layer(x)


def detached(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x).detach()


def data(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x).data


def argmax(layer: nn.Module, x: Tensor) -> Tensor:
    y = layer(x)
    return F.one_hot(y.argmax(-1), y.shape[-1]).to(y.dtype)


def numpy(layer: nn.Module, x: Tensor) -> Tensor:
    return torch.from_numpy(layer(x).detach().numpy().copy())


def dead(layer: nn.Module, x: Tensor) -> Tensor:
    """Nothing passes in floating point, and the gradient is 0; narrow weights may bring it back to life."""
    return F.relu(layer(x) - 2.0)


STOPS: tuple[Stop, ...] = (no_grad, detached, data, argmax, numpy, dead)


class Stopped(nn.Module):
    def __init__(self, stop: Stop) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stop = stop
        self.first, self.second, self.last = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.stop(self.second, torch.tanh(self.first(x))))  # type: ignore[no-any-return]  # torch's stub


def stopped(stop: Stop) -> tuple[Tiny, QuantizedModel, Choices]:
    class Task(Tiny):
        def model(self) -> nn.Module:
            return Stopped(stop)

    return prepared(Task())


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.__name__)
@pytest.mark.parametrize("method", [name for name in SENSITIVITIES if name != "measured"])
def test_what_no_gradient_reaches_is_measured(stop: Stop, method: str) -> None:
    task, model, choices = stopped(stop)
    found = sensitivity(method, model, task, choices)
    _, model, _ = stopped(stop)
    truth = measured(model, task, choices)
    rows = [choices.position[name] for name in ("first", "second")]
    np.testing.assert_allclose(found.dense[0, rows], truth.dense[0, rows], rtol=1e-5, atol=1e-9)
    assert any("first, second" in note and "was measured" in note for note in found.notes)


class Twice(nn.Module):
    """One layer, called with a gradient and without: half of what it does is unknown."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.both, self.last = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x))
        return self.last(self.both(x) + no_grad(self.both, x * 3))  # type: ignore[no-any-return]  # torch's stub


@pytest.mark.parametrize("method", [name for name in SENSITIVITIES if name != "measured"])
def test_a_call_without_a_gradient_among_others(method: str) -> None:
    class Task(Tiny):
        def model(self) -> nn.Module:
            return Twice()

    task, model, choices = prepared(Task())
    found = sensitivity(method, model, task, choices)
    _, model, _ = prepared(Task())
    row = choices.position["both"]
    np.testing.assert_allclose(found.dense[0, row], measured(model, task, choices).dense[0, row], rtol=1e-5, atol=1e-9)


def trained_with(allocator: QBitOpt | AdaQAT, stop: Stop) -> tuple[Problem, QBitOpt | AdaQAT]:
    task, model, choices = stopped(stop)
    loss = sensitivity("fit", model, task, choices)
    task, model, _ = stopped(stop)
    bits = np.array([[o.weight.bits + o.activation.bits for o in choices.options]] * len(choices.layers), float)
    cost = CostTable.one_row(Metric("bits", "bit", "lower"), choices.layers, choices.options, bits)
    problem = Problem(choices, loss, (cost,), Budget((Constraint(cost.metric, 30.0),)))
    train_quantized(model, task, problem, allocator, Recipe(epochs=4, lr=1e-4), seed=0)
    return problem, allocator


@pytest.mark.parametrize("stop", [no_grad, detached], ids=lambda stop: stop.__name__)
def test_training_keeps_what_was_measured_before(stop: Stop) -> None:
    """QBitOpt solves anew from training gradients; layers that those do not reach keep their measured losses."""
    used: list[CostTable] = []

    class Watched(QBitOpt):
        def observe(self, step: Step) -> Allocation | None:
            self._losses.table, table = (lambda *a: used.append(table(*a)) or used[-1]), self._losses.table  # type: ignore[method-assign]
            try:
                return super().observe(step)
            finally:
                self._losses.table = table  # type: ignore[method-assign]

    problem, _ = trained_with(Watched(tau=2), stop)
    assert used
    rows = [problem.choices.position[name] for name in ("first", "second")]
    for table in used:
        np.testing.assert_allclose(table.dense[0, rows], problem.loss.dense[0, rows])
        assert any("no gradient reaches the weights and inputs of first, second in training" in note for note in table.notes)


@pytest.mark.parametrize("stop", [no_grad, detached], ids=lambda stop: stop.__name__)
def test_adaqat_by_gradients_refuses_and_by_probes_works(stop: Stop) -> None:
    with pytest.raises(UsageError, match=r"no gradient reaches first, second .* use granularity='network'"):
        trained_with(AdaQAT(granularity="layer"), stop)
    trained_with(AdaQAT(), stop)
