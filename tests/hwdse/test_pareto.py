from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwdse.metrics import LATENCY, WEIGHTS, Metric
from hwdse.pareto import ParetoFront, growth, hypervolume, nondominated
from hwdse.records import TrialResult

ACCURACY = Metric("accuracy", "fraction", "higher")


def clouds(dims: int, most: int = 12) -> st.SearchStrategy[np.ndarray]:
    """Points on a small grid: ties and duplicates are common."""
    point = st.tuples(*[st.integers(0, 5)] * dims)
    return st.lists(point, min_size=1, max_size=most).map(lambda p: np.array(p, float))


@given(st.integers(1, 4).flatmap(clouds))
def test_nondominated_by_definition(points: np.ndarray) -> None:
    keep = nondominated(points)
    for i, point in enumerate(points):
        beaten = any((q <= point).all() and (q < point).any() for q in points)
        twin = any((q == point).all() for q in points[:i])
        assert keep[i] == (not beaten and not twin)


def test_points_that_are_not_finite_are_left_out() -> None:
    points = np.array([[1.0, 2.0], [np.nan, 0.0], [0.0, np.inf], [-np.inf, 9.0]])
    assert nondominated(points).tolist() == [True, False, False, False]
    assert nondominated(np.zeros((0, 2))).tolist() == []


@given(st.integers(1, 4).flatmap(clouds), st.integers(1, 7))
@settings(deadline=None)
def test_hypervolume_against_counted_cells(points: np.ndarray, corner: int) -> None:
    """On an integer grid the volume is the number of unit cells that some point dominates."""
    dims = points.shape[1]
    cells = np.array(list(itertools.product(range(corner), repeat=dims)), float)
    counted = sum(bool((points <= cell).all(axis=1).any()) for cell in cells)
    assert hypervolume(points, np.full(dims, float(corner))) == pytest.approx(counted)


@pytest.mark.parametrize("dims", [2, 3])
def test_hypervolume_against_monte_carlo(dims: int) -> None:
    rng = np.random.default_rng(dims)
    points, samples = rng.random((25, dims)), rng.random((200_000, dims))
    hit = np.zeros(len(samples), bool)
    for point in points:
        hit |= (point <= samples).all(axis=1)
    assert hypervolume(points, np.ones(dims)) == pytest.approx(hit.mean(), abs=4e-3)


def test_hypervolume_of_known_shapes() -> None:
    assert hypervolume(np.array([[0.0, 0.0]]), np.array([2.0, 3.0])) == 6.0
    assert hypervolume(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([2.0, 2.0])) == 3.0
    assert hypervolume(np.array([[2.0, 0.0]]), np.array([2.0, 2.0])) == 0.0
    assert hypervolume(np.zeros((0, 2)), np.ones(2)) == 0.0
    # n points on x + y = 1: 1 - (n - 1 staircase gaps)
    x = np.linspace(0, 1, 11)
    assert hypervolume(np.stack([x, 1 - x], axis=1), np.ones(2)) == pytest.approx(0.5 - 0.05)


@given(clouds(3), clouds(3))
def test_more_points_never_lower_the_volume_and_order_does_not_matter(one: np.ndarray, two: np.ndarray) -> None:
    corner = np.full(3, 6.0)
    both = np.concatenate([one, two])
    assert hypervolume(both, corner) >= hypervolume(one, corner) - 1e-9
    assert hypervolume(both[::-1], corner) == pytest.approx(hypervolume(both, corner))


def trial(number: int, state: str = "complete", **measures: float) -> TrialResult:
    return TrialResult(number, {}, state, None, measures)  # type: ignore[arg-type]


def test_the_front_of_trials() -> None:
    trials = [
        trial(0, latency=3.0, accuracy=0.9),
        trial(1, latency=1.0, accuracy=0.7),
        trial(2, latency=2.0, accuracy=0.6),  # beaten by 1
        trial(3, latency=2.0, accuracy=0.8),
        trial(4, latency=0.5, accuracy=math.nan),
        trial(5, latency=math.inf, accuracy=0.99),  # this accelerator cannot run it
        trial(6, "failed", latency=0.1, accuracy=0.99),
        trial(7, "interrupted"),
        trial(8, accuracy=0.99),
        trial(9, latency=1.0, accuracy=0.7),  # the same as 1
    ]
    front = ParetoFront.of(trials, [LATENCY, ACCURACY])
    assert [t.number for t in front.trials] == [1, 3, 0]
    assert [t.number for t in front.dominated] == [2, 9]
    np.testing.assert_array_equal(front.points(), [[1.0, 0.7], [2.0, 0.8], [3.0, 0.9]])
    # corner at 4 s and 50 %: widths 1, 1, 1 under 20, 30 and 40 points of accuracy
    assert front.hypervolume([4.0, 0.5]) == pytest.approx(0.2 + 0.3 + 0.4)


def test_a_front_of_nothing() -> None:
    front = ParetoFront.of([trial(0, "failed")], [LATENCY, WEIGHTS])
    assert front.trials == front.dominated == ()
    assert front.points().shape == (0, 2)
    assert front.hypervolume([1.0, 1.0]) == 0.0


def test_hypervolume_grows_with_each_point_that_wins_and_with_no_other() -> None:
    def trial(number: int, score: float, cost: float, state: str = "complete") -> TrialResult:
        return TrialResult(number, {}, state, measures={"weights": cost, "accuracy": score})  # type: ignore[arg-type]

    trials = [trial(0, 0.5, 5), trial(1, 0.4, 6), trial(2, 0.9, 4), trial(3, 0.1, 14), trial(4, 0.0, 1, "failed"), trial(5, 0.7, math.inf)]
    shares = growth(trials, (WEIGHTS, ACCURACY), range(7))
    # worst: cost 14, score 0.1; spans 10 and 0.8; a hundredth beyond them counts
    one = (0.9 + 0.01) * (0.5 + 0.01)
    assert shares == pytest.approx(np.array([0, one, one, 1.01**2, 1.01**2, 1.01**2, 1.01**2]) / 1.01**2)
    assert growth([], (WEIGHTS, ACCURACY), (0,)).tolist() == [0]
    assert growth(trials[4:], (WEIGHTS, ACCURACY), (1, 2)).tolist() == [0, 0]
