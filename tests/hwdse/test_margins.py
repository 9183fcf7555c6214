"""A budget is met only where the cost is known better than the room that it leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwdse.costs import CostTable
from hwdse.formats import LayerFormat
from hwdse.margins import standing
from hwdse.metrics import LATENCY
from hwdse.storage import tables_from_bytes, tables_to_bytes

OPTIONS = (LayerFormat.of(4, 4), LayerFormat.of(8, 8))


@pytest.mark.parametrize(
    ("slack", "error", "expected"),
    [
        (1.0, 0.5, "met"), (0.5, 0.5, "met"), (0.4, 0.5, "at risk"), (0.0, 0.0, "met"), (-0.1, 0.0, "over"), (float("nan"), 0.0, "over"),
        (1.0, None, "error unknown"), (1.0, float("nan"), "error unknown"), (-1.0, None, "over"),
    ],
)  # fmt: skip
def test_standing(slack: float, error: float | None, expected: str) -> None:
    assert standing(slack, error) == expected


def table(errors: list[list[float]] | None, whole: float | None = None) -> CostTable:
    cells = np.array([[1.0, 2.0], [3.0, 5.0]])
    made = CostTable.one_row(LATENCY, ["a", "b"], OPTIONS, cells, 4.0, "analytic")
    return replace(made, errors=None if errors is None else np.array(errors), whole_error=whole)


def test_errors_of_cells_add_up_as_if_all_erred_the_same_way() -> None:
    made = table([[0.1, 0.2], [0.3, np.nan]])
    assert made.error(np.array([1, 0])) == pytest.approx(0.5)
    assert np.isnan(made.error(np.array([0, 1])))
    assert table(None).error(np.array([1, 1])) == 0


def test_an_error_found_on_whole_networks_stands_for_those_of_cells() -> None:
    assert table([[0.1, 0.2], [0.3, np.nan]], 0.1).error(np.array([0, 1])) == pytest.approx(0.1 * (4 + 1 + 5))


def test_errors_are_kept_on_disk_and_follow_the_options() -> None:
    made = table([[0.1, 0.2], [0.3, np.nan]], 0.1)
    back = tables_from_bytes(tables_to_bytes({"x": made}))["x"]
    assert back.whole_error == 0.1
    assert back.errors is not None
    assert np.array_equal(back.errors, made.errors, equal_nan=True)
    assert tables_from_bytes(tables_to_bytes({"x": table(None)}))["x"].errors is None
