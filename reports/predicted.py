"""The front that the tables promise before anything is measured: the smallest expected loss at each cost."""

from __future__ import annotations

import numpy as np

from ..costs import CostTable, FloatArray


def predicted_front(cost: CostTable, loss: CostTable) -> FloatArray:
    """(V, 2) costs and expected losses, the cheapest first: no widths have a smaller expected loss at that cost.

    Both tables are sums over layers, so the lower convex hull of (cost, loss) over all allocations is the sum of the layers' hulls:
    their edges one after another, the steepest first. Between two points the line is a bound, too. Ties between layers are not in a
    record and not in this: they can only raise it. Options of infinite cost or loss (the others of a pinned layer) take no part.

    Empty where a table is not one sum over layers (several rows, edges), the layers differ, or one has no option.
    """
    whole = all(t.rows == 1 and t.edges is None for t in (cost, loss))
    if not whole or set(cost.layers) != set(loss.layers):
        return np.zeros((0, 2))
    column = {option: j for j, option in enumerate(cost.options)}
    shared = [j for j, option in enumerate(loss.options) if option in column]
    start, steps = np.array([cost.fixed[0], loss.fixed[0]]), []
    for i, name in enumerate(loss.layers):
        prices = cost.dense[0, cost.layers.index(name)][[column[loss.options[j]] for j in shared]]
        corners = _hull(np.column_stack([prices, loss.dense[0, i][shared]]))
        if not len(corners):
            return np.zeros((0, 2))
        start = start + corners[0]
        steps.append(np.diff(corners, axis=0))
    moves = np.concatenate(steps) if steps else np.zeros((0, 2))
    moves = moves[np.argsort(moves[:, 1] / moves[:, 0], kind="stable")]
    return np.concatenate([start[None], start + np.cumsum(moves, axis=0)])


def _hull(points: FloatArray) -> FloatArray:
    """The corners of the lower left convex hull, from the cheapest on; slopes rise to 0."""
    kept: list[FloatArray] = []
    finite = points[np.isfinite(points).all(axis=1)]
    for point in finite[np.lexsort(finite.T[::-1])]:
        if kept and point[1] >= kept[-1][1]:
            continue  # dearer and no better
        while len(kept) > 1 and _turn(kept[-2], kept[-1], point) <= 0:
            kept.pop()
        kept.append(point)
    return np.array(kept).reshape(-1, 2)


def _turn(a: FloatArray, b: FloatArray, c: FloatArray) -> float:
    """Positive where the way a, b, c turns left: b is a corner."""
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
