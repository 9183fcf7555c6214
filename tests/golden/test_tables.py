"""The shipped tables against the data they were converted from, and what was published about them."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from models import resnet18, resnet50

from hwdse.choices import Choices
from hwdse.costmodels import accelerator_names, load_accelerator
from hwdse.costmodels.analytic.bit_fusion import BitFusion
from hwdse.costmodels.analytic.models import compute_model
from hwdse.costmodels.calibration import calibrate
from hwdse.costmodels.latency_table import CostLookup
from hwdse.costmodels.signature import Work, work_of_signature
from hwdse.formats import LayerFormat
from hwdse.trace import trace

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the published data in {SHARED}")


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", accelerator_names())
def test_every_shipped_table_has_its_hash_in_the_file(name: str) -> None:
    accelerator = load_accelerator(name)
    for table in accelerator.keys.table:
        content = (accelerator.file.parent / table.file).read_bytes()
        assert table.sha256 == hashlib.sha256(content).hexdigest()


def test_bit_fusion_has_every_row_and_pair() -> None:
    rows = load_accelerator("bitfusion").rows
    shapes = defaultdict(set)
    for row in rows:
        shapes[row.signature].add(row.widths)
    assert (len(rows), len(shapes)) == (6567, 779)
    without = [s for s, pairs in shapes.items() if not any(p.activation.bits == 4 for p in pairs)]
    assert len(without) == 148
    assert all(s.op == "depthwise" and s.kernel_h == 7 for s in without)


def test_six_bits_interpolated_would_be_far_too_fast_for_depthwise() -> None:
    lookup = CostLookup(load_accelerator("bitfusion").rows, "seconds")
    errors = []
    for signature, pairs in lookup.signatures.items():
        if signature.op == "depthwise" and len(pairs) == 9:
            corners = [pairs[LayerFormat.of(w, a)].value for w in (4, 8) for a in (4, 8)]
            errors.append(1 - sum(corners) / 4 / pairs[LayerFormat.of(6, 6)].value)
    assert np.mean(errors) == pytest.approx(0.35, abs=0.005)


def test_the_table_is_not_monotone() -> None:
    lookup = CostLookup(load_accelerator("bitfusion").rows, "seconds")
    pairs = slower = 0
    for by_pair in lookup.signatures.values():
        for narrow, fast in by_pair.items():
            for wide, slow in by_pair.items():
                if narrow != wide and narrow.weight.bits <= wide.weight.bits and narrow.activation.bits <= wide.activation.bits:
                    pairs += 1
                    slower += fast.value > slow.value
    assert (slower, pairs) == (46, 18_813)


def test_the_tiling_search_gives_the_rows_that_fill_the_array() -> None:
    """1,701 rows that someone else's run of the published simulator made; its version left partial columns without padding."""
    accelerator = load_accelerator("bitfusion")
    model = compute_model(accelerator.keys)
    assert isinstance(model, BitFusion)
    rows = [r for r in accelerator.rows if r.seconds and r.signature.op == "conv" and r.signature.out_channels % model.columns == 0]
    modelled = model.estimate(Work.of([work_of_signature(r.signature) for r in rows]), list(accelerator.precision.native)).seconds
    column = {pair: j for j, pair in enumerate(accelerator.precision.native)}
    ratios = np.array([r.seconds / modelled[i, column[r.widths]] for i, r in enumerate(rows)])
    assert len(rows) == 1701
    assert np.median(ratios) == pytest.approx(1, abs=1e-4)
    assert np.quantile(ratios, [0.05, 0.95]) == pytest.approx([0.978, 1.004], abs=2e-3)


@needs_data
def test_bit_fusion_equals_its_source() -> None:
    lookup = {}
    for row in load_accelerator("bitfusion").rows:
        s = row.signature
        lookup[s.in_channels, s.out_channels, s.in_h, s.kernel_h, s.stride_h, str(row.widths)] = row
    source = read(SHARED / "apq" / "bitfusion_b1_lut.csv")
    for line in source:
        shape = tuple(int(line[k]) for k in ("in_channels", "out_channels", "in_hw", "kernel", "stride"))
        found = lookup[(*shape, f"w{line['w_bits']}a{line['a_bits']}")]
        assert found.seconds == pytest.approx(float(line["latency_ms"]) * 1e-3, rel=1e-9)
        assert found.joules == pytest.approx(float(line["energy_mJ"]) * 1e-3, rel=1e-9)
    assert len(source) == len(lookup)


@needs_data
@pytest.mark.parametrize(("network", "int4", "int8"), [("resnet18", 3.14867, 5.34369), ("resnet50", 7.65993, 11.86536)])
def test_t4_sums_are_those_of_the_published_configurations(network: str, int4: float, int8: float) -> None:
    rows = [row for row in load_accelerator("t4").rows if row.instance.startswith(f"{network}:")]
    for bits, published in ((4, int4), (8, int8)):
        total = sum(row.seconds or np.nan for row in rows if row.widths == LayerFormat.of(bits, bits))
        assert total * 1e3 == pytest.approx(published, abs=1e-5)


@pytest.mark.parametrize(("network", "sums"), [("resnet18", {4: 3.14867, 8: 5.34369}), ("resnet50", {4: 7.65993, 8: 11.86536})])
def test_t4_costs_a_traced_network_by_its_own_rows(network: str, sums: dict[int, float]) -> None:
    model = resnet18() if network == "resnet18" else resnet50(v1=True)
    graph = trace(model.to("meta").eval(), (torch.zeros(8, 3, 224, 224, device="meta"),))
    choices = Choices.of(graph, [4, 8], [4, 8])
    latency = load_accelerator("t4").cost_models(network)[0]
    table = latency.tabulate(graph, choices.options)
    ends = sum(latency.explain(graph, name, LayerFormat.of(8, 8)).value for name in ("conv1", "fc"))
    for bits, published in sums.items():
        uniform = choices.indices(choices.uniform(LayerFormat.of(bits, bits)))
        assert (table.totals(uniform)[0] - ends) * 1e3 == pytest.approx(published, abs=1e-5)
        assert set(table.by_source(uniform)) == {"exact", "signature"}  # signature: the stem and the classifier
    mixed = choices.indices(choices.uniform(LayerFormat.of(4, 8)))
    assert table.totals(mixed)[0] == table.totals(choices.indices(choices.uniform(LayerFormat.of(8, 8))))[0]


def least_squares(sums: np.ndarray, times: np.ndarray, affine: bool) -> float:
    """Leave-one-out error of the fit of absolute times, with which the published figure was worked out."""
    design = np.column_stack([np.ones_like(sums), sums]) if affine else sums[:, None]
    errors = []
    for i in range(len(sums)):
        keep = np.arange(len(sums)) != i
        fit = np.linalg.lstsq(design[keep], times[keep], rcond=None)[0]
        errors.append(abs(design[i] @ fit / times[i] - 1))
    return float(np.mean(errors))


@needs_data
@pytest.mark.parametrize(
    ("network", "affine", "scale_only", "offset_ms"), [("resnet18", 0.0096, 0.0337, 1.300), ("resnet50", 0.0206, 0.0358, 3.556)]
)
def test_calibration_against_published_speedups(network: str, affine: float, scale_only: float, offset_ms: float) -> None:
    rows = [row for row in read(SHARED / "hawq" / "published_configs_summary.csv") if row["model"] == network]
    sums = np.array([float(row["sum_latency_ms_by_wbits"]) for row in rows])
    times = 1 / np.array([float(row["zoo_speedup"].rstrip("x")) for row in rows])
    assert least_squares(sums, times, affine=True) == pytest.approx(affine, abs=5e-5)
    assert least_squares(sums, times, affine=False) == pytest.approx(scale_only, abs=5e-5)
    assert calibrate(sums, times).error == pytest.approx(affine, abs=5e-4)  # ours weighs networks alike, large or small
    slope, intercept = np.polyfit(sums, times, 1)
    assert intercept / slope == pytest.approx(offset_ms, abs=1e-3)
    note = load_accelerator("t4").keys.calibration.note
    assert f"{offset_ms:.2f} ms" in note  # what the file tells its users is what was fitted


def test_t4_int8_over_int4_lies_between_one_and_two() -> None:
    by_instance: dict[str, dict[int, float]] = defaultdict(dict)
    for row in load_accelerator("t4").rows:
        if row.instance and row.seconds:
            by_instance[row.instance][row.widths.weight.bits] = row.seconds
    ratios = [times[8] / times[4] for times in by_instance.values()]
    assert min(ratios) >= 1.0
    assert max(ratios) <= 2.06
