"""What the page's script is told: values in full, tables that decode to themselves."""

import json
import math

import numpy as np
import pytest

from hwdse.costs import CostTable
from hwdse.edges import Edges
from hwdse.formats import grid
from hwdse.metrics import BITOPS
from hwdse.reports import embedding
from hwdse.reports.embedding import DIGITS, coded, embedded_tables
from hwdse.reports.explorer_data import explorer_data
from hwdse.reports.markup import data_block
from hwdse.reports.points import measured


def decoded(text: str, wide: bool) -> list[int]:
    digits = [DIGITS.index(c) for c in text]
    return [64 * a + b for a, b in zip(digits[::2], digits[1::2], strict=True)] if wide else digits


def test_indices_beyond_one_character():
    assert decoded(coded(range(64), 64), False) == list(range(64))
    assert decoded(coded(range(300), 300), True) == list(range(300))


def _place(table):
    return {option: i for i, option in enumerate(table.options, 1)}


def test_cells_come_back(record):
    for key, table in record.tables.items():
        found = embedded_tables({key: table}, table.layers, _place(table))[0][key]
        assert found["options"] == list(range(1, len(table.options) + 1))
        for e, (row, layer, values, which, sources) in enumerate(found["entries"]):
            cells = [math.inf if values[i] == "inf" else values[i] for i in decoded(which, len(values) > 64)]
            assert (row, layer) == (table.row[e], table.layer[e])
            assert cells == pytest.approx(table.cells[e].tolist(), rel=1e-6)
            assert "".join(map(str, table.sources[e])) == (sources if len(sources) > 1 else sources * len(table.options))


def test_edges_come_back():
    options = grid((2, 4), (2, 4, 8))
    activation = np.array([o.activation.bits for o in options], float)
    cells = np.where(activation[:, None] == activation[None, :], 0.0, activation[None, :] * 3)
    edges = Edges(np.array([[0, 1]]), np.array([0]), cells[None])
    table = CostTable(BITOPS, ("a", "b"), options, np.ones((2, 6)), np.zeros(2, int), np.arange(2), np.zeros(1), np.zeros((2, 6), np.int8),
                      edges=edges)  # fmt: skip
    (row, first, second, there, here, wide, costs) = embedded_tables({"x": table}, table.layers, _place(table))[0]["x"]["edges"][0]
    assert (row, first, second, wide, np.shape(costs)) == (0, 0, 1, False, (3, 3))
    assert np.array(costs)[np.ix_(decoded(there, wide), decoded(here, wide))].tolist() == cells.tolist()


def test_a_table_too_large_is_left_out_and_named(record, monkeypatch):
    monkeypatch.setattr(embedding, "MOST_CELLS", 80)
    found, left = embedded_tables({k: record.tables[k] for k in ("bitops", "weights")}, record.tables["bitops"].layers,
                                  _place(record.tables["bitops"]))  # fmt: skip
    assert (list(found), left) == (["bitops"], ["weights"])


def test_values_that_decide_are_written_in_full(record):
    trials = measured(record)
    data = json.loads(json.dumps(explorer_data(record, trials), allow_nan=False))
    for axis in data["axes"][:1] + [a for a in data["axes"] if a["kind"] == "cost"]:
        found = [math.inf if v == "inf" else v for v in axis["values"]]
        assert found == [t.measures[axis["key"]] for t in trials]


def test_no_name_ends_the_block():
    text = str(data_block("x", {"</script><!--": "\u2028\u2029<script>"}))
    assert text.count("<") == 2
    assert text.isascii()
    body = text[text.index(">") + 1 : text.rindex("<")]
    assert json.loads(body) == {"</script><!--": "\\u2028\\u2029<script>"}  # shown by their codes
