"""``hwdse pick`` by its options: rules, confidences, and what is said of those that cannot go together."""

import json
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
        (["--sure", "accuracy >= 97 %", "--confidence", "2"], 2, "a confidence lies between"),
        (["--sure", "accuracy >= 99.9 %"], 1, "its lower bound"),
        (["--lexicographic", ""], 2, "unknown metric ''"),
        (["--knee", "latency"], 2, "say which: latency@t4"),
    ],
)
def test_mistakes(run: Path, options: list[str], code: int, sentence: str) -> None:
    ran = hwdse("pick", run, *options)
    assert (ran.code, ran.out) == (code, "")
    assert sentence in ran.said
