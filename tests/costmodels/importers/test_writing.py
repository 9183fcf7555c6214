"""The table that is written, read back by the reader of tables, by an accelerator, and priced."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest
from profiler_files import CLOCKS, MACS, SAMPLES, sample, save, trt_layers, trt_profile

from hwdse.costmodels import load_accelerator
from hwdse.costmodels.importers import IMPORTERS, at_widths, importer, in_seconds, match, table_text
from hwdse.costmodels.signature import signature_of
from hwdse.costmodels.table_file import read_table
from hwdse.errors import UsageError
from hwdse.formats import LayerFormat
from hwdse.testing.graphs import small_graph

GRAPH, W8A8 = small_graph(), LayerFormat.of(8, 8)
ACCELERATOR = """schema = "hwdse.accelerator/1"
name = "mine"
[provenance]
kind = "measured"
source = "a test"
[precision]
semantics = "native"
weights = [8]
activations = [8]
[[table]]
file = "table.csv"
sha256 = "{}"
"""


def written(folder: Path, name: str) -> Path:
    profile = in_seconds(importer(name)(sample(folder, name)), CLOCKS.get(name))
    found, widths = at_widths(match(GRAPH, profile), lambda layer: W8A8)
    path = folder / "table.csv"
    path.write_text(table_text(profile, found.pairs, widths, ["two\nlines"]))
    return path


@pytest.mark.parametrize("name", IMPORTERS)
def test_what_is_written_is_read_back_and_priced_exactly(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name)
    rows = read_table(path)
    profile = in_seconds(importer(name)(sample(tmp_path, name)), CLOCKS.get(name))
    expected = {pair.layer.name: pair.row for pair in match(GRAPH, profile).pairs}
    assert [row.instance for row in rows] == list(MACS)
    for row in rows:
        assert row.signature == signature_of(GRAPH[row.instance])
        assert row.seconds == pytest.approx(expected[row.instance].seconds, rel=1e-11)
        assert row.joules == (None if expected[row.instance].joules is None else pytest.approx(expected[row.instance].joules, rel=1e-11))
        assert row.widths == W8A8
        assert row.source.startswith(f"{profile.tool}; ")
    file = tmp_path / "mine.toml"
    file.write_text(ACCELERATOR.format(hashlib.sha256(path.read_bytes()).hexdigest()))
    for model in load_accelerator(file).cost_models():
        if model.metric.name in ("latency", "energy") and (model.metric.name == "latency" or rows[0].joules):
            table = model.tabulate(GRAPH, [W8A8])
            costs = [row.seconds if model.metric.name == "latency" else row.joules for row in rows]
            assert table.dense[0, :, 0] == pytest.approx(costs)


@pytest.mark.parametrize("name", IMPORTERS)
def test_no_cell_is_zero_and_the_sources_are_named(tmp_path: Path, name: str) -> None:
    text = written(tmp_path, name).read_text()
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert comments[0] == "# hwdse.table/1"
    assert "# two lines" in comments
    for file, content in SAMPLES[name]().items():
        assert f"# {file}, SHA-256 {hashlib.sha256(content.encode()).hexdigest()}" in comments
    for row in csv.DictReader(text.splitlines()[len(comments) :]):
        assert all(float(row[column]) > 0 for column in ("latency_s", "energy_j") if row.get(column))


def test_widths_come_from_the_file_or_from_the_user_and_must_agree(tmp_path: Path) -> None:
    def at(asked: LayerFormat | None, kind: str | None = "Int8") -> dict[str, str]:
        files = {"p.json": trt_profile()} | ({"l.json": trt_layers(kind)} if kind else {})
        return {k: str(v) for k, v in at_widths(match(GRAPH, importer("trtexec")(save(tmp_path, files))), lambda layer: asked)[1].items()}

    assert set(at(None).values()) == {"w8a8"}
    assert set(at(LayerFormat.of(8, 8)).values()) == {"w8a8"}
    assert set(at(LayerFormat.of(4, 8), None).values()) == {"w4a8"}
    with pytest.raises(UsageError, match=r"the file does not say at which widths 'stem' ran; give --widths, such as --widths w8a8"):
        at(None, None)
    with pytest.raises(UsageError, match=r"no row ran at the given widths: .*it ran at w16a16, not at w8a8"):
        at(W8A8, "Half")


def test_layers_that_ran_at_other_widths_are_left_out(tmp_path: Path) -> None:
    found = match(GRAPH, importer("trtexec")(sample(tmp_path, "trtexec")))
    kept, widths = at_widths(found, lambda layer: LayerFormat.of(16, 16) if layer == "body" else None)
    assert list(widths) == ["stem", "skip", "head"]
    assert kept.rows[-1].reason == "it ran at w8a8, not at w16a16"
    assert [(layer.name, why) for layer, why in kept.layers] == [("body", "refused: it ran at w8a8, not at w16a16")]
    assert kept.share == pytest.approx(1 - MACS["body"] / sum(MACS.values()))
