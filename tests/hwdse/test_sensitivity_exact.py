"""FIT element by element, against sums written out."""

from __future__ import annotations

import pytest
import torch
from in_bits import in_bits
from torch import Tensor, nn

from hwdse.formats import LayerFormat
from hwdse.quantized import QuantizedModel
from hwdse.quantizers import LearntRange, Scheme
from hwdse.sensitivity import fit, fit_exact
from hwdse.trace import trace
from tests.hwdse.test_sensitivity import Tiny, prepared, tiny

pytestmark = pytest.mark.numeric


def squared_error(sample: Tensor, x: Tensor, bits: int) -> Tensor:
    """(Q_b(x) - x)^2, ranges found on the sample."""
    q = LearntRange()
    q.calibrate(sample, in_bits(q, bits))
    with torch.no_grad():
        return (q.quantize(x, in_bits(q, bits)) - x) ** 2


def test_it_is_the_formula() -> None:
    task, model, choices = tiny()
    table = fit_exact(model, task, choices)
    w1, w2 = (p.detach() for p in task.model().parameters())
    fisher = [torch.zeros_like(w1), torch.zeros_like(w2)]
    inputs: dict[tuple[int, int], float] = dict.fromkeys(((i, b) for i in (0, 1) for b in (2, 4, 8)), 0.0)
    for x, y in task.batches("calibration", 0):
        h = x @ w1.T
        d_out = 2 * (h @ w2.T - y) / 5
        d_h = d_out @ w2
        for i, (g_w, g_x, value) in enumerate(((d_h.T @ x, d_h @ w1, x), (d_out.T @ h, d_h, h))):
            fisher[i] += 5 * g_w**2 / 2  # B g^2, mean of two batches
            for b in (2, 4, 8):
                sample = model.input_sample(choices.layers[i])
                assert sample is not None
                inputs[i, b] += 5 * float((g_x**2 * squared_error(sample, value, b)).sum()) / 2
    for i, weight in enumerate((w1, w2)):
        for j, (b_w, b_a) in enumerate((o.weight.bits, o.activation.bits) for o in choices.options):
            expected = 0.5 * (float((fisher[i] * squared_error(weight, weight, b_w)).sum()) + inputs[i, b_a])
            assert table.cells[i, j] == pytest.approx(expected, rel=1e-4)


def test_an_error_without_a_gradient_costs_nothing() -> None:
    """An input column that no weight uses: FIT charges its error at the others' mean gradient; element by element it is free."""

    class Unused(Tiny):
        def model(self) -> nn.Module:
            torch.manual_seed(0)
            net = nn.Linear(3, 1, bias=False)
            with torch.no_grad():
                net.weight[0, 1] = 0
            return nn.Sequential(net)

        def batches(self, split: str, seed: int) -> list[tuple[Tensor, Tensor]]:
            return [(torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]), torch.tensor([[5.0], [7.0]]))]  # 0 and 1 are levels, 0.5 is not

    task, _, choices = prepared(Unused())
    graph = trace(task.model(), task.example_inputs())
    at, wide = (choices.column[LayerFormat.of(8, a)] for a in (2, 8))
    made = [method(QuantizedModel(task.model(), graph, Scheme(calibrator="minmax")), task, choices).cells[0] for method in (fit, fit_exact)]
    mean, exact = (cells[at] - cells[wide] for cells in made)
    assert mean > 0.01
    assert exact == pytest.approx(0, abs=1e-9)


def test_inputs_count_by_the_sample_however_they_are_batched() -> None:
    class Uneven(Tiny):
        def batches(self, split: str, seed: int) -> list[tuple[Tensor, Tensor]]:
            x, y = (torch.cat(parts) for parts in zip(*super().batches(split, seed), strict=True))
            return list(zip(x.split(4), y.split(4), strict=True))  # 4, 4 and 2

    task, model, choices = prepared(Uneven())
    cells = fit_exact(model, task, choices).cells
    x, y = (torch.cat(parts) for parts in zip(*task.batches("calibration", 0), strict=True))
    w1, w2 = (p.detach() for p in task.model().parameters())
    slope = 2 * (x @ w1.T @ w2.T - y)  # of each sample's own loss
    for i, (value, gradient) in enumerate(((x, slope @ w2 @ w1), (x @ w1.T, slope @ w2))):
        sample = model.input_sample(choices.layers[i])
        assert sample is not None
        expected = [0.5 * float((gradient**2 * squared_error(sample, value, b)).sum() / 10) for b in (2, 8)]
        found = [cells[i, choices.column[LayerFormat.of(8, b)]] for b in (2, 8)]
        assert found[0] - found[1] == pytest.approx(expected[0] - expected[1], rel=1e-4)
