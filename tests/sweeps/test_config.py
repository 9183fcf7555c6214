"""hwdse.sweep/1: every mistake named with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwdse.errors import FileFormatError, UsageError
from hwdse.sweeps import SweepConfig

GOOD = 'schema = "hwdse.sweep/1"\ntask = "digits"\nbudgets = [["bitops <= 50% of w8a8"]]\n'


def load(tmp_path: Path, text: str) -> SweepConfig:
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    return SweepConfig.load(path)


def test_defaults_and_short_form(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD.replace('[["bitops <= 50% of w8a8"]]', '["bitops <= 50% of w8a8", "weights <= 1 KiB"]'))
    assert config.budgets == (("bitops <= 50% of w8a8",), ("weights <= 1 KiB",))
    assert config.trials == 40
    assert SweepConfig.make(**config.plain()) == config


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert SweepConfig.load(path).task == "digits"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "key 'schema': must be 'hwdse.sweep/1', got None"),
        ('schema = "hwdse.sweep/2"', "must be 'hwdse.sweep/1', got 'hwdse.sweep/2'"),
        ('schema = "hwdse.sweep/1"\ntask = "digits"', "key 'budgets': is missing"),
        (GOOD + "trails = 3", r"key 'trails': is not a key of a sweep; did you mean 'trials'\? Known keys: accelerators"),
        (GOOD + "trials = 0", "key 'trials': Input should be greater than or equal to 1; got 0"),
        (GOOD + 'trials = "many"', "key 'trials': .*; got 'many'"),
        (GOOD + "epochs = [-1]", r"key 'epochs.0': Input should be greater than or equal to 0; got -1"),
        (GOOD + "epochs = []", "key 'epochs'"),
        (GOOD + 'baselines = ["8"]', "'8' is not the format of a layer, such as w4a8"),
        (GOOD + "tightness = [0.9, 0.5]", r"key 'tightness': must be \[low, high\] with 0 < low <= high <= 1"),
        (GOOD + "weights = [1]", "key 'weights.0': Input should be greater than or equal to 2"),
        (GOOD + "trials = ", "is not a TOML file"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(FileFormatError, match=sentence):
        load(tmp_path, text)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        SweepConfig.load(tmp_path / "none.toml")
