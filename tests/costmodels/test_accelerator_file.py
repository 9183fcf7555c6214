# ruff: noqa: E501 (a table of files and sentences is read by the line)
from __future__ import annotations

import string
import tomllib
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse.costmodels import accelerator_names, check_accelerator, load_accelerator
from hwdse.errors import FileFormatError, HwdseError, UnknownName
from hwdse.formats import LayerFormat
from hwdse.testing import small_graph

ROOFLINE = '\n[compute]\nmodel = "roofline"\nmemory = "dram"\nmacs_per_s = {w8a8 = 1e12}\n[[memory]]\nname = "dram"\nbytes_per_s = 1e9\n'
TABLE = "op,batch,in_channels,out_channels,w_bits,a_bits,latency_s\nlinear,1,3,5,8,8,0.5\n"


def test_the_smallest_files(write) -> None:
    assert [m.metric.key for m in load_accelerator(write(ROOFLINE)).cost_models()] == ["latency@dev", "weights@dev"]
    assert [m.metric.key for m in load_accelerator(write(table=TABLE)).cost_models()] == ["latency@dev", "weights@dev"]


def test_the_documented_file_with_formats_runs_what_it_says(write) -> None:
    page = (Path(__file__).parents[2] / "docs" / "accelerator-files.md").read_text(encoding="utf-8")
    section = page.split("## Formats beside the integer widths\n\n")[1].split("\n\n")[0]
    head = 'schema = "hwdse.accelerator/1"\nname = "dev"\n[provenance]\nkind = "measured"\nsource = "here"\n'
    path = write('\n[[memory]]\nname = "dram"\nbytes_per_s = 1e9\n', base=head + dedent(section))
    precision = load_accelerator(path).precision
    runs = {"w4a8": "w8a8", "mxfp4:mxfp8": "mxfp4:mxfp8", "int4.g128:fp16": "fp16", "mxfp6:mxfp8": "mxfp8"}
    for chosen, run in runs.items():
        assert precision.executed(LayerFormat.parse(chosen)) == LayerFormat.parse(run)
    options = [LayerFormat.parse(text) for text in (*runs, "nvfp4", "mxfp8e5m2")]
    for model in load_accelerator(path).cost_models():
        table = model.tabulate(small_graph(), options)
        assert np.isinf(table.cells[:, 4:][table.cells[:, 0] > 0]).all()
        assert np.isfinite(table.cells[:, :4]).all()


def test_energy_comes_from_a_table_alone(write) -> None:
    text = TABLE.replace("latency_s", "latency_s,energy_mj").replace("0.5", "0.5,2")
    assert [m.metric.key for m in load_accelerator(write(table=text)).cost_models()] == ["latency@dev", "energy@dev", "weights@dev"]


BAD = [
    # what is added to a good file, what is replaced in it, the sentence
    ("\n[speed]\nx = 1", None, "key 'speed': is not known. Known here: calibration, clock, compute"),
    ("\n[overheads]\nlayers_s = 1.0", None, r"key 'overheads.layers_s': is not known; did you mean 'layer_s'\? Known here: layer_s, least_s, network_s"),
    ("\n[overheads]\nlayer_s = -1.0", None, r"key 'overheads.layer_s': must be greater than or equal to 0 \(seconds added to every layer\), got -1.0"),
    ("\n[overheads]\nlayer_s = nan", None, "key 'overheads.layer_s': must be a finite number"),
    ("\n[clock]\nhz = inf", None, r"key 'clock.hz': must be a finite number \(clock in Hz\), got inf"),
    ("\n[clock]\nhz = '1 GHz'", None, r"key 'clock.hz': must be a valid number \(clock in Hz\), got '1 GHz'"),
    ("\n[clock]", None, r"key 'clock.hz': is missing: clock in Hz"),
    ("\nclock = 3", 'name = "dev"', "key 'clock': must be a table of keys"),
    ("\n[clock]\nhz = true", None, "key 'clock.hz': must be a valid number"),
    ("", ("[4, 8]\nactivations", "[4, 64]\nactivations"), r"key 'precision.weights\[2\]': must be less than or equal to 32"),
    ("", ("[4, 8]\nactivations", "[]\nactivations"), "key 'precision.weights': must have at least 1 item"),
    ("", ('"native"', '"natural"'), "key 'precision.semantics': must be 'native', 'fusion', 'bit_serial' or 'storage_only'"),
    ("\npairs = ['w8']", None, r"key 'precision.pairs(\[1\])?': "),
    ("\npairs = ['w3a3']", None, "key 'precision.pairs': no pair of the listed weight and activation widths"),
    ("\npromote = {mxfp4 = 'mxfp8', mxfp8 = 'mxfp4'}", None, "key 'precision.promote': .*goes in a circle: mxfp4 -> mxfp8 -> mxfp4"),
    ("\nnative = ['mxfp5']", None, r"key 'precision.native\[1\]': must be a pair of formats: .*did you mean 'mxfp8'"),
    ("\nother = 'w16a16'", None, "key 'precision.other': is w16a16, which the device cannot run: w4a4, w4a8, w8a4, w8a8"),
    ("", ('source = "here"', ""), "key 'provenance.source': is missing: paper, repository or data sheet"),
    ("", ('"measured"', '"guessed"'), "key 'provenance.kind': must be 'measured', 'simulated', 'analytic' or 'datasheet'"),
    ("", ("hwdse.accelerator/1", "hwdse.accelerator/2"), "key 'schema': must be 'hwdse.accelerator/1', got 'hwdse.accelerator/2'"),
    ("", ('schema = "hwdse.accelerator/1"', ""), "key 'schema': must be 'hwdse.accelerator/1', it is missing"),
    ("", ('"dev"', '"my dev"'), "key 'name': must match pattern"),
    ("", ("[provenance]", "[provenance"), "is not a TOML file: .*line"),
    ('\n[compute]\nmodel = "oracle"', None, "key 'compute.model': must be one of 'roofline', 'macs_per_cycle', 'bit_fusion', 'systolic', 'bit_serial', 'pipelined', got 'oracle'"),
    ("\n[compute]", None, "key 'compute.model': must be one of 'roofline', 'macs_per_cycle', 'bit_fusion', 'systolic', 'bit_serial', 'pipelined', it is missing"),
    ('\n[compute]\nmodel = "roofline"\nmacs = 3', None, r"key 'compute.(macs|macs_per_s|memory)': "),
    ('\n[compute]\nmodel = "macs_per_cycle"\nmacs_per_cycle = {w8 = 2.0}', None, "key 'compute.macs_per_cycle"),
    ('\n[compute]\nmodel = "macs_per_cycle"\nmacs_per_cycle = {w8a8 = 0.0}', None, r"key 'compute.macs_per_cycle.w8a8': must be greater than 0"),
    ('\n[compute]\nmodel = "macs_per_cycle"\nmacs_per_cycle = {w8a8 = 2.0}', None, r"key 'compute': 'macs_per_cycle' needs the clock: add \[clock\] hz"),
    (ROOFLINE.replace('memory = "dram"', 'memory = "drum"'), None, r"key 'compute': unknown memory level 'drum'; did you mean 'dram'\?"),
    (ROOFLINE.replace("bytes_per_s = 1e9", ""), None, "memory level 'dram' needs bytes_per_s, because operands come from it"),
    (ROOFLINE + '[energy]\nmodel = "horowitz_45nm"', None, r"key 'energy': needs a \[\[memory\]\] level with pj_per_bit"),
    (ROOFLINE + 'pj_per_bit = "horowitz_sram"\n[energy]\nmodel = "horowitz_45nm"', None, "needs bytes: the SRAM formula works from the size"),
    (ROOFLINE + 'pj_per_bit = "horowitz_sram"\nbytes = 64\n[energy]\nmodel = "horowitz_45nm"', None, "the 45 nm SRAM fit covers 8 KiB to 1 MiB, got 64 B"),
    (ROOFLINE + '[energy]\nmodel = "power"\nwatts = 0', None, r"key 'energy.watts': must be greater than 0 \(power in W\), got 0"),
    (ROOFLINE + '[[memory]]\nname = "dram"', None, "key 'memory': has two levels named 'dram'"),
    (ROOFLINE.replace("{w8a8", "{conv"), None, "key 'compute.macs_per_s"),
    (ROOFLINE + '[storage]\npacking = "align=0"', None, "key 'storage.packing': must match pattern"),
    (ROOFLINE + "[calibration]\nscale = 0", None, "key 'calibration.scale': must be greater than 0"),
    ("\n[overheads]\nlayer_s = 1e31", None, r"key 'overheads.layer_s': must be between 1e-30 and 1e30 \(seconds added to every layer\), got 1e\+31"),
    ("\n[clock]\nhz = 1e-31", None, "key 'clock.hz': must be between 1e-30 and 1e30"),
    (ROOFLINE + '[[table]]\nfile = ""', None, "key 'table.file': must name a CSV file, got ''"),
    (ROOFLINE + '[[table]]\nfile = "none.csv"', None, r"none\.csv: cannot be read: No such file"),
    (ROOFLINE + '[[table]]\nfile = "x.csv"\nsha256 = "abc"', None, r"key 'table\[1\].sha256': must match pattern"),
    ("", None, "key 'compute': is missing, and there is no look-up table either: the file gives no latency"),
]  # fmt: skip


@pytest.mark.parametrize(("extra", "change", "sentence"), BAD)
def test_bad_files_are_explained(write, extra: str, change, sentence: str) -> None:
    path = write(extra)
    text = path.read_text()
    if isinstance(change, str):  # a key that must stand at the top
        text = text.replace(extra, "").replace(change, change + extra)
    elif change:
        text = text.replace(*change)
    path.write_text(text)
    with pytest.raises(FileFormatError, match=sentence) as caught:
        load_accelerator(path)
    assert caught.value.file.endswith((".toml", ".csv"))
    assert any(str(caught.value)[:60] in line for line in check_accelerator(path))


def test_missing_analytic_needs_a_model(write) -> None:
    with pytest.raises(FileFormatError, match=r"key 'missing': is 'analytic', but the file has no analytic model"):
        load_accelerator(write(table=TABLE, top='missing = "analytic"'))


def test_check_lists_everything_wrong_at_once(write) -> None:
    lines = check_accelerator(write('\n[clock]\nhz = -1\n[speed]\nx = 1\n[overheads]\nlayer_s = "a"'))
    assert len(lines) == 3
    assert all(line.startswith("problem: ") for line in lines)


def test_check_says_what_a_good_file_holds(write) -> None:
    assert check_accelerator(write(table=TABLE)) == [
        "ok: dev gives latency@dev, weights@dev.",
        "ok: runs w4a4, w4a8, w8a4, w8a8; other widths: round_up.",
        "ok: look-up tables with 1 rows of 1 shapes.",
        "ok: no sha256 is stated for dev.csv.",
    ]


def test_unknown_names_and_paths(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownName, match=r"unknown accelerator 'bitfusio'; did you mean 'bitfusion'\? .* Or give the path of a .toml file"
    ):
        load_accelerator("bitfusio")
    assert check_accelerator("bitfusio")[0].startswith("problem: unknown accelerator")
    with pytest.raises(FileFormatError, match="cannot be read: No such file"):
        load_accelerator("there/none.toml")
    with pytest.raises(FileFormatError, match="cannot be read: Is a directory"):
        load_accelerator(tmp_path)
    (tmp_path / "x.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(FileFormatError, match="line 1: is not UTF-8 text"):
        load_accelerator(tmp_path / "x.toml")


@pytest.mark.parametrize("name", accelerator_names())
def test_shipped_files_are_good_and_self_named(name: str) -> None:
    accelerator = load_accelerator(name)
    assert accelerator.name == name
    assert all(line.startswith("ok: ") for line in check_accelerator(name))
    assert accelerator.keys.provenance.source
    assert accelerator.keys.provenance.notes
    assert load_accelerator(accelerator.file).name == name


SHIPPED = {name: load_accelerator(name).file.read_text() for name in accelerator_names()}


@given(st.sampled_from(sorted(SHIPPED)), st.integers(0, 4000), st.integers(0, 30), st.text(string.printable, max_size=6))
def test_damaged_files_are_read_or_explained(tmp_path_factory, name: str, at: int, cut: int, put: str) -> None:
    text = SHIPPED[name]
    path = tmp_path_factory.getbasetemp() / "damaged.toml"
    at %= len(text)
    path.write_text(text[:at] + put + text[at + cut :], newline="")
    try:
        load_accelerator(path)
    except HwdseError as error:
        named = str(error)
    else:
        named = ".toml"
    assert ".toml" in named or ".csv" in named


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3),
    max_leaves=5,
)


def flat(data: dict[str, object], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    return [p for k, v in data.items() for p in [(*prefix, k), *(flat(v, (*prefix, k)) if isinstance(v, dict) else [])]]


@given(st.sampled_from(["npu", "mpic", "t4"]), st.data())
def test_any_value_under_any_key_is_read_or_explained(tmp_path_factory, name: str, data: st.DataObject) -> None:
    from unittest import mock

    content = tomllib.loads(SHIPPED[name])
    place = data.draw(st.sampled_from(flat(content)))
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = data.draw(values)
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text("")
    with mock.patch("hwdse.reading.tomllib.loads", return_value=content):
        try:
            load_accelerator(path)
        except HwdseError as error:
            named = str(error)
        else:
            named = "any.toml"
    assert "any.toml" in named or ".csv" in named
