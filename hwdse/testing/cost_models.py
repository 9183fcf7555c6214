# ruff: noqa: D102 (tests are named, not documented)
"""What a cost model must do, as tests: subclass :class:`CostModelContract` in a test file and say which model it is about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ..choices import Choices
from ..costs import SOURCE_CODE, SOURCES, CostModel, CostTable
from ..formats import LayerFormat, grid
from ..graph import LayerGraph
from ..metrics import UNITS
from .graphs import small_graph


class CostModelContract:
    """Tests that any cost model passes, run by pytest in a subclass::

    class TestMine(CostModelContract):
        def model(self):
            return MyModel("accelerator.toml")
    """

    #: Whether more bits never cost less. Measured tables may leave it False.
    monotone = True

    def model(self) -> CostModel:
        """The model under test."""
        raise NotImplementedError

    def graph(self) -> LayerGraph:
        """The graph it is tried on."""
        return small_graph()

    def options(self) -> Sequence[LayerFormat]:
        """The widths it is tried at."""
        return grid((2, 4, 8), (4, 8))

    def table(self) -> CostTable:
        """The table under test."""
        return self.model().tabulate(self.graph(), self.options())

    def allocations(self, table: CostTable, count: int = 50) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
        """(N, L) random allocations of a table."""
        rng = np.random.default_rng(0)
        return rng.integers(0, len(table.options), (count, len(table.layers))).astype(np.intp)

    def test_the_metric_has_a_known_unit_and_is_minimised(self) -> None:
        metric = self.model().metric
        assert metric.unit in UNITS
        assert metric.better == "lower"
        assert self.table().metric == metric

    def test_one_cell_per_quantisable_layer_and_option(self) -> None:
        table = self.table()
        assert table.layers == tuple(layer.name for layer in self.graph().quantisable)
        assert table.options == tuple(self.options())

    def test_the_convention_is_said(self) -> None:
        assert self.table().convention.strip()

    def test_tabulating_twice_gives_the_same(self) -> None:
        one, two = self.table(), self.table()
        np.testing.assert_array_equal(one.cells, two.cells)
        np.testing.assert_array_equal(one.fixed, two.fixed)

    def test_the_order_of_the_options_does_not_matter(self) -> None:
        graph, options = self.graph(), list(self.options())
        turned = self.model().tabulate(graph, options[::-1])
        names = tuple(layer.name for layer in graph.quantisable)
        choices = Choices(names, tuple(options), np.ones((len(names), len(options)), bool))
        np.testing.assert_allclose(turned.aligned(choices).dense, self.table().dense)
        every = self.allocations(self.table())
        np.testing.assert_allclose(turned.aligned(choices).totals(every), self.table().totals(every))

    def test_totals_are_the_largest_of_the_sums(self) -> None:
        table = self.table()
        for chosen in self.allocations(table, 10):
            sums = [float(f) for f in table.fixed]
            for cells, row, layer in zip(table.cells, table.row, table.layer, strict=True):
                sums[int(row)] += float(cells[chosen[layer]])
            if table.edges is not None:
                for (first, second), row, pair in zip(table.edges.ends, table.edges.row, table.edges.cells, strict=True):
                    sums[int(row)] += float(pair[chosen[first], chosen[second]])
            assert table.totals(chosen)[0] == pytest.approx(max(sums), rel=1e-12)

    def test_sources_are_known_and_mark_what_is_unsupported(self) -> None:
        table = self.table()
        assert set(np.unique(table.sources)) <= set(range(len(SOURCES)))
        np.testing.assert_array_equal(table.sources == SOURCE_CODE["unsupported"], np.isinf(table.cells))

    def test_more_bits_never_cost_less(self) -> None:
        if not self.monotone:
            pytest.skip("the model says that its costs are not monotone in the widths")
        table = self.table()
        for j, wide in enumerate(table.options):
            for k, narrow in enumerate(table.options):
                if wide.refines(narrow):
                    both = np.isfinite(table.cells[:, j]) & np.isfinite(table.cells[:, k])
                    assert (table.cells[both, k] <= table.cells[both, j] * (1 + 1e-12)).all(), f"{wide} is cheaper than {narrow}"
