"""The audit: ranks against scipy, samples that keep pins and ties, measurements by hand, and verdicts on tables whose order is known."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hwdse.choices import Choices
from hwdse.costs import FloatArray
from hwdse.errors import TrainingDiverged, UsageError
from hwdse.formats import LayerFormat, grid
from hwdse.problem import loss_table
from hwdse.quantized import QuantizedModel
from hwdse.sensitivity import SENSITIVITIES, sensitivity
from hwdse.sensitivity.audit import Audit, audit, compared, within_noise
from hwdse.sensitivity.ranks import RESAMPLED, kendall, resampled, spearman
from hwdse.sensitivity.samples import Cell, cells_of, narrowed, random_allocations
from hwdse.task import batches_of
from hwdse.trace import trace
from tests.hwdse.test_sensitivity import Tiny, prepared, tiny

# Ranks


def test_correlations_are_scipys_ties_included() -> None:
    from scipy.stats import kendalltau, spearmanr

    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (rng.integers(0, 6, 15).astype(float) for _ in range(2))
        assert spearman(a, b[None])[0] == pytest.approx(spearmanr(a, b).statistic)
        assert kendall(a, b) == pytest.approx(kendalltau(a, b).statistic)


def test_a_constant_ranks_nothing() -> None:
    rising, flat = np.arange(5.0), np.ones(5)
    assert spearman(rising, np.array([rising, -rising, flat])) == pytest.approx([1, -1, 0])
    assert (spearman(flat, rising[None])[0], kendall(rising, flat)) == (0, 0)


def test_groups_are_drawn_whole_and_the_same_for_every_prediction() -> None:
    rng = np.random.default_rng(1)
    truth, guess = rng.random(12), rng.random(12)
    predictions = np.array([guess, guess**3, truth])  # the second ranks as the first
    whole = resampled(truth, predictions, [np.arange(12)], seed=0)
    assert whole.shape == (3, RESAMPLED)
    assert whole[0] == pytest.approx(spearman(truth, guess[None])[0])  # one group: nothing varies
    single = resampled(truth, predictions, list(np.arange(12)[:, None]), seed=0)
    assert np.array_equal(single[0], single[1])
    assert single[2] == pytest.approx(1)
    assert np.std(single[0]) > 0.05
    # pairs that agree inside and between: any draw of whole pairs keeps a perfect order
    pairs = [np.array([2 * i, 2 * i + 1]) for i in range(6)]
    assert resampled(np.sort(truth), np.sort(truth)[None], pairs, seed=0) == pytest.approx(1)


# Samples


def test_cells_are_the_open_widths_of_each_tensor() -> None:
    _, _, choices = tiny()
    pinned = choices.pin({"0": LayerFormat.of(8, 8)})
    cells = cells_of(pinned)
    assert [(c.layer, c.part, c.format.bits) for c in cells] == [
        (1, "weight", 2),
        (1, "weight", 4),
        (1, "activation", 2),
        (1, "activation", 4),
    ]
    for c in cells:
        option, widest = choices.options[c.option], choices.options[c.last]
        assert widest == LayerFormat.of(8, 8)
        assert option == (LayerFormat.of(c.format.bits, 8) if c.part == "weight" else LayerFormat.of(8, c.format.bits))


def test_a_cell_is_what_its_own_tensor_loses() -> None:
    _, _, choices = tiny()
    by_weight, by_input = {2: 5.0, 4: 2.0, 8: 1.0}, {2: 70.0, 4: 30.0, 8: 10.0}
    losses = np.array([[by_weight[o.weight.bits] + by_input[o.activation.bits] for o in choices.options]] * 2)
    found = {
        (c.part, c.format.bits): v for c, v in zip(cells_of(choices), narrowed(losses, cells_of(choices)), strict=True) if c.layer == 1
    }
    assert found == {("weight", 2): 4, ("weight", 4): 1, ("activation", 2): 60, ("activation", 4): 20}


def test_random_allocations_keep_pins_and_ties_and_reach_everything() -> None:
    names = tuple("abcde")
    options = grid((2, 4, 8), (2, 4, 8))
    choices = Choices(names, options, np.ones((5, 9), bool), (("a", "b"),), (("b", "c"),)).pin({"e": LayerFormat.of(4, 8)})
    found = random_allocations(choices, 400, seed=0)
    assert choices.permits(found).all()
    assert len(np.unique(found, axis=0)) == len(found) > 300
    for i in range(4):
        assert set(found[:, i]) == set(range(9))
    assert np.array_equal(found, random_allocations(choices, 400, seed=0))
    assert not np.array_equal(found, random_allocations(choices, 400, seed=1))


# Verdicts


def made(tables: dict[str, FloatArray], rises: FloatArray, seconds: dict[str, float] | None = None) -> Audit:
    """An audit of one layer whose N options are the allocations, and whose tables predict the given numbers."""
    options = grid((2,), range(2, 2 + len(rises)))
    choices = Choices(("layer",), options, np.ones((1, len(rises)), bool))
    # non-increasing in the width, so that making them monotone changes nothing
    losses = {name: loss_table(choices, values[None]) for name, values in tables.items()}
    cells = [Cell(0, "activation", o.activation, j, len(rises) - 1) for j, o in enumerate(options[:-1])]
    indices = np.arange(len(rises))[:, None]
    return compared(choices, cells, rises[:-1], indices, rises, losses, seconds or dict.fromkeys(tables, 1.0), seed=0)


FALLING = np.linspace(10, 1, 14)


def test_the_best_is_named_and_the_worse_told_apart() -> None:
    rng = np.random.default_rng(0)
    rises = FALLING.copy()
    poor = np.sort(rng.random(14))[::-1] + 1  # falling as well: ranks as well as the best
    flat = np.ones(14)
    found = made({"flat": flat, "good": FALLING**2, "poor": poor}, rises)
    assert [one.method for one in found.methods] == ["good", "poor", "flat"]
    good, same, none = found.methods
    assert (good.by_allocation.spearman, same.by_allocation.kendall, none.by_allocation.spearman) == (pytest.approx(1), pytest.approx(1), 0)
    assert good.by_cell is not None
    assert good.by_cell.spearman == pytest.approx(1)
    assert within_noise(good, same, 2)
    assert not within_noise(good, none, 2)
    assert found.verdict == (
        "good ranks whole allocations best (Spearman 1.00, 95 % interval 1.00 to 1.00); poor is within noise of it at 14 allocations; "
        "flat ranks worse by more than noise."
    )


def test_measured_is_no_rival_of_the_others() -> None:
    found = made({"flat": np.ones(14), "fit": FALLING, "measured": FALLING}, FALLING)
    assert re.fullmatch(
        r"(fit|measured) ranks whole allocations best .*(fit|measured) is within noise of it at 14 allocations; flat ranks worse .*",
        found.verdict,
    )
    ahead = made({"flat": np.ones(14), "step": np.repeat([9.0, 1.0], 7), "measured": FALLING}, FALLING)
    assert ahead.verdict.startswith("measured ranks whole allocations best")
    assert "Of the others, step ranks them best" in ahead.verdict
    assert next(one for one in ahead.methods if one.method == "measured").by_cell is None


def test_many_rivals_ask_for_more_than_one_does() -> None:
    """A lead that 3 % of the draws turn round is clear of no rival, one that 1 % turn round of two but not of three."""
    found = made({"a": FALLING, "b": FALLING}, FALLING)
    best, other = (replace(one, draws=np.zeros(RESAMPLED)) for one in found.methods)
    ahead = {turned: replace(best, draws=np.where(np.arange(RESAMPLED) < turned * RESAMPLED, -0.1, 0.1)) for turned in (0.03, 0.01)}
    assert within_noise(ahead[0.03], other, 1)
    assert [within_noise(ahead[0.01], other, rivals) for rivals in (1, 2, 3)] == [False, False, True]


def test_few_samples_cannot_tell_apart() -> None:
    rises = np.array([5.0, 4.0, 3.0, 2.5])
    found = made({"a": np.array([9.0, 8.0, 7.0, 6.0]), "b": np.array([9.0, 9.0, 7.0, 6.0])}, rises)
    assert "b is within noise of it at 4 allocations" in found.verdict


# The whole


def test_measurements_are_those_of_the_quantised_network() -> None:
    task, model, choices = tiny()

    def make() -> QuantizedModel:
        return prepared(task)[1]

    said: list[tuple[str, int, int]] = []
    found = audit(make, task, choices, count=6, seed=3, say=lambda *words: said.append(words))
    assert sorted(one.method for one in found.methods) == sorted(SENSITIVITIES)
    assert all(one.seconds > 0 for one in found.methods)
    data = list(batches_of(task, "calibration"))

    def loss(network: nn.Module) -> float:
        with torch.no_grad():
            return float(np.mean([float(task.loss(network(*x), y)) for x, y in data]))

    base = loss(task.model())
    for indices, rise in zip(found.allocations, found.measured_allocations, strict=True):
        model.observe(data)
        model.set(choices.allocation(indices), calibrate=True)
        assert rise == pytest.approx(loss(model.network) - base, abs=1e-6)
    for one in found.methods:
        table = sensitivity(one.method, make(), task, choices)
        assert one.allocations == pytest.approx(table.totals(found.allocations), rel=1e-5)
    steps = {what for what, _, _ in said}
    assert steps >= {"sensitivities (measured)", "sensitivities (hessian)", "measuring allocations"}
    assert all(0 <= done <= total for _, done, total in said)


def test_measured_cells_keep_their_sign() -> None:
    """Clipping hides what noise does; the truth that methods are held against is the loss as it is."""

    class Solved(Tiny):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            return -((output - target) ** 2).mean()  # any clipping lowers it

    task, _, choices = prepared(Solved())
    found = audit(lambda: prepared(task)[1], task, choices, methods=["fit"], count=5)
    assert (found.measured_cells < 0).any()
    assert [one.method for one in found.methods if one.by_cell is None] == ["measured"]


def test_shared_weights_are_shared_in_the_truth_too() -> None:
    class Shared(Tiny):
        def model(self) -> nn.Module:
            torch.manual_seed(0)
            first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            second.weight = first.weight
            return nn.Sequential(first, second, nn.Linear(3, 1, bias=False))

        def batches(self, split: str, seed: int) -> list[tuple[Tensor, Tensor]]:
            return [(x, self.model()(x).detach()) for x, _ in super().batches(split, seed)]

    task, _, choices = prepared(Shared())
    found = audit(lambda: prepared(task)[1], task, choices, methods=[], count=8)
    (only,) = found.methods
    weights = np.array([c.part == "weight" and c.format.bits == 2 and c.layer < 2 for c in found.cells])
    assert only.cells[weights] == pytest.approx(found.measured_cells[weights], rel=1e-3)
    assert (found.measured_cells[weights] > 0).all()


def test_nothing_to_rank() -> None:
    task, _, choices = tiny()
    with pytest.raises(UsageError, match="needs 3 tensors and widths to narrow and 3 different allocations, got 0 and 1; pin fewer"):
        audit(lambda: tiny()[1], task, choices.pin(dict.fromkeys(choices.layers, LayerFormat.of(8, 8))))


def test_an_allocation_that_breaks_the_network() -> None:
    class Spoilt(QuantizedModel):
        """Finite with one tensor quantised, not with all of them."""

        def set(self, *args: object, **kwargs: object) -> None:
            super().set(*args, **kwargs)  # type: ignore[arg-type]
            with torch.no_grad():
                self.weight_of("0").fill_(float("nan"))

    task, _, choices = tiny()
    graph = trace(task.model(), task.example_inputs())
    with pytest.raises(TrainingDiverged, match=r"the calibration loss is not finite under the allocation .*w"):
        audit(lambda: Spoilt(task.model(), graph), task, choices, methods=["fit"], count=4)
