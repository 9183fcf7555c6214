"""Offset and scale are found where they are there to be found, and their error is that of networks left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse.costmodels import load_accelerator
from hwdse.costmodels.calibration import Calibrated, calibrate, with_calibration
from hwdse.costmodels.starting_file import new_accelerator
from hwdse.errors import UsageError

SUMS = np.array([1e-3, 2e-3, 5e-3, 9e-3])


@given(st.floats(0, 1e-2), st.floats(0.1, 10))
def test_an_exact_law_is_found_without_error(offset: float, scale: float) -> None:
    found = calibrate(SUMS, offset + scale * SUMS)
    assert (found.offset, found.scale) == (pytest.approx(offset, abs=1e-9), pytest.approx(scale, rel=1e-6))
    assert found.error == pytest.approx(0, abs=1e-6)


def test_an_offset_below_zero_is_taken_as_zero() -> None:
    found = calibrate(SUMS, 2 * SUMS - 1e-3)
    assert found.offset == 0
    ratio = SUMS / (2 * SUMS - 1e-3)
    assert found.scale == pytest.approx(ratio.sum() / (ratio**2).sum())


def test_the_error_is_that_of_the_network_left_out() -> None:
    times = np.array([1.0, 2.0, 4.0]) * 1e-3
    found = calibrate(SUMS[:3], times)
    slope = (times[2] - times[1]) / (SUMS[2] - SUMS[1])  # two networks are fitted exactly
    assert found.errors[0] == pytest.approx((times[1] + slope * (SUMS[0] - SUMS[1])) / times[0] - 1)


@pytest.mark.parametrize(
    ("sums", "times", "sentence"),
    [
        ([1, 2], [1, 2], "3 or more measured networks, got 2"),
        ([1, 1, 1], [1, 2, 3], "the same modelled time"),
        ([1, 2, 3], [3, 2, 0.5], "do not rise with the modelled ones"),
        ([1, 2, 3], [1, 2, float("nan")], "finite times above 0"),
        ([1, 2, 0], [1, 2, 3], "finite times above 0"),
    ],
)
def test_what_cannot_be_fitted_is_said(sums: list[float], times: list[float], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        calibrate(sums, times)


@pytest.mark.parametrize("like", ["npu", "mpic"])
def test_a_file_keeps_its_comments_and_costs_change_as_stated(like: str, tmp_path: Path) -> None:
    path = new_accelerator("mine", like, tmp_path)[0]
    text = path.read_text()
    written = with_calibration(text, Calibrated(1e-3, 2.0, np.array([0.1, -0.2, 0.0])), 'by "hand"')
    path.write_text(written)
    keys = load_accelerator(path).keys
    assert (keys.calibration.offset_s, keys.calibration.scale, keys.calibration.networks) == (1e-3, 2.0, 3)
    assert keys.calibration.error == pytest.approx(0.1)
    assert keys.calibration.note == 'by "hand"'
    assert written.count("[calibration]") == 1
    assert [x for x in text.splitlines() if "#" in x] == [x for x in written.splitlines() if "#" in x and "leave one out" not in x]
