"""A new accelerator's file is whole, says what it is, and overwrites nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwdse.costmodels import accelerator_names, check_accelerator, load_accelerator
from hwdse.costmodels.starting_file import new_accelerator
from hwdse.errors import UsageError


@pytest.mark.parametrize("like", accelerator_names())
def test_a_copy_loads_under_its_name_with_the_same_numbers(like: str, tmp_path: Path) -> None:
    written = new_accelerator("mine", like, tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(written)
    mine, theirs = load_accelerator(written[0]), load_accelerator(like)
    assert all(line.startswith("ok") for line in check_accelerator(written[0]))
    assert mine.name == "mine"
    assert [r.seconds for r in mine.rows] == [r.seconds for r in theirs.rows]
    assert mine.keys.precision == theirs.keys.precision
    assert any(f"started as a copy of {like}" in note for m in mine.cost_models()[:1] for note in m.notes)  # type: ignore[attr-defined]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("my measurements")
    with pytest.raises(UsageError, match=r"mine\.csv is there already, and is not overwritten"):
        new_accelerator("mine", "t4", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.csv"]


def test_a_copy_of_a_copy(tmp_path: Path) -> None:
    first = new_accelerator("mine", "npu", tmp_path)[0]
    assert load_accelerator(new_accelerator("other", first, tmp_path)[0]).name == "other"


@pytest.mark.parametrize(
    ("name", "sentence"), [("2fast", "begins with a letter"), ("a/b", "begins with a letter"), ("npu", "choose another")]
)
def test_names(name: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=sentence):
        new_accelerator(name, "npu", tmp_path)


def test_shipped_names_and_foreign_folders_are_refused(tmp_path: Path) -> None:
    path = new_accelerator("mine", "t4", tmp_path)[0]
    text = path.read_text()
    path.write_text(text.replace('name = "mine"', 'name = "npu"'))
    assert "name of an accelerator that comes with the package" in check_accelerator(path)[0]
    path.write_text(text.replace('"mine.csv"', '"../mine.csv"'))
    assert "must stay in the folder of the accelerator's file" in check_accelerator(path)[0]
