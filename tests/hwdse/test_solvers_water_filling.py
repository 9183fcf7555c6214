"""Reverse water-filling against scipy's constrained minimiser and against the conditions of optimality."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, minimize

from hwdse.errors import InfeasibleBudget, UsageError
from hwdse.solvers import reverse_water_filling


def noise(scores: np.ndarray, ranges: np.ndarray, bits: np.ndarray) -> float:
    return float((scores * ranges**2 / (2.0**bits - 1) ** 2).sum())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("average", [2.5, 4.0, 6.0])
def test_against_scipy(seed: int, average: float) -> None:
    rng = np.random.default_rng(seed)
    scores, ranges = rng.lognormal(0, 1.5, 7), rng.lognormal(0, 0.5, 7)
    bits = reverse_water_filling(scores, ranges, average)
    scale = noise(scores, ranges, np.full(7, average))
    reference = minimize(
        lambda b: noise(scores, ranges, b) / scale, np.full(7, average), method="SLSQP", bounds=[(2, 8)] * 7,
        constraints=LinearConstraint(np.full(7, 1 / 7), ub=average), options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    assert noise(scores, ranges, bits) <= noise(scores, ranges, np.clip(reference.x, 2, 8)) * (1 + 1e-6)
    np.testing.assert_allclose(bits, reference.x, atol=5e-3)


@given(
    st.lists(st.tuples(st.floats(1e-12, 1e12), st.floats(1e-3, 1e3)), min_size=1, max_size=20),
    st.floats(2, 9),
)
@settings(deadline=None)
def test_conditions_of_optimality(tensors: list[tuple[float, float]], average: float) -> None:
    """Inside the bounds every derivative is the same; at the lower bound it is smaller, at the upper larger."""
    scores, ranges = (np.array(column) for column in zip(*tensors, strict=True))
    bits = reverse_water_filling(scores, ranges, average)
    assert (bits >= 2).all()
    assert (bits <= 8).all()
    assert bits.mean() <= average * (1 + 1e-12)
    if average < 8:
        assert bits.mean() == pytest.approx(average, abs=1e-6)
    u = 2.0**bits
    slope = np.log(2 * np.log(2) * scores * ranges**2) + bits * np.log(2) - 3 * np.log(u - 1)
    inner = (bits > 2 + 1e-9) & (bits < 8 - 1e-9)
    if inner.any():
        level = slope[inner].mean()
        assert np.ptp(slope[inner]) < 1e-6
        assert (slope[bits <= 2 + 1e-9] <= level + 1e-6).all()
        assert (slope[bits >= 8 - 1e-9] >= level - 1e-6).all()


def test_equal_tensors_share_the_bits_and_scale_does_not_matter() -> None:
    np.testing.assert_allclose(reverse_water_filling(np.full(4, 1e-9), np.ones(4), 3.3), 3.3)
    scores = np.array([1.0, 10.0, 100.0])
    for scale in (1e-12, 1e12):
        np.testing.assert_allclose(
            reverse_water_filling(scores * scale, np.ones(3), 4.0), reverse_water_filling(scores, np.ones(3), 4.0), rtol=1e-9
        )


def test_high_rate_is_half_a_bit_per_factor_of_two_in_variance() -> None:
    """Where 2^b >> 1 the classic rule holds: b rises by log2(s R^2) / 2."""
    bits = reverse_water_filling([1.0, 4.0**3], [1.0, 1.0], 14.5, lo=1, hi=30)
    assert bits[1] - bits[0] == pytest.approx(3.0, abs=1e-3)


def test_tensors_that_gain_nothing_stay_at_the_lower_bound() -> None:
    bits = reverse_water_filling([0.0, 1.0, 1.0], [1.0, 1.0, 0.0], 4.0)
    np.testing.assert_allclose(bits, [2.0, 8.0, 2.0])
    np.testing.assert_allclose(reverse_water_filling([0.0], [1.0], 5.0), [2.0])


def test_an_average_below_the_lower_bound_is_infeasible() -> None:
    with pytest.raises(InfeasibleBudget, match=r"average_bits <= 1\.5 cannot be met: no tensor goes below 2 bits") as caught:
        reverse_water_filling([1.0], [1.0], 1.5)
    assert (caught.value.metric, caught.value.limit, caught.value.reachable) == ("average_bits", 1.5, 2.0)


@pytest.mark.parametrize(
    ("scores", "ranges", "lo", "hi", "message"),
    [
        ([1.0, 2.0], [1.0], 2, 8, "two vectors of one length"),
        ([], [], 2, 8, "at least 1"),
        ([-1.0], [1.0], 2, 8, "must be finite and not negative"),
        ([np.nan], [1.0], 2, 8, "must be finite and not negative"),
        ([1.0], [1.0], 5, 3, "0 < lo <= hi"),
        ([1.0], [1.0], 0, 3, "0 < lo <= hi"),
    ],
)
def test_malformed_input(scores: list[float], ranges: list[float], lo: float, hi: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        reverse_water_filling(scores, ranges, 4.0, lo, hi)
