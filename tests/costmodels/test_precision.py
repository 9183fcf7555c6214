from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse.bits import BitWidths, grid
from hwdse.costmodels.precision import Precision
from hwdse.errors import UsageError

ANY = Precision("native", (2, 4, 8), (2, 4, 8))
EQUAL = Precision("native", (4, 8), (4, 8), "equal")


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from(["any", "equal", "w_le_a"]))
def test_what_runs_is_the_narrowest_native_pair_at_least_as_wide(weight: int, activation: int, pairs: str) -> None:
    precision = Precision("fusion", (2, 4, 6, 8), (3, 4, 8), pairs)
    chosen, run = BitWidths(weight, activation), precision.executed(BitWidths(weight, activation))
    wide = [p for p in precision.native if p.weight >= weight and p.activation >= activation]
    assert (run is None) == (not wide)
    if run is not None:
        assert run.weight + run.activation == min(p.weight + p.activation for p in wide)
        assert chosen not in precision.native or run == chosen


def test_tensor_cores_run_mixed_pairs_at_the_wider() -> None:
    assert EQUAL.executed(BitWidths(4, 8)) == BitWidths(8, 8)
    assert EQUAL.executed(BitWidths(2, 3)) == BitWidths(4, 4)
    assert EQUAL.executed(BitWidths(9, 4)) is None


def test_lists_and_weights_at_most_as_wide() -> None:
    listed = Precision("native", (4, 8), (8, 16), (BitWidths(4, 8), BitWidths(8, 16)))
    assert listed.executed(BitWidths(8, 8)) == BitWidths(8, 16)
    assert BitWidths(8, 4) not in Precision("native", (4, 8), (4, 8), "w_le_a").native


def test_error_refuses_what_is_not_native() -> None:
    strict = Precision("native", (4, 8), (8,), unsupported="error")
    assert strict.executed(BitWidths(3, 8)) is None
    assert strict.sentence(grid([3, 4], [8])) == "it cannot run w3a8"


def test_bit_serial_runs_widths_between() -> None:
    serial = Precision("bit_serial", (2, 8), (2, 8))
    assert serial.executed(BitWidths(5, 3)) == BitWidths(5, 3)
    assert serial.executed(BitWidths(1, 3)) == BitWidths(2, 8)
    assert serial.executed(BitWidths(9, 3)) is None


def test_the_sentence_names_examples() -> None:
    assert ANY.sentence(grid([4], [4])) == ""
    assert ANY.sentence(grid([3, 4], [8])) == "1 of 2 pairs are not native and run as the next wider one: w3a8 as w4a8"


def test_no_pair_is_an_error() -> None:
    with pytest.raises(UsageError, match="no pair of the listed weight and activation widths"):
        Precision("native", (4,), (8,), "equal")
