from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwdse import costs
from hwdse.choices import Choices
from hwdse.costs import SOURCE_CODE, CostTable
from hwdse.errors import UsageError
from hwdse.formats import LayerFormat, grid
from hwdse.metrics import LATENCY, WEIGHTS

OPTIONS = grid([2, 4], [4, 8])
LAYERS = ("a", "b", "c")


@st.composite
def tables(draw: st.DrawFn) -> CostTable:
    """Any number of rows, empty rows, entries of one (row, layer) pair twice."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, count = draw(st.integers(1, 5)), draw(st.integers(0, 8))
    row = np.sort(rng.integers(0, rows, count))
    cells = rng.random((count, len(OPTIONS)))
    cells[rng.random(cells.shape) < 0.1] = np.inf
    sources = np.where(np.isinf(cells), SOURCE_CODE["unsupported"], rng.integers(0, 6, cells.shape)).astype(np.int8)
    layer = rng.integers(0, len(LAYERS), count)
    return CostTable(LATENCY, LAYERS, OPTIONS, cells, row, layer, rng.random(rows), sources)


def plain(table: CostTable, chosen: np.ndarray) -> list[float]:
    """Rows by the definition."""
    sums = [float(f) for f in table.fixed]
    for e in range(len(table.row)):
        sums[int(table.row[e])] += float(table.cells[e, chosen[table.layer[e]]])
    return sums


@given(tables(), st.integers(0, 2**32))
def test_totals_against_a_plain_loop(table: CostTable, seed: int) -> None:
    chosen = np.random.default_rng(seed).integers(0, len(OPTIONS), (7, len(LAYERS)))
    want = np.array([plain(table, one) for one in chosen])
    np.testing.assert_allclose(table.row_totals(chosen), want, rtol=1e-12)
    np.testing.assert_allclose(table.totals(chosen), want.max(axis=1), rtol=1e-12)
    names = {n: OPTIONS[int(j)] for n, j in zip(LAYERS, chosen[0], strict=True)}
    assert table.total(names) == pytest.approx(max(want[0]), rel=1e-12)


@given(tables(), st.integers(0, 2**32))
def test_totals_in_chunks(table: CostTable, seed: int) -> None:
    chosen = np.random.default_rng(seed).integers(0, len(OPTIONS), (9, len(LAYERS)))
    whole, before = table.row_totals(chosen), costs.CHUNK
    try:
        costs.CHUNK = 2 * max(1, len(table.row))
        np.testing.assert_array_equal(table.row_totals(chosen), whole)
    finally:
        costs.CHUNK = before


@given(tables(), st.integers(0, 2**32))
def test_dense_and_supported(table: CostTable, seed: int) -> None:
    chosen = np.random.default_rng(seed).integers(0, len(OPTIONS), len(LAYERS))
    rows = table.fixed + table.dense[:, np.arange(len(LAYERS)), chosen].sum(axis=1)
    np.testing.assert_allclose(rows, table.row_totals(chosen)[0], rtol=1e-12)
    for i in range(len(LAYERS)):
        for j in range(len(OPTIONS)):
            assert table.supported[i, j] == np.isfinite(table.dense[:, i, j]).all()


@given(tables(), st.integers(0, 2**32))
def test_shares_by_layer_and_by_source(table: CostTable, seed: int) -> None:
    finite = replace(table, cells=np.where(np.isinf(table.cells), 1.0, table.cells))
    chosen = np.random.default_rng(seed).integers(0, len(OPTIONS), len(LAYERS))
    worst = int(np.argmax(finite.row_totals(chosen)[0]))
    assert finite.by_layer(chosen).sum() + finite.fixed[worst] == pytest.approx(finite.totals(chosen)[0])
    shares = finite.by_source(chosen)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares.get("fixed", 0.0) == pytest.approx(finite.fixed[worst] / finite.totals(chosen)[0])


@given(tables(), st.permutations(range(3)), st.permutations(range(4)), st.integers(0, 2**32))
def test_aligned_changes_places_and_not_costs(table: CostTable, layers: list[int], options: list[int], seed: int) -> None:
    choices = Choices(tuple(LAYERS[i] for i in layers), tuple(OPTIONS[j] for j in options[:3]), np.ones((3, 3), bool))
    moved = table.aligned(choices)
    chosen = np.random.default_rng(seed).integers(0, 3, 3)
    assert moved.total(choices.allocation(chosen)) == pytest.approx(table.total(choices.allocation(chosen)))
    np.testing.assert_array_equal(moved.supported.sum(), table.supported[:, options[:3]].sum())


def test_aligned_to_the_same_is_the_same() -> None:
    table = CostTable.one_row(LATENCY, LAYERS, OPTIONS, np.ones((3, 4)))
    assert table.aligned(Choices(LAYERS, OPTIONS, np.ones((3, 4), bool))) is table


def test_aligned_refuses_what_it_lacks() -> None:
    table = CostTable.one_row(LATENCY, LAYERS, OPTIONS, np.ones((3, 4)))
    wide = (LayerFormat.of(8, 8),)
    with pytest.raises(UsageError, match="'latency' was made for other choices: it lacks the options w8a8"):
        table.aligned(Choices(LAYERS, wide, np.ones((3, 1), bool)))
    with pytest.raises(UsageError, match="layers differ in c"):
        table.aligned(Choices(LAYERS[:2], OPTIONS, np.ones((2, 4), bool)))
    with pytest.raises(UsageError, match="layers differ in z"):
        table.aligned(Choices((*LAYERS, "z"), OPTIONS, np.ones((4, 4), bool)))


@given(st.integers(0, 2**32), st.permutations(range(9)))
@settings(max_examples=50)
def test_monotone_is_the_largest_table_below_that_never_rises(seed: int, order: list[int]) -> None:
    options = tuple(grid([2, 4, 8], [2, 4, 8])[i] for i in order)  # in any order
    cells = np.random.default_rng(seed).random((2, 9))
    table = CostTable.one_row(LATENCY, ("a", "b"), options, cells).monotone()
    for j, wide in enumerate(options):
        narrower = [k for k, o in enumerate(options) if o.weight.bits <= wide.weight.bits and o.activation.bits <= wide.activation.bits]
        np.testing.assert_array_equal(table.cells[:, j], cells[:, narrower].min(axis=1))


def test_an_infinite_cell_makes_the_total_infinite_and_is_marked() -> None:
    cells = np.array([[1.0, np.inf], [1.0, 2.0]])
    table = CostTable.one_row(WEIGHTS, ("a", "b"), OPTIONS[:2], cells, sources="exact")
    assert table.totals(np.array([1, 0]))[0] == np.inf
    assert table.totals(np.array([0, 0]))[0] == 2.0
    assert table.sources.tolist() == [[SOURCE_CODE["exact"], SOURCE_CODE["unsupported"]], [SOURCE_CODE["exact"]] * 2]


def test_a_table_with_rows_that_nothing_touches() -> None:
    none = np.zeros(0, np.intp)
    empty = CostTable(WEIGHTS, LAYERS, OPTIONS, np.zeros((0, 4)), none, none, np.array([2.0, 3.0]), np.zeros((0, 4), np.int8))
    assert empty.totals(np.zeros((5, 3), np.intp)).tolist() == [3.0] * 5
    assert empty.supported.all()


def test_large_integers_add_up_exactly() -> None:
    """Bit operations of a large network stay whole numbers in float64 (below 2^53)."""
    cells = np.full((1000, 1), 3.0 * 2**40)
    table = CostTable.one_row(LATENCY, tuple(f"l{i}" for i in range(1000)), (LayerFormat.of(8, 8),), cells, 1.0)
    assert table.totals(np.zeros((1, 1000), np.intp))[0] == 3 * 2**40 * 1000 + 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cells": np.full((3, 4), np.nan)}, "holds NaN"),
        ({"cells": np.full((3, 4), -1.0)}, "holds a negative cost"),
        ({"fixed": np.array([-1.0])}, "holds a negative cost"),
        ({"fixed": np.array([np.inf])}, "a fixed part that is not finite"),
        ({"fixed": np.array([np.nan])}, "a fixed part that is not finite"),
        ({"fixed": np.zeros(0)}, "shapes of cells, row, layer, fixed, sources and edges do not fit"),
        ({"cells": np.ones((3, 5))}, "do not fit"),
        ({"row": np.array([0, 1, 0])}, "do not fit"),
        ({"row": np.array([0, 0, 1])}, "do not fit"),
        ({"row": np.array([-1, 0, 0])}, "do not fit"),
        ({"layer": np.array([0, 1, 3])}, "do not fit"),
        ({"layer": np.array([0, 1, -1])}, "do not fit"),
        ({"layer": np.array([0, 1])}, "do not fit"),
        ({"sources": np.zeros((3, 3), np.int8)}, "do not fit"),
    ],
)
def test_malformed_tables(change: dict[str, np.ndarray], message: str) -> None:
    table = CostTable.one_row(LATENCY, LAYERS, OPTIONS, np.ones((3, 4)))
    with pytest.raises(UsageError, match=f"cost table 'latency'.*{message}"):
        replace(table, **change)


def test_total_of_something_else() -> None:
    table = CostTable.one_row(LATENCY, LAYERS, OPTIONS, np.ones((3, 4)))
    with pytest.raises(UsageError, match="must name the layers of the table; they differ in c"):
        table.total({"a": OPTIONS[0], "b": OPTIONS[0]})
    with pytest.raises(UsageError, match="table 'latency' has no costs at w8a8"):
        table.total(dict.fromkeys(LAYERS, LayerFormat.of(8, 8)))
