"""The front that the tables promise before anything is measured: the smallest expected loss at each cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..choices import Choices
from ..costs import CostTable, FloatArray


def predicted_front(cost: CostTable, loss: CostTable, choices: Choices | None = None) -> FloatArray:
    """(V, 2) costs and expected losses, the cheapest first: no widths have a smaller expected loss at that cost.

    Both tables are sums over layers, so the lower convex hull of (cost, loss) over all allocations is the sum of the layers' hulls:
    their edges one after another, the steepest first. Layers that share a width are one: the hull over its values of the sums at each.
    Every corner is an allocation; between two corners the line is a bound. Options of infinite cost or loss take no part.

    Args:
        cost, loss: the tables.
        choices: what may be chosen, with its ties; None: everything, each layer by itself, which can only be lower. So it is where
            layers share both widths, or chains of them.

    Empty where a table is not one sum over layers (several rows, edges), the layers differ, or one has no option.
    """
    whole = all(t.rows == 1 and t.edges is None for t in (cost, loss))
    if not whole or set(cost.layers) != set(loss.layers) or (choices is not None and set(choices.layers) != set(loss.layers)):
        return np.zeros((0, 2))
    column = {option: j for j, option in enumerate(cost.options)}
    shared = [j for j, option in enumerate(loss.options) if option in column]
    widths = {
        "weight": np.array([str(loss.options[j].weight) for j in shared]),
        "activation": np.array([str(loss.options[j].activation) for j in shared]),
    }
    points = {}
    for i, name in enumerate(loss.layers):
        prices = cost.dense[0, cost.layers.index(name)][[column[loss.options[j]] for j in shared]]
        points[name] = np.column_stack([prices, loss.dense[0, i][shared]])
        if choices is not None:
            place = {option: j for j, option in enumerate(choices.options)}
            may = [loss.options[j] in place and choices.allowed[choices.position[name], place[loss.options[j]]] for j in shared]
            points[name][~np.array(may, bool)] = np.inf
    hulls = []
    for names, part in _groups(loss.layers, choices):
        values = np.unique(widths[part]) if part else [""]
        chosen = [widths[part] == value if part else np.ones(len(shared), bool) for value in values]
        sums = [_sum([_hull(points[name][keep]) for name in names]) for keep in chosen]
        hulls.append(_hull(np.concatenate(sums)) if sums else np.zeros((0, 2)))
    return _sum(hulls) + (np.array([cost.fixed[0], loss.fixed[0]]) if hulls else 0.0)


def _groups(layers: Sequence[str], choices: Choices | None) -> list[tuple[tuple[str, ...], str]]:
    """Layers that share one width and which, "" for a layer by itself. A layer that is in two ties is left to itself in both."""
    ties = [] if choices is None else [(t, "weight") for t in choices.weight_ties] + [(t, "activation") for t in choices.activation_ties]
    count = {name: sum(name in tie for tie, _ in ties) for name in layers}
    found = [(alone, part) for tie, part in ties if len(alone := tuple(name for name in tie if count[name] == 1)) > 1]
    taken = {name for names, _ in found for name in names}
    return found + [((name,), "") for name in layers if name not in taken]


def _sum(hulls: Sequence[FloatArray]) -> FloatArray:
    """The hull of all sums of one point of each: empty where one is."""
    if not hulls or any(not len(corners) for corners in hulls):
        return np.zeros((0, 2))
    start: FloatArray = np.sum([corners[0] for corners in hulls], axis=0)
    moves = np.concatenate([np.diff(corners, axis=0) for corners in hulls])
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
