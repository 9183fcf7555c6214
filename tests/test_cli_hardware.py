"""``audit``, ``compare``, ``explore-hardware`` and the details of ``profile``: what they say, and the mistakes that can be made."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
from commands import hwdse, task_file

SLOW = """
schema = "hwdse.accelerator/1"
name = "{name}"
[provenance]
kind = "analytic"
source = "a test"
[precision]
semantics = "native"
weights = {weights}
activations = {weights}
unsupported = "{unsupported}"
other = "{other}"
[compute]
model = "roofline"
memory = "dram"
macs_per_s = {{w8a8 = 1e6, w4a4 = 4e6}}
[[memory]]
name = "dram"
bytes_per_s = 1e9
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def toy(tmp_path: Path) -> str:
    return task_file(tmp_path)


def chip(name: str = "chip", weights: str = "[4, 8]", unsupported: str = "round_up", other: str = "w4a4", extra: str = "") -> str:
    """Bound by arithmetic: a layer takes its MACs over the rate."""
    Path(f"{name}.toml").write_text(SLOW.format(name=name, weights=weights, unsupported=unsupported, other=other) + extra)
    return f"{name}.toml"


# audit


def test_audit_says_whether_bitops_stand_in(toy: str) -> None:
    ran = hwdse("audit", toy, "-a", "mpic", "-a", chip(), "--count", "60")
    assert ran.code == 0, ran.err
    assert re.search(r"bitops (may|must not) stand in for latency@mpic here: rank correlation [\d.]+ \(95 % interval", ran.text)
    assert re.search(r"^bitops +latency@chip +0\.\d\d", ran.out, re.MULTILINE)
    assert "Figure: " in ran.out
    assert Path(ran.out.split("Figure: ")[1].strip()).stat().st_size > 5000


def test_audit_json_draws_only_when_asked(toy: str) -> None:
    found = json.loads(hwdse("audit", toy, "-a", "mpic", "--count", "60", "--json").out)
    assert found["task"] == "toy"
    assert {(f["proxy"], f["target"]) for f in found["findings"]} == {
        (p, t) for p in ("bitops", "average_bits") for t in ("latency@mpic", "energy@mpic")
    }
    assert all(0 <= f["wrong_pairs"] <= 1 and f["apart_at_equal_proxy"] >= 1 for f in found["findings"])
    assert all(f["stands_in"] is (f["low"] >= 0.95 and f["apart_at_equal_proxy"] <= 1.1) for f in found["findings"])
    assert not list(Path().glob("*.png"))
    assert hwdse("audit", toy, "-a", "mpic", "--count", "60", "--figure", "p.svg", "--json").code == 0
    assert "<svg" in Path("p.svg").read_text()


def test_audit_of_a_time_that_no_width_changes(toy: str) -> None:
    path = chip("fixed", extra="\n[overheads]\nleast_s = 1.0\n")
    assert "latency@fixed is 4 s whatever the widths: there is nothing to stand in for here" in hwdse("audit", toy, "-a", path).text


def test_audit_of_a_network_without_a_choice(tmp_path: Path) -> None:
    changes = "class Two(Toy):\n    def model(self):\n        return nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 4))\n"
    ran = hwdse("audit", task_file(tmp_path, changes, of="Two"), "-a", "mpic")
    assert ran.code == 2
    assert "there are only 1 different allocations of this model: too few" in ran.said


# compare


def test_compare_puts_each_accelerator_in_units_of_its_own(toy: str) -> None:
    ran = hwdse("compare", toy, "-a", "mpic", "-a", chip(), "--points", "5")
    assert ran.code == 0, ran.err
    assert "as a share of the accelerator's own widest uniform allocation" in ran.text
    assert re.search(r"^mpic +[\d.]+ us +[\d.]+ us", ran.out, re.MULTILINE)
    assert re.search(r"chip: latency goes (down to|no lower than) [\d.]+ us \(the first: [\d.]+ us\)", ran.text)
    assert "--measure scores every point without training" in ran.text
    assert Path(ran.out.split("Figure: ")[1].strip()).stat().st_size > 5000


def test_compare_json_is_a_front_for_each(toy: str) -> None:
    found = json.loads(hwdse("compare", toy, "-a", "mpic", "-a", chip(), "--points", "5", "-b", "weights <= 90% of w8a8", "--json").out)
    assert [f["accelerator"] for f in found["fronts"]] == ["mpic", "chip"]
    for front in found["fronts"]:
        costs, losses = ([rung[key] for rung in front["front"]] for key in ("cost", "expected_loss"))
        assert costs == sorted(costs)
        assert losses == sorted(losses, reverse=True)
        assert costs[-1] <= front["widest_uniform"] * (1 + 1e-9)
        assert set(front["front"][0]["widths"]) == {"0", "2", "4", "6"}
        assert front["reason"] == ""
    assert not list(Path().glob("*.png"))


def test_compare_says_which_accelerator_cannot_meet_the_budget(toy: str) -> None:
    only8 = chip("only8", weights="[8]", other="w8a8")
    ran = hwdse("compare", toy, "-a", "mpic", "-a", only8, "-b", "latency <= 70% of w8a8", "--points", "4")
    assert ran.code == 0, ran.err
    assert re.search(r"^only8 +[\d.]+ ms +- +-", ran.out, re.MULTILINE)
    assert re.search(r"only8: latency@only8 <= .* cannot be met: the smallest reachable", ran.text)


@pytest.mark.parametrize("more", [[], ["--json", "--figure", "x.png"]])
def test_compare_where_none_can_fails_and_says_why(toy: str, more: list[str]) -> None:
    ran = hwdse("compare", toy, "-a", "mpic", "-a", chip(), "-b", "weights <= 100 B", *more)
    assert ran.code == 1
    assert ran.said.count("cannot be met: the smallest reachable weights is") == 2
    assert "training FP32" not in ran.err
    assert not list(Path().glob("*.png"))


def test_compare_with_a_device_that_cannot_run_the_widest(toy: str) -> None:
    narrow = chip("narrow", weights="[4]", unsupported="error")
    ran = hwdse("compare", toy, "-a", "mpic", "-a", narrow, "--points", "4")
    assert ran.code in (0, 2), ran.err  # the ends are pinned to 8 bits
    assert "narrow" in ran.text + ran.said


# explore-hardware


def test_explore_measures_every_variant(toy: str) -> None:
    ran = hwdse("explore-hardware", toy, chip(), "--vary", "precision.weights=[4, 8];[8]", "--points", "3", "--measure")
    assert ran.code == 0, ran.err
    assert "measured accuracy (no training) inside each limit on latency" in ran.text
    assert re.search(r"^weights = \[4, 8\] +[\d.]+ ms +[\d.]+ us +[\d.]+ %", ran.out, re.MULTILINE)
    assert re.search(r"weights = \[8\]: latency goes (down to|no lower than)", ran.text)
    assert "--measure" not in ran.text


def test_what_one_device_cannot_run_is_measured_on_the_other(toy: str) -> None:
    """Each refuses widths that the other's front has."""
    narrow, wide = chip("narrow", "[2, 8]", "error", "w8a8"), chip("wide", "[4, 8]", "error", "w8a8")
    for path, rate in ((narrow, "w2a2"), (wide, "w4a4")):
        Path(path).write_text(Path(path).read_text().replace("w4a4 = 4e6", f"{rate} = 4e6"))
    ran = hwdse("compare", toy, "-a", narrow, "-a", wide, "--points", "3", "--measure", "--json")
    assert ran.code == 0, ran.err
    fronts = json.loads(ran.out)["fronts"]
    assert [{w for rung in f["front"] for w in rung["widths"].values()} & {"w2a2", "w4a4"} for f in fronts] == [{"w2a2"}, {"w4a4"}]
    assert all(0 <= rung["score"] <= 1 for f in fronts for rung in f["front"])


def test_explore_json_has_every_combination(toy: str) -> None:
    vary = ["--vary", "memory[dram].bytes_per_s=1e5;1e9", "--vary", "precision.weights=[4, 8];[8]"]
    found = json.loads(hwdse("explore-hardware", toy, chip(), *vary, "--points", "3", "--measure", "--json").out)
    assert [f["label"] for f in found["fronts"]] == [
        f"memory[dram].bytes_per_s = {rate}, weights = {w}" for rate in (1e5, 1e9) for w in ("[4, 8]", "[8]")
    ]
    least = [f["front"][0]["cost"] for f in found["fronts"]]
    assert least[0] < least[1]
    assert least[2] < least[0]
    assert all(0 <= rung["score"] <= 1 for f in found["fronts"] for rung in f["front"])
    assert found["note"] == ""


def test_more_widths_are_never_called_worse(toy: str) -> None:
    vary = ["--vary", "precision.weights=[8];[4, 8];[2, 4, 8]", "-b", "weights <= 90% of w8a8"]
    ran = hwdse("explore-hardware", toy, chip(), *vary, "--points", "4", columns=160)
    assert ran.code == 0, ran.err
    for theirs, first in re.findall(r"expected loss ([\d.e-]+) nats \(the first: ([\d.e-]+)\)", ran.text):
        assert float(theirs) <= float(first)
    rows = re.findall(r"^weights = .*\]  .*$", ran.out, re.MULTILINE)
    cells = [[float("inf") if cell == "-" else float(cell) for cell in row.split()[-5:]] for row in rows]
    assert len(cells) == 3
    for fewer, more in itertools.pairwise(cells):
        assert all(b <= a for a, b in zip(fewer, more, strict=True))


def test_explore_says_when_tables_are_left_out(toy: str) -> None:
    table = "op,batch,in_channels,out_channels,w_bits,a_bits,latency_s\nlinear,1,24,24,8,8,0.001\n"
    Path("chip.csv").write_text(table)
    path = chip(extra='\n[[table]]\nfile = "chip.csv"\n')
    text = Path(path).read_text().replace('name = "chip"', 'name = "chip"\nmissing = "analytic"')
    Path(path).write_text(text)
    ran = hwdse("explore-hardware", toy, path, "--vary", "compute.macs_per_s.w4a4=4e6;8e6", "--points", "3")
    assert ran.code == 0, ran.err
    assert "tables of chip were measured on the device as it is. Estimated without them: w4a4 = 4000000.0; w4a4 = 8000000.0." in ran.text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["audit", "{toy}", "-a", "npv"], r"unknown accelerator 'npv'; did you mean 'npu'"),
        (["audit", "{toy}", "--count", "5"], r"--count"),
        (["audit", "{toy}", "-a", "mpic", "--figure", "x.jpg"], r"unknown figure format 'jpg'.*Give a file such as x\.png"),
        (["audit", "{toy}", "-a", "mpic", "--decode", "8"], r"decoding needs a model with attention over tokens"),
        (["compare", "{toy}"], r"comparing needs two accelerators or more: name them with -a"),
        (["compare", "{toy}", "-a", "npu", "-a", "npu"], r"comparing needs two accelerators or more"),
        (["compare", "{toy}", "-a", "chip.toml", "-a", "again/chip.toml"], r"two accelerators are named 'chip': give each file a name"),
        (["compare", "{toy}", "-a", "npu", "-a", "mpic", "--metric", "latencies"], r"unknown metric 'latencies'; did you mean 'latency"),
        (["compare", "{toy}", "-a", "npu", "-a", "chip.toml", "--metric", "energy"], r"unknown metric 'energy'"),
        (["compare", "{toy}", "-a", "npu", "-a", "mpic", "--points", "1"], r"--points"),
        (["compare", "{toy}", "-a", "npu", "-a", "mpic", "--figure", "x.bmp"], r"unknown figure format 'bmp'"),
        (["compare", "{toy}", "-a", "npu", "-a", "mpic", "-b", "speed <= 3"], r"unknown metric 'speed'"),
        (["explore-hardware", "{toy}", "npu"], r"name what to vary: --vary"),
        (["explore-hardware", "{toy}", "npv", "--vary", "clock.hz=1e9"], r"unknown accelerator 'npv'"),
        (["explore-hardware", "{toy}", "npu", "--vary", "clock.hz"], r"'clock.hz' names no values; write for example"),
        (["explore-hardware", "{toy}", "npu", "--vary", "clok.hz=1e9"], r"the file has no 'clok'\. It has: calibration, clock"),
        (["explore-hardware", "{toy}", "npu", "--vary", "clock.hz=-1"], r"key 'clock.hz': must be greater than 0"),
        (["explore-hardware", "{toy}", "npu", "--vary", "clock.hz=1e9", "--vary", "clock.hz=2e9"], r"'clock.hz' is varied twice; give all"),
        (["explore-hardware", "{toy}", "npu", "--vary", "precision.weights=[4];[2, 4]"], r"w8a8, which the device cannot run"),
        (["profile", "{toy}", "--detail"], r"--detail is about accelerators: name one with -a"),
        (["profile", "{toy}", "-a", "npu", "--decode", "8"], r"decoding needs a model with attention over tokens"),
        (["profile", "{toy}", "-a", "npu", "--decode", "0"], r"--decode"),
    ],
)
def test_mistakes(arguments: list[str], sentence: str, toy: str) -> None:
    path = Path(chip())
    Path("again").mkdir()
    (Path("again") / path).write_text(path.read_text())
    ran = hwdse(*[a.format(toy=toy) for a in arguments])
    assert ran.code == 2, ran.out + ran.err
    assert re.search(sentence, ran.said), ran.err
    assert not list(Path().glob("*.png"))


# profile


def test_details_say_what_bounds_each_layer(toy: str) -> None:
    ran = hwdse("profile", toy, "-a", chip(), "--detail", "--at", "w8a8", "--at", "w4a4")
    assert ran.code == 0, ran.err
    assert re.search(r"^2 +w8a8 +576 us +analytic +576 us +[\d.]+ ns +[\d.]+ B +100\.0% +compute", ran.out, re.MULTILINE)
    assert re.search(r"^2 +w4a4 +144 us", ran.out, re.MULTILINE)
    assert "Sum over layers 1.44 ms, before overheads and calibration; bound: 100% by compute." in ran.text


def test_details_as_json(toy: str) -> None:
    found = json.loads(hwdse("profile", toy, "-a", chip(), "-a", "t4", "--detail", "--at", "w3a3", "--json").out)
    assert [(one["accelerator"], one["widths"]) for one in found] == [("chip", "w3a3"), ("t4", "w3a3")]
    layer = found[0]["layers"][1]
    assert (layer["layer"], layer["runs"], layer["bound"], layer["time"]["source"]) == ("2", "w4a4", "compute", "analytic")
    assert layer["time"]["value"] == pytest.approx(576 / 4e6)


DECODER = """
class Decoder(Toy):
    trained = True

    def model(self):
        class Attend(nn.Module):
            def __init__(self):
                super().__init__()
                self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)

            def forward(self, x):
                q, k, v = (p.unflatten(-1, (2, 8)).transpose(1, 2) for p in self.qkv(x).chunk(3, -1))
                return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))

        return nn.Sequential(nn.Linear(8, 16), Attend(), nn.Linear(16, 4))

    def example_inputs(self):
        return (torch.zeros(1, 12, 8),)
"""


def test_a_decoded_token_sees_the_whole_cache(tmp_path: Path) -> None:
    task = task_file(tmp_path, DECODER, of="Decoder")
    prefill, token = (json.loads(hwdse("profile", task, "-a", chip(), *more, "--json").out) for more in ([], ["--decode", "100"]))
    assert (prefill["decode"], token["decode"]) == (None, 100)
    macs = [{row["layer"]: row["macs"] for row in found["layers"]} for found in (prefill, token)]
    assert macs[0]["1.qkv"] == 12 * macs[1]["1.qkv"]
    (attention,) = {name for name in macs[1] if name not in ("0", "1.qkv", "1.out", "2")}
    assert macs[1][attention] == 2 * 100 * 16
    assert token["data_flow"] is True
    ran = hwdse("profile", task, "-a", "npu", "--decode", "100")
    assert "to generate one token with 100 in the cache" in ran.text
    assert "Traced by hooks" not in ran.text
    assert re.search(r"hwdse profile \S+ -a npu --decode 100 --json", ran.text)


# allocate


def test_a_limit_closer_than_the_error_is_at_risk(toy: str) -> None:
    calibrated = '\n[calibration]\nerror = {}\nnetworks = 3\nnote = "by hand"\n'
    for error, stands in ((0.5, "at risk"), (0.0001, "met")):
        path = chip(f"at{int(error * 10)}", extra=calibrated.format(error))
        ran = hwdse("allocate", toy, "-a", path, "-b", "latency <= 95% of w8a8", "--no-measure", columns=200)
        assert ran.code == 0, ran.err
        assert re.search(rf"^latency@\S+ +.*\) +{stands} +{'50.0%' if error == 0.5 else '0.0%'}", ran.out, re.MULTILINE), ran.out
        assert ("At risk: latency@at5 <= " in ran.text) == (stands == "at risk")
        found = json.loads(hwdse("allocate", toy, "-a", path, "-b", "latency <= 95% of w8a8", "--no-measure", "--json").out)
        (budget,) = found["budget"].values()
        assert budget["standing"] == stands
        assert budget["error"] == pytest.approx(error * found["costs"][f"latency@{Path(path).stem}"])
        if stands == "at risk":
            assert "measure this allocation, or tighten the limit" in ran.text


def test_an_estimate_whose_error_nobody_knows_is_not_called_met(toy: str) -> None:
    ran = hwdse("allocate", toy, "-a", chip(), "-b", "latency <= 95% of w8a8", "--no-measure", columns=200)
    assert re.search(r"^latency@chip +.*\) +error unknown +unknown", ran.out, re.MULTILINE)
    assert "is met by an estimate whose error nobody knows: measure whole networks and calibrate the accelerator" in ran.text
