"""Limits of ``pick`` that are relative to a uniform allocation."""

from __future__ import annotations

import numpy as np
import pytest

from hwdse.choices import Choices
from hwdse.costs import CostTable
from hwdse.errors import UsageError
from hwdse.formats import LayerFormat, grid
from hwdse.metrics import WEIGHTS, Metric
from hwdse.records import SweepRecord
from hwdse.reports.limits import parse_limit, relative


class Record:
    """What reading a limit looks at."""

    score = Metric("accuracy", "fraction", "higher")

    def __init__(self, *, tables: bool) -> None:
        options = grid((4, 8), (8,))
        self.choices = Choices(("a", "b"), options, np.ones((2, 2), bool))
        cells = np.array([[float(o.weight.bits) for o in options]] * 2)
        self.tables = {"weights": CostTable.one_row(WEIGHTS, ("a", "b"), options, cells, 4.0)} if tables else {}

    def metric(self, name: str) -> Metric:
        return {"weights": WEIGHTS, "accuracy": self.score}[name]


def record(*, tables: bool = True) -> SweepRecord:
    return Record(tables=tables)  # type: ignore[return-value]  # a record enough


@pytest.mark.parametrize("text", ["weights = 60% of w8a8", "weights <= 60 % of w8a8", "weights <= 60.0% of W8A8"])
def test_a_maximum_relative_to_a_uniform_allocation(text: str) -> None:
    assert relative(text)
    assert LayerFormat.parse("w8a8") in record().choices.options  # type: ignore[union-attr]
    assert parse_limit(text, record(), upper=True).value == pytest.approx(0.6 * (8 + 8 + 4))


def test_what_cannot_be_resolved_is_said() -> None:
    with pytest.raises(UsageError, match="the run has no table of that cost; write the limit as a quantity"):
        parse_limit("weights = 60% of w8a8", record(tables=False), upper=True)
    with pytest.raises(UsageError, match="'weights <= x% of w8a8': 'x' is not a percentage"):
        parse_limit("weights = x% of w8a8", record(), upper=True)
    assert not relative("accuracy >= 97 %")
