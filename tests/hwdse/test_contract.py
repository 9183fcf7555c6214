"""What counts as one score a sample, and scores that no metric can have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hwdse.contract import scores_of
from hwdse.errors import TaskError
from hwdse.metrics import Metric
from hwdse.soundness import unlikely

ROWS = torch.zeros(2, 4)


def task(count: int) -> Any:
    return SimpleNamespace(name="some", scores=lambda output, target: torch.ones(count))


PADDED = torch.tensor([[5, 6, 0, 0], [7, 8, 9, 0]])
BOXES = [{"boxes": torch.zeros(2, 4), "labels": torch.ones(2)}, {"boxes": torch.zeros(3, 4), "labels": torch.ones(3)}]


@pytest.mark.parametrize(
    ("target", "count"),
    [
        (torch.tensor([0, 1]), 2),  # a score a row
        (PADDED, 8),  # each token
        (PADDED, 5),  # each that is no padding
        (PADDED, 3),  # of next tokens, those that are none
        (torch.tensor([[-100, 4], [3, -100]]), 2),
        (torch.tensor([[-100, 4], [-100, -100]]), 1),
        (torch.full((2, 3), -100), 0),
        (torch.tensor([[True, False], [True, True]]), 3),
        (torch.tensor([[255, 1], [2, 255]]), 2),
        (BOXES, 5),  # each box
        (torch.zeros(1, 7), 1),  # one graph
    ],
)
def test_samples_are_rows_or_what_counts_of_a_target(target: Any, count: int) -> None:
    assert len(scores_of(task(count), None, (ROWS,), target)) == count


@pytest.mark.parametrize(
    ("target", "count"),
    [
        (torch.tensor([0, 1]), 1),
        (torch.tensor([0, 0]), 1),
        (torch.tensor([2, 1]), 0),
        (PADDED, 1),
        (PADDED, 7),
        (BOXES, 1),
        (torch.zeros(2), 1),
    ],
)
def test_a_mean_over_the_batch_is_no_score_a_sample(target: Any, count: int) -> None:
    with pytest.raises(TaskError, match="one number per sample"):
        scores_of(task(count), None, (ROWS,), target)


@pytest.mark.parametrize(
    ("better", "value", "refused"),
    [
        ("higher", 0.5, False),
        ("higher", -0.2, False),
        ("higher", 34.375, True),
        ("lower", 1.02, False),
        ("lower", -0.1, True),
        ("higher", float("nan"), True),
    ],
)
def test_a_fraction_is_bounded_on_the_side_of_the_best(better: Any, value: float, refused: bool) -> None:
    assert bool(unlikely(Metric("score", "fraction", better), value)) is refused
