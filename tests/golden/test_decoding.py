"""Weight-bound decoding against measured speeds of Llama-3.1-8B in llama.cpp, formats F16 to Q4_K."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import Llama

from hwdse.costmodels import load_accelerator
from hwdse.costmodels.calibration import calibrate
from hwdse.decoding import cache_elements, decode_step
from hwdse.formats import LayerFormat
from hwdse.graph import LayerGraph
from hwdse.trace import trace

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "llm" / "llamacpp_llama31_8b_quant_speed.csv"
needs_data = pytest.mark.skipif(not DATA.is_file(), reason=f"needs the published speeds in {DATA}")
GIB = 2.0**30
GPU = """\
schema = "hwdse.accelerator/1"
name = "gpu"
[provenance]
kind = "datasheet"
source = "fitted to llama.cpp's published speeds"
[precision]
semantics = "storage_only"
weights = [4, 5, 6, 8, 16]
activations = [16]
other = "w16a16"
output_bits = 16
[storage]
per = "{per}"
scale_bits = 16
[compute]
model = "roofline"
memory = "hbm"
macs_per_s = {{w16a16 = 100e12}}
[[memory]]
name = "hbm"
bytes_per_s = 539.6e9
"""


@pytest.fixture(scope="module")
def llama() -> LayerGraph:
    """Llama-3.1-8B, a prompt of 512 tokens, without its weights."""
    with torch.device("meta"):
        return trace(Llama(128256, 4096, 32, 8, 14336, 32), (torch.zeros(1, 512, dtype=torch.long),))


def latency(graph: LayerGraph, bits: int, tmp_path: Path, group: int | None) -> float:
    path = tmp_path / f"gpu{bits}{group}.toml"
    path.write_text(GPU.format(per=f"group={group}" if group else "channel"))
    widths = LayerFormat.of(bits, 16)
    table = load_accelerator(path).latency.tabulate(graph, [widths])
    return table.total(dict.fromkeys(table.layers, widths))


def test_the_model_is_the_one_that_was_measured(llama: LayerGraph) -> None:
    assert llama.params == pytest.approx(8.03e9, rel=1e-3)
    assert cache_elements(llama, 8192) == 2 * 32 * 8 * 128 * 8192


@needs_data
def test_decoding_follows_the_bytes_of_the_weights(llama: LayerGraph, tmp_path: Path) -> None:
    """Formats with 16-bit scales per 32 weights: 4.5, 5.5, 6.5 and 8.5 bits a weight; the K formats are within 4 % of those."""
    measured = {row["quant_type"]: 1 / float(row["decode_tps_128"]) for row in csv.DictReader(DATA.open())}
    formats = {"F16": (16, None), "Q8_0": (8, 32), "Q6_K": (6, 32), "Q5_K_S": (5, 32), "Q4_K_S": (4, 32)}
    step = decode_step(llama, 64)
    sums = np.array([latency(step, bits, tmp_path, group) for bits, group in formats.values()])
    found = calibrate(sums, [measured[name] for name in formats])
    assert found.error < 0.04
    assert np.abs(found.errors).max() < 0.06
    assert 3e-3 < found.offset < 6e-3  # the published fit over file sizes: 4.37 ms


def test_prefill_gains_nothing_from_narrower_weights(llama: LayerGraph, tmp_path: Path) -> None:
    narrow, wide = (latency(llama, bits, tmp_path, None) for bits in (4, 16))
    assert narrow == pytest.approx(wide, rel=0.01)
    one = decode_step(llama, 64)
    narrow, wide = (latency(one, bits, tmp_path, None) for bits in (4, 16))
    assert wide / narrow == pytest.approx(4, rel=0.02)


def test_the_scales_of_groups_are_read_with_the_weights(llama: LayerGraph, tmp_path: Path) -> None:
    one = replace(decode_step(llama, 64), layers=tuple(x for x in decode_step(llama, 64).layers if x.kind == "linear"))
    plain, grouped = (latency(one, 4, tmp_path, group) for group in (None, 32))
    assert grouped / plain == pytest.approx(4.5 / 4, rel=2e-3)
