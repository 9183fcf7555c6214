"""The knee of a front: where it bends most, by its distance from the straight line between its ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..costs import FloatArray

LEAST = 1e-9  # distance above which a point lies inside, rounding apart
KNEE_METHOD = "Kneedle: the largest distance to the straight line between the ends of the front, both axes scaled to 0..1"


def knee_of(costs: Sequence[float], losses: Sequence[float]) -> int | None:
    """Position of the point that lies furthest inside, of equal ones the first; None below three points, or where none lies inside."""
    distances = chord_distances(costs, losses)
    best = int(np.argmax(distances)) if len(distances) > 2 else 0
    return best if len(distances) > 2 and distances[best] > LEAST else None


def chord_distances(costs: Sequence[float], losses: Sequence[float]) -> FloatArray:
    """How far each point lies inside of the chord between the cheapest and the best, with both axes scaled to 0..1.

    ``d_i = 1 - x_i - y_i`` with ``x = (cost - min) / (max - min)`` and ``y`` the same of the loss: 0 on the chord between (0, 1) and
    (1, 0), at most 1, negative on the far side. The perpendicular distance is d / sqrt(2); the order is the same.

    Args:
        costs, losses: (N,) of the points of one front, both minimised.

    Returns:
        (N,) distances; zeros where a side does not vary: such a front has no bend.

    Reference: V. Satopää et al., "Finding a Kneedle in a Haystack", ICDCSW 2011, without its smoothing and its threshold.
    """
    x, y = np.asarray(costs, float), np.asarray(losses, float)
    if not len(x) or x.min() == x.max() or y.min() == y.max():
        return np.zeros(len(x))
    distances: FloatArray = 1 - (x - x.min()) / (x.max() - x.min()) - (y - y.min()) / (y.max() - y.min())
    return distances
