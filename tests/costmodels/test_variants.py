"""A variant is the file with some keys changed, checked as a file is."""

from __future__ import annotations

import pytest

from hwdse.costmodels import load_accelerator
from hwdse.costmodels.variants import parse_vary, variants
from hwdse.errors import FileFormatError, UsageError
from hwdse.formats import LayerFormat


def made(name: str, *vary: str):
    return variants(load_accelerator(name), dict(parse_vary(text) for text in vary))


def test_all_combinations_in_order() -> None:
    found = made("npu", "precision.weights=[4, 8];[2, 4, 8]", "memory[dram].bytes_per_s=6.4e9;25.6e9")
    assert [a.name for a, _ in found] == ["npu-1", "npu-2", "npu-3", "npu-4"]
    assert [(a.keys.precision.weights, a.keys.memory[1].bytes_per_s) for a, _ in found] == [
        ([4, 8], 6.4e9), ([4, 8], 25.6e9), ([2, 4, 8], 6.4e9), ([2, 4, 8], 25.6e9),
    ]  # fmt: skip
    assert found[0][1] == {"precision.weights": [4, 8], "memory[dram].bytes_per_s": 6.4e9}
    assert any("a variant of npu that nobody built" in note for note in found[0][0].keys.provenance.notes)


def test_a_faster_clock_is_faster_and_the_original_stays(build) -> None:
    graph = build.loose(build.conv("c", 16, 16, 8))
    base = load_accelerator("mpic")
    widths = LayerFormat.of(8, 8)
    ((fast, _),) = made("mpic", "clock.hz=500e6")
    times = [a.latency.tabulate(graph, [widths]).total({"c": widths}) for a in (base, fast)]
    assert times[0] == pytest.approx(2 * times[1])


def test_a_table_stays_only_where_it_still_holds() -> None:
    assert made("t4", "storage.packing='byte'")[0][0].rows
    assert not made("t4", "memory[gddr6].bytes_per_s=6.4e11")[0][0].rows  # measured with another memory


@pytest.mark.parametrize(
    ("vary", "error", "sentence"),
    [
        ("clok.hz=1", UsageError, "the file has no 'clok'. It has: calibration, clock"),
        ("clock.hz=-1", FileFormatError, "must be greater than 0"),
        ("compute.rows=3", FileFormatError, "is not known. Known here: efficiency"),
        ("clock", UsageError, "names no values"),
        ("memory[foo].bytes=1", UsageError, r"there is no memory\[foo\]; there are sram, dram, 1, 2"),
        ("clock.hz=abc", UsageError, "'abc' in 'clock.hz=abc' is no TOML value"),
        ("clock.hz.x=3", UsageError, "'hz' has no keys inside"),
    ],
)
def test_mistakes(vary: str, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        made("npu", vary)
