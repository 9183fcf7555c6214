"""The table and the accelerator file: read back, priced, honest about what they lack."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest
from measuring_fakes import Scripted

from hwdse.costmodels import check_accelerator, load_accelerator
from hwdse.costmodels.measuring import FP32, INT8, Measurement, accelerator_text, check_name, measure, table_of
from hwdse.costmodels.table_file import read_table
from hwdse.errors import MissingCost, UsageError
from hwdse.formats import LayerFormat
from hwdse.graph import LayerGraph


def written(folder: Path, found: Measurement, missing: str = "error") -> Path:
    table = table_of(found, ["Layers of a test."])
    (folder / "mine.csv").write_text(table)
    text = accelerator_text("mine", found, "mine.csv", hashlib.sha256(table.encode()).hexdigest(), 'my "task"\\')
    (folder / "mine.toml").write_text(text.replace('missing = "error"', f'missing = "{missing}"'))
    return folder / "mine.toml"


@pytest.fixture
def found(kinds: LayerGraph) -> Measurement:
    return measure(kinds, Scripted(), None, (), repeats=3, seconds=1e-3)


def test_what_was_measured_is_read_back_and_nothing_else(tmp_path: Path, found: Measurement) -> None:
    rows = read_table(written(tmp_path, found).with_suffix(".csv"))
    assert len(rows) == len(found.rows) == 15  # eight shapes, one of them in FP32 only
    for row, measured in zip(rows, found.rows, strict=True):
        assert (row.signature, row.widths, row.output_bits) == (measured.signature, measured.widths, measured.output_bits)
        assert row.seconds == pytest.approx(measured.timing.seconds, rel=1e-11)
        assert row.spread == pytest.approx(measured.timing.spread, rel=1e-11)
        assert row.source.startswith(f"Scripted 1.0; {measured.signature.op} at {measured.widths}; ")
    comments = [line for line in (tmp_path / "mine.csv").read_text().splitlines() if line.startswith("#")]
    assert comments[0] == "# hwdse.table/1"
    assert any("was not subtracted" in line for line in comments)
    assert any("median absolute deviation" in line for line in comments)
    assert "# Nothing is run." in comments


def test_the_accelerator_says_what_it_is_and_prices_by_the_table(tmp_path: Path, kinds: LayerGraph, found: Measurement) -> None:
    file = written(tmp_path, found)
    assert not [line for line in check_accelerator(file) if line.startswith("problem")]
    accelerator = load_accelerator(file)
    provenance = accelerator.keys.provenance
    assert (provenance.kind, provenance.tool, provenance.device) == ("measured", "Scripted 1.0", "a clock, 1 thread")
    assert "Not measured at w8a8: up: there is none." in provenance.notes
    assert accelerator.precision.native == (INT8, FP32)
    assert accelerator.precision.executed(LayerFormat.of(4, 8)) == INT8
    assert accelerator.precision.other == FP32
    table = accelerator.latency.tabulate(kinds, [FP32])
    uniform = dict.fromkeys((layer.name for layer in kinds.quantisable), FP32)
    assert table.dense[0, :, 0].sum() == pytest.approx(found.total(FP32)[0])
    assert set(uniform) == set(table.layers)


def test_a_layer_without_an_int8_kernel_is_an_error_until_the_user_allows_an_estimate(
    tmp_path: Path, kinds: LayerGraph, found: Measurement
) -> None:
    with pytest.raises(MissingCost, match=r"no latency for layer 'up' .* at w8a8; measured there: w32a32.*missing = \"analytic\""):
        load_accelerator(written(tmp_path, found)).latency.tabulate(kinds, [INT8])
    model = load_accelerator(written(tmp_path, found, "analytic")).latency
    answer = model.explain(kinds, "up", INT8)
    assert answer.source == "analytic"
    assert math.isfinite(answer.value)
    assert answer.value >= found.empty[INT8].seconds
    assert model.explain(kinds, "head", INT8).source == "signature"


def test_names_of_accelerators() -> None:
    assert check_name("my_cpu-2.1") == "my_cpu-2.1"
    with pytest.raises(UsageError, match="begins with a letter"):
        check_name("2cpu")
    with pytest.raises(UsageError, match="'npu' is the name of an accelerator that comes with the package"):
        check_name("npu")
