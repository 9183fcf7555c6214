"""``hwdse pick`` by its options: rules, confidences, and what is said of those that cannot go together."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from commands import hwdse

from hwdse.records import SweepRecord


@pytest.fixture
def run(record: SweepRecord, tmp_path: Path) -> Path:
    record.save(tmp_path)
    return tmp_path


def test_rules_and_confidence(run: Path) -> None:
    found = json.loads(hwdse("pick", run, "--sure", "accuracy >= 20 %", "--confidence", "99%", "--knee", "weights", "--json").out)
    assert found["rule"] == "knee"
    (limit,) = found["limits"]
    assert limit["confidence"] == 0.99
    assert 0.2 <= limit["found"] < found["trial"]["measures"]["accuracy"]
    ran = hwdse("pick", run, "--lexicographic", "accuracy, latency@t4,weights", "--tolerance", "0.5 %")
    assert ran.code == 0
    assert "comes first by accuracy, then latency@t4, then weights" in ran.text


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--knee", "weights", "--lexicographic", "accuracy"], 2, "two rules to choose by"),
        (["--tolerance", "1 %"], 2, "--tolerance says what counts as equal"),
        (["--confidence", "95%"], 2, "--confidence says how sure"),
        (["--sure", "accuracy >= 97 %", "--confidence", "2"], 2, "a confidence must be a number between 50 % and 99.9999 %, got '2'"),
        (["--sure", "accuracy >= 20 %", "--confidence", "99.99999999999999%"], 2, "between 50 % and 99.9999 %"),
        (["--sure", "accuracy >= 20 %", "--confidence", "99.99991%"], 2, "between 50 % and 99.9999 %"),
        (["--sure", "accuracy >= 20 %", "--confidence", "nan"], 2, "between 50 % and 99.9999 %"),
        (["--sure", "accuracy >= 99.9 %"], 1, "its lower bound"),
        (["--lexicographic", ""], 2, "unknown metric ''"),
        (["--knee", "latency"], 2, "say which: latency@t4"),
    ],
)
def test_mistakes(run: Path, options: list[str], code: int, sentence: str) -> None:
    ran = hwdse("pick", run, *options)
    assert (ran.code, ran.out) == (code, "")
    assert sentence in ran.said


def test_a_file_that_is_no_allocation_is_not_replaced(run: Path, tmp_path: Path) -> None:
    chip = tmp_path / "chip.toml"
    chip.write_text("name = 'chip'")
    ran = hwdse("pick", run, "-o", chip)
    assert (ran.code, ran.out) == (2, "")
    assert "is no allocation file, so it is not replaced" in ran.said
    assert chip.read_text() == "name = 'chip'"
    for _ in range(2):  # its own it does replace
        assert hwdse("pick", run, "-o", tmp_path / "mine.json").code == 0


def test_what_if(run: Path) -> None:
    ran = hwdse("pick", run, "--what-if", "latency@t4 <= 1.2 ms", "--what-if", "weights <= 80% of w8a8")
    assert ran.code == 0
    assert "Predicted accuracy, not measured:" in ran.text
    assert "90 % prediction interval" in ran.text
    assert "To measure it, run the sweep with this budget in its file" not in ran.text
    said = json.loads(hwdse("pick", run, "--what-if", "latency@t4 <= 1.2 ms", "--json").out)
    assert said["limits"][0]["cost"] <= 1.2e-3
    assert said["predicted"]["low"] <= said["predicted"]["value"] <= said["predicted"]["high"] <= 1
    assert said["command"].startswith('hwdse allocate digits -a t4 -b "latency@t4 <= 1.2 ms" --epochs 5')
    assert said["not_predicted"] is None


def test_allocate_says_the_same_of_what_was_not_measured(run: Path) -> None:
    picked = json.loads(hwdse("pick", run, "--what-if", "latency@npu <= 1.2 ms", "--what-if", "weights <= 80% of w8a8", "--json").out)
    limits = ("-b", "latency <= 1.2 ms", "-b", "weights <= 80% of w8a8", "--what-if", run)
    for accelerator in ("npu", "chips/npu.toml"):  # by name, and by the file that the run had it from
        asked = json.loads(hwdse("allocate", "digits", "-a", accelerator, *limits, "--json").out)
        assert asked["what_if"] == ["latency@npu <= 1.2 ms", "weights <= 80% of w8a8"]
        assert {**asked, "what_if": 0, "command": 0} == {**picked, "what_if": 0, "command": 0}
        assert asked["command"].startswith('hwdse allocate digits -a chips/npu.toml -b "latency')


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["vit", "-b", "weights <= 1 KiB"], "is a run of digits, not of vit"),
        (
            ["digits", "-b", "weights <= 1 KiB", "--epochs", 5, "--widths", "w4a4"],
            "--widths, --epochs: give one or the other",
        ),
        (["digits", "-a", "npx", "-b", "latency <= 1 ms"], "unknown accelerator in the run 'npx'; did you mean 'npu'?"),
        (["digits"], "--what-if needs the budget in question"),
    ],
)
def test_mistakes_about_what_allocate_would_measure(run: Path, words: list[object], sentence: str) -> None:
    ran = hwdse("allocate", *words, "--what-if", run)
    assert (ran.code, ran.out) == (2, "")
    assert sentence in ran.said


def test_what_if_says_what_its_interval_assumes(record: SweepRecord, tmp_path: Path) -> None:
    record.with_trials(tuple(replace(t, knobs={**t.knobs, "epochs": 0}) for t in record.trials)).save(tmp_path)
    ran = hwdse("pick", tmp_path, "--what-if", "latency@t4 <= 1.2 ms")
    said = json.loads(hwdse("pick", tmp_path, "--what-if", "latency@t4 <= 1.2 ms", "--json").out)["predicted"]
    assert f"over {said['points']} allocations measured with unknown and no training: rank" in ran.text
    assert "FP32 takes part in the fit and is not counted." in ran.text
    assert "The interval assumes that the new allocation turns out as those measured did" in ran.text
    assert said["fp32_in_the_fit"]
    assert "exchangeable" in said["assumes"]


def test_what_if_where_the_record_does_not_say_which_file_an_accelerator_was(record: SweepRecord, tmp_path: Path) -> None:
    replace(record, provenance={}).save(tmp_path)
    ran = hwdse("pick", tmp_path, "--what-if", "latency@t4 <= 1.2 ms")
    assert ran.code == 0, ran.err
    assert "Predicted accuracy" in ran.text
    assert "the record does not say from which file t4 was read" in ran.text
    assert json.loads(hwdse("pick", tmp_path, "--what-if", "latency@t4 <= 1.2 ms", "--json").out)["command"] is None


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--what-if", "latency@t4 <= 1 us"], 1, "cannot be met: the smallest reachable latency@t4 is"),
        (["--what-if", "latency <= 1 ms"], 2, "say which: latency@t4"),
        (["--what-if", "weights <= 1 KiB", "--knee", "weights", "--export", "x"], 2, "--knee, --export of what was: give one or the other"),
    ],
)
def test_mistakes_about_what_was_not_measured(run: Path, options: list[str], code: int, sentence: str) -> None:
    ran = hwdse("pick", run, *options)
    assert (ran.code, ran.out) == (code, "")
    assert sentence in ran.said
