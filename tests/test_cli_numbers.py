"""Options that are numbers take the one grammar of numbers, and say their range."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import hwdse

WRONG = ("5_0", "１２", "1e400", "nan", "inf", "-0", "-1", "0x10", "", "9" * 5000, "1e-320", "five")
OPTIONS = (
    ("allocate", "digits", "--epochs"), ("allocate", "digits", "--seed"), ("compare", "digits", "-a", "npu", "--points"),
    ("sweep", "digits", "--trials"),
    ("profile", "digits", "--decode"), ("sweep", "digits", "--workers"), ("sweep", "digits", "--gpus"),
    ("accelerators", "import", "vela", "x.csv", "--task", "digits", "-o", "t.csv", "--clock"),
    ("accelerators", "measure", "digits", "-o", "t.csv", "--seconds-per-layer"),
)  # fmt: skip


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option[-1])
def test_what_is_no_number_is_said(option: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in WRONG:
        ran = hwdse(*option[:-1], f"{option[-1]}={text}")
        assert ran.code == 2
        assert "must be a" in ran.said, ran.err
        assert list(tmp_path.iterdir()) == []


def test_defaults_and_numbers_still_work() -> None:
    assert hwdse("sensitivity", "--help").code == 0
    assert hwdse("explain", "nowhere", "3").code == 1
    assert hwdse("explain", "nowhere", "3.5").code == 2
