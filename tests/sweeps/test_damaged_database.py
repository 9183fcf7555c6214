"""A damaged ``study.db`` is a sentence that names it, wherever the damage lies."""

from __future__ import annotations

import warnings
from pathlib import Path

import optuna
import pytest
from damage import damaged_bytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwdse.errors import HwdseError
from hwdse.sweeps.finding import opened


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "study.db"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="sweep", directions=["minimize", "maximize"])
    study.set_user_attr("config", {"task": "digits"})
    for _ in range(3):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.suggest_categorical("c", ["a", "b"])
        trial.set_user_attr("kept", {"a": [1, 2]})
        study.tell(trial, [1.0, 2.0])
    return path.read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


def look(folder: Path, content: bytes) -> str:
    """Opens the study and reads its trials; the sentence of the error, empty where there was none."""
    for rest in ("study.db", "study.db-journal"):
        (folder / rest).unlink(missing_ok=True)
    (folder / "study.db").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            with opened(folder, None, None) as (_, _, study):
                study.get_trials(deepcopy=False)
        except HwdseError as error:
            return str(error)
    return ""


def test_a_whole_one_is_read(whole: bytes, folder: Path) -> None:
    assert look(folder, whole) == ""


@pytest.mark.parametrize(
    ("old", "new"), [(b"COMPLETE", b"COMPL_TE"), (b'{"task"', b'{"ta\xffk"'), (b'{"task"', b'{"task\x01'), (b"SQLite", b"SQLitf")]
)
def test_damage_in_a_row_or_in_the_head(whole: bytes, folder: Path, old: bytes, new: bytes) -> None:
    assert old in whole
    assert "study.db: is truncated or not a study database" in look(folder, whole.replace(old, new))


@settings(
    max_examples=max(1, settings().max_examples // 10), suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # a tenth: each opens a database
@given(st.data())
def test_any_damage(whole: bytes, folder: Path, data: st.DataObject) -> None:
    said = look(folder, data.draw(damaged_bytes(whole)))
    assert not said or str(folder) in said
