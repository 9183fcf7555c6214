from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse.choices import Choices
from hwdse.constraints import Budget, Constraint, find_metric, parse_budget, parse_constraint
from hwdse.costs import CostTable
from hwdse.errors import UnknownName, UsageError
from hwdse.formats import LayerFormat, grid
from hwdse.metrics import AVERAGE_BITS, LATENCY, WEIGHTS, Metric

OPTIONS = grid([4, 8], [8])
CHOICES = Choices(("a", "b"), OPTIONS, np.ones((2, 2), bool))
T4, NPU = Metric("latency", "s", on="t4"), Metric("latency", "s", on="npu-1.5")


def table(metric: Metric, low: float, high: float) -> CostTable:
    return CostTable.one_row(metric, CHOICES.layers, OPTIONS, np.array([[low, high]] * 2))


TABLES = [table(T4, 1e-3, 2e-3), table(NPU, 3e-3, np.inf), table(WEIGHTS, 512.0, 1024.0), table(AVERAGE_BITS, 2.0, 4.0)]


@pytest.mark.parametrize(
    ("text", "key", "limit"),
    [
        ("latency@t4 <= 3 ms", "latency@t4", 3e-3),
        ("latency@npu-1.5<=3ms", "latency@npu-1.5", 3e-3),
        ("  weights   <=  1 KiB ", "weights", 1024.0),
        ("weights ≤ 1 KiB", "weights", 1024.0),
        ("weights <= 50% of w8a8", "weights", 1024.0),
        ("weights <= 50 % of W8A8", "weights", 1024.0),
        ("weights <= 125% of w4a8", "weights", 1280.0),
        ("latency@t4 <= 1e2% of w8a8", "latency@t4", 4e-3),
        ("average_bits <= 4 bit", "average_bits", 4.0),
        ("weights <= 0 B", "weights", 0.0),
    ],
)
def test_read(text: str, key: str, limit: float) -> None:
    found = parse_constraint(text, TABLES, CHOICES)
    assert found.metric.key == key
    assert found.limit == pytest.approx(limit, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a budget; write for example"),
        ("latency", "'latency' is not a budget"),
        ("3 ms", "is not a budget"),
        ("weights < 1 KiB", "a budget is an upper limit written with <=, got '<'"),
        ("weights =< 1 KiB", "got '=<'"),
        ("weights >= 1 KiB", "got '>='"),
        ("weights = 1 KiB", "got '='"),
        ("weights == 1 KiB", "got '=='"),
        ("latency <= 3 ms", "'latency' is known for several accelerators; say which: latency@t4, latency@npu-1.5"),
        ("weigths <= 1 KiB", "unknown metric 'weigths'; did you mean 'weights'?"),
        ("energy <= 1 mJ", "unknown metric 'energy'. Known: average_bits, latency@npu-1.5, latency@t4, weights"),
        ("latency@t5 <= 1 ms", "unknown metric 'latency@t5'; did you mean 'latency@t4'?"),
        ("weights <= 1", "weights is measured in GiB, MiB, KiB, B, GB, MB, kB; got no unit"),
        ("weights <= 1 ms", "got the unit 'ms'"),
        ("weights <= much", "'much' is not a quantity of weights"),
        ("weights <= -1 B", "a limit must be finite and not negative; got -1.0 for weights"),
        ("weights <= 50%", "a relative limit names its reference; write for example 'weights <= 50% of w8a8'"),
        ("weights <= 50% of everything", "a relative limit names its reference"),
        ("weights <= half% of w8a8", "'half' is not a percentage"),
        ("weights <= 0% of w8a8", "the percentage must be positive, got 0"),
        ("weights <= -5% of w8a8", "the percentage must be positive, got -5"),
        ("weights <= nan% of w8a8", "'nan' is not a percentage"),
        ("weights <= inf% of w8a8", "'inf' is not a percentage"),
        ("weights <= 50% of w5a5", "the reference cannot be costed: w5a5 is not allowed for layer 'a'; allowed there: w4a8, w8a8"),
        ("weights <= 50% of w99a8", "weight width must lie in 1..32 bits, got 99"),
        ("latency@npu-1.5 <= 50% of w8a8", "npu-1.5 cannot run the reference w8a8; choose another"),
    ],
)
def test_what_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_constraint(text, TABLES, CHOICES)
    assert message in str(caught.value)


def test_a_relative_limit_keeps_pinned_layers_at_their_pins() -> None:
    pinned = CHOICES.pin({"b": LayerFormat.of(8, 8)})
    assert parse_constraint("weights <= 100% of w4a8", TABLES, pinned).limit == 512.0 + 1024.0


def test_a_relative_limit_reads_a_table_in_another_order() -> None:
    turned = Choices(("b", "a"), OPTIONS[::-1], np.ones((2, 2), bool))
    assert parse_constraint("weights <= 100% of w4a8", TABLES, turned).limit == 1024.0


def test_the_bare_name_of_a_metric_means_the_only_accelerator_that_has_it() -> None:
    assert parse_constraint("latency <= 3 ms", TABLES[:1], CHOICES).metric == T4
    assert find_metric("latency", [LATENCY, T4]) == LATENCY  # an exact key wins
    with pytest.raises(UnknownName):
        find_metric("latency", [WEIGHTS])


def test_a_budget_keeps_every_constraint() -> None:
    budget = parse_budget(["weights <= 1 KiB", "weights <= 2 KiB", "latency@t4 <= 3 ms"], TABLES, CHOICES)
    assert len(budget) == 3
    assert str(budget) == "weights <= 1 KiB, weights <= 2 KiB, latency@t4 <= 3 ms"
    assert str(Budget()) == "no limit"


@pytest.mark.parametrize("limit", [-1.0, float("nan"), float("inf")])
def test_limits_that_are_none(limit: float) -> None:
    with pytest.raises(UsageError, match="a limit must be finite and not negative"):
        Constraint(WEIGHTS, limit)


@given(st.floats(1e-12, 1e15), st.floats(-1e-6, 1e-6))
def test_holds_forgives_a_rounding_and_no_more(limit: float, part: float) -> None:
    constraint = Constraint(WEIGHTS, limit)
    assert constraint.holds(limit)
    assert constraint.slack(limit) == 0
    if abs(part) > 2e-12:
        assert constraint.holds(limit * (1 + part)) == (part < 0)
