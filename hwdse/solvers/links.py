"""Edges in the integer program: a variable per pair of classes of options.

    sum_b y[a, b] = sum_{o in class a} x[first, o],   sum_a y[a, b] = sum_{o in class b} x[second, o],   y >= 0

Options of one class are those that no edge between the two layers tells apart: for conversions, those that run at one activation
width, so 49 options make 7 classes or fewer, and 49 pairs instead of 2,401. With x one-hot, y is one-hot by itself; relaxed, this is the
convex hull of the two layers' joint options.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ..choices import BoolArray, IntArray
from ..edges import Edges


@dataclass(frozen=True, eq=False)
class Link:
    """Two layers that some edge joins.

    Attributes:
        ends: their indices, ascending.
        classes: (2, O) class of each option at either end; -1 where it is not active.
        picks: an option of each class, at either end.
    """

    ends: tuple[int, int]
    classes: IntArray
    picks: tuple[IntArray, IntArray]


def links(tables: Sequence[Edges], active: BoolArray) -> tuple[Link, ...]:
    """The links of some merged edges, one per pair of layers, over the (L, O) active options."""
    together: dict[tuple[int, int], list[np.ndarray]] = {}
    for edges in tables:
        for (first, second), cells in zip(edges.ends.tolist(), edges.cells, strict=True):
            together.setdefault((first, second), []).append(cells)
    found = []
    for ends, matrices in together.items():
        stack = np.array(matrices)[:, active[ends[0]]][:, :, active[ends[1]]]
        classes, picks = np.full((2, active.shape[1]), -1, np.intp), []
        for side, lines in enumerate((stack.transpose(1, 0, 2), stack.transpose(2, 0, 1))):
            open_ = np.flatnonzero(active[ends[side]])
            _, first_of, of = np.unique(lines.reshape(len(open_), -1), axis=0, return_index=True, return_inverse=True)
            classes[side, open_] = of.ravel()
            picks.append(open_[first_of])
        found.append(Link(ends, classes, (picks[0], picks[1])))
    return tuple(found)


def pair_variables(joined: Sequence[Link], active: BoolArray) -> IntArray:
    """(Y, 3) link, class of its first and of its second layer: the pairs of classes that active options have."""
    parts = [np.zeros((0, 3), np.intp)]
    for k, link in enumerate(joined):
        a, b = (np.unique(link.classes[side, active[link.ends[side]]]) for side in (0, 1))
        parts.append(np.column_stack([np.full(len(a) * len(b), k), np.repeat(a, len(b)), np.tile(b, len(a))]))
    return np.concatenate(parts)


def pair_cells(joined: Sequence[Link], pairs: IntArray, edges: Edges | None, rows: int) -> sparse.csr_array:
    """(rows, Y) what each pair adds to each row."""
    at, columns, values = [], [], []
    number = {link.ends: k for k, link in enumerate(joined)}
    for p in range(len(edges) if edges is not None else 0):
        assert edges is not None
        k = number[edges.ends[p, 0].item(), edges.ends[p, 1].item()]
        mine = np.flatnonzero(pairs[:, 0] == k)
        at.append(np.full(len(mine), edges.row[p]))
        columns.append(mine)
        values.append(edges.cells[p, joined[k].picks[0][pairs[mine, 1]], joined[k].picks[1][pairs[mine, 2]]])
    where = (np.concatenate([np.zeros(0, np.intp), *at]), np.concatenate([np.zeros(0, np.intp), *columns]))
    return sparse.csr_array(sparse.coo_array((np.concatenate([np.zeros(0), *values]), where), shape=(rows, len(pairs))))


def link_rows(joined: Sequence[Link], pairs: IntArray, layer: IntArray, option: IntArray) -> sparse.csr_array:
    """The equations above over the options (``layer``, ``option``), X of them, and then the Y pairs: ``rows @ (x, y) = 0``."""
    at: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    count = 0

    def add(variables: Iterable[int], sign: float) -> None:
        for v in variables:
            at.append(count)
            columns.append(v)
            values.append(sign)

    for k, link in enumerate(joined):
        mine = np.flatnonzero(pairs[:, 0] == k)
        for side in (0, 1):
            own = np.flatnonzero(layer == link.ends[side])
            of = link.classes[side, option[own]]
            for one in np.union1d(of, pairs[mine, 1 + side]):
                add(own[of == one].tolist(), 1.0)
                add((len(layer) + mine[pairs[mine, 1 + side] == one]).tolist(), -1.0)
                count += 1
    return sparse.csr_array(sparse.coo_array((values, (at, columns)), shape=(count, len(layer) + len(pairs))))


def taken(joined: Sequence[Link], pairs: IntArray, chosen: IntArray) -> IntArray:
    """(K,) the pair that an allocation (L,) takes of each link."""
    size = 1 + int(pairs.max()) if len(pairs) else 1
    keys = (pairs[:, 0] * size + pairs[:, 1]) * size + pairs[:, 2]
    want = [(k * size + n.classes[0, chosen[n.ends[0]]]) * size + n.classes[1, chosen[n.ends[1]]] for k, n in enumerate(joined)]
    return np.searchsorted(keys, np.array(want, np.intp))
