from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse.costs import CostTable
from hwdse.errors import FileFormatError, UnknownName
from hwdse.formats import Allocation, LayerFormat, NumberFormat, load_format
from hwdse.metrics import LOSS, WEIGHTS, Metric
from hwdse.record_text import record_text
from hwdse.records import RECORD_SCHEMA, SweepRecord, TrialResult
from hwdse.storage import StorageError

ACCURACY = Metric("accuracy", "fraction", "higher")
T4 = Metric("latency", "s", on="t4")

MEASURES = {"weights": 512.0, "accuracy": 0.9}

numbers = st.floats(allow_nan=False, allow_infinity=False)
trials = st.builds(
    TrialResult,
    number=st.integers(0, 1000),
    knobs=st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), numbers, st.text(max_size=5), st.none()), max_size=3),
    state=st.sampled_from(["complete", "failed", "interrupted"]),
    allocation=st.one_of(
        st.none(),
        st.dictionaries(st.text(max_size=4), st.builds(LayerFormat.of, st.integers(1, 32), st.integers(1, 32)), max_size=3).map(Allocation),
    ),
    measures=st.dictionaries(st.text(max_size=5), st.one_of(numbers, st.just(math.inf)), max_size=3),
    test=st.one_of(st.none(), numbers),
    samples=st.integers(0, 10**6),
    slack=st.dictionaries(st.text(max_size=5), numbers, max_size=2),
    seconds=st.floats(0, 1e6),
    error=st.text(max_size=10),
    notes=st.lists(st.text(max_size=5), max_size=2).map(tuple),
)


@given(trials)
def test_a_trial_round_trips_through_json(trial: TrialResult) -> None:
    text = json.dumps(trial.to_dict(), allow_nan=False)
    assert TrialResult.from_dict(json.loads(text)) == trial


def test_what_json_cannot_say_is_null_and_never_a_good_number() -> None:
    trial = TrialResult(0, {}, "complete", None, {"accuracy": math.nan, "latency": math.inf}, test=math.nan)
    text = json.dumps(trial.to_dict(), allow_nan=False)
    again = TrialResult.from_dict(json.loads(text))
    assert again.measures == {"accuracy": math.inf, "latency": math.inf}
    assert again.test is None


def record(**changes: object) -> SweepRecord:
    options = (LayerFormat.of(4, 8), LayerFormat.of(8, 8))
    base = SweepRecord(
        task="digits",
        score=ACCURACY,
        costs=(WEIGHTS, T4),
        budgets=(("weights <= 1 KiB",), ("weights <= 2 KiB", "latency@t4 <= 3 ms")),
        trials=(
            TrialResult(
                0, {"allocator": "qbitopt"}, "complete", Allocation({"a": options[0]}), {"weights": 512.0, "accuracy": 0.9}, samples=450
            ),
            TrialResult(1, {}, "failed", error="loss is not finite"),
        ),
        reference={"validation": 0.95},
        graph={"fingerprint": "abc", "layers": [{"name": "a"}]},
        conventions={"weights": {"convention": "bits / 8", "notes": [], "accelerator": None}},
        provenance={"seed": 0, "versions": {"torch": "2"}},
        config={"budgets": ["weights <= 1 KiB"]},
        tables={"loss": CostTable.one_row(LOSS, ("a",), options, np.array([[1.0, np.inf]]))},
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def test_a_record_round_trips(tmp_path: Path) -> None:
    saved_ = record().save(tmp_path)
    again = SweepRecord.load(tmp_path)
    assert again.damage == ()
    assert dict(again.scores) == {}
    assert replace(again, tables={}, scores={}) == replace(saved_, tables={})
    np.testing.assert_array_equal(again.tables["loss"].cells, [[1.0, np.inf]])
    again.save(tmp_path)  # again over itself
    assert replace(SweepRecord.load(tmp_path), tables={}, scores={}) == replace(saved_, tables={})


def test_a_record_without_tables(tmp_path: Path) -> None:
    record(tables={}).save(tmp_path)
    assert not (tmp_path / "tables.npz").exists()
    assert SweepRecord.load(tmp_path).tables == {}


def test_complete_trials_metrics_and_order() -> None:
    assert [t.number for t in record().complete] == [0]
    assert record().metric("accuracy") == ACCURACY
    assert record().metric("latency") == T4
    with pytest.raises(UnknownName, match="unknown metric 'energy'"):
        record().metric("energy")
    turned = record().with_trials(record().trials[::-1])
    assert [t.number for t in turned.trials] == [0, 1]


def saved(folder: Path) -> dict[str, object]:
    record().save(folder)
    data: dict[str, object] = json.loads((folder / "record.json").read_text())
    return data


def unheld(data: dict[str, object]) -> dict[str, object]:
    """As a version before the checksums wrote it."""
    return {key: value for key, value in {**data, "schema": "hwdse.record/1"}.items() if key not in ("checksums", "files")}


def test_a_missing_record(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot read .*record\.json"):
        SweepRecord.load(tmp_path)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_record(tmp_path: Path, part: float) -> None:
    record().save(tmp_path)
    path = tmp_path / "record.json"
    text = path.read_text().rstrip()
    path.write_text(text[: int(len(text) * part)])
    with pytest.raises(FileFormatError, match=r"record.json, line \d+: is (empty|truncated or not JSON)"):
        SweepRecord.load(tmp_path)


@pytest.mark.parametrize("schema", [None, "hwdse.record/0", 3])
def test_another_schema(tmp_path: Path, schema: object) -> None:
    data = saved(tmp_path)
    data["schema"] = schema
    (tmp_path / "record.json").write_text(json.dumps(data))
    with pytest.raises(FileFormatError, match=f"key 'schema': must have schema '{RECORD_SCHEMA}', got {schema!r}"):
        SweepRecord.load(tmp_path)


@pytest.mark.parametrize(
    "key", ["task", "score", "costs", "budgets", "reference", "graph", "conventions", "provenance", "config", "trials"]
)
def test_a_missing_key(tmp_path: Path, key: str) -> None:
    data = saved(tmp_path)
    del data[key]
    (tmp_path / "record.json").write_text(record_text({"trials": [], **data}) if key != "trials" else json.dumps(unheld(data)))
    with pytest.raises(FileFormatError, match=f"key '{key}': is missing"):
        SweepRecord.load(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("score", "accuracy"),
        ("score", {"nome": "x"}),
        ("costs", [3]),
        ("costs", 3),
        ("budgets", [3]),
        ("trials", 3),
        ("trials", [3]),
        ("trials", [{"state": "lost"}]),
        ("trials", [{"number": 0, "state": "complete"}]),
    ],
)
def test_a_key_of_another_shape(tmp_path: Path, key: str, value: object) -> None:
    data = unheld(saved(tmp_path))
    data[key] = value
    (tmp_path / "record.json").write_text(json.dumps(data))
    with pytest.raises(FileFormatError, match=r"record\.json"):
        SweepRecord.load(tmp_path)


def test_truncated_tables_are_said(tmp_path: Path) -> None:
    record().save(tmp_path)
    path = tmp_path / "tables.npz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FileFormatError, match=r"tables.npz: was changed since it was written.*Give the command of the sweep again"):
        SweepRecord.load(tmp_path)


def test_records_and_trials_print_in_a_line() -> None:
    found = record()
    for one in (found, *found.trials):
        assert "\n" not in repr(one)
        assert len(repr(one)) < 200


def test_codebooks_of_an_earlier_record_become_formats(tmp_path: Path) -> None:
    now = record()
    trial = replace(now.trials[0], knobs={**now.trials[0].knobs, "scheme": "codebook+lsq@mse"})
    now = replace(now, trials=(trial,), scheme_tables={"codebook+lsq@mse": now.tables})
    now.save(tmp_path)
    data = json.loads((tmp_path / "record.json").read_text())
    data = {k: v for k, v in data.items() if k not in ("checksums", "files", "formats")} | {"schema": "hwdse.record/1"}
    data["trials"] = [{k: v for k, v in t.items() if k not in ("files", "sha256")} for t in data["trials"]]
    (tmp_path / "record.json").write_text(json.dumps(data))
    found = SweepRecord.load(tmp_path)
    assert trial.allocation is not None
    assert found.trials[0].allocation is not None
    for name, chosen in trial.allocation.items():
        assert str(found.trials[0].allocation[name]) == f"cb{chosen.weight.bits}:{chosen.activation}"
    (tables,) = found.scheme_tables.values()
    for table, before in ((tables[key], now.tables[key]) for key in tables):
        assert [(o.weight.bits, o.activation) for o in table.options] == [(o.weight.bits, o.activation) for o in before.options]
        assert all(str(o.weight).startswith("cb") for o in table.options)
    assert found.tables_of(found.trials[0])


def test_a_record_carries_the_formats_that_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "ternary.toml").write_text('schema = "hwdse.format/1"\nname = "ternary"\nvalues = [-1, 0, 1]\n')
    number = load_format(tmp_path / "ternary.toml")
    made = record()
    assert made.trials[0].allocation is not None
    allocation = Allocation(dict.fromkeys(made.trials[0].allocation, LayerFormat(number, NumberFormat.parse("int8"))))
    replace(made, trials=(replace(made.trials[0], allocation=allocation),)).save(tmp_path / "run")
    code = "import sys; from hwdse.records import SweepRecord; print(SweepRecord.load(sys.argv[1]).trials[0].allocation)"
    code = code.replace("sys.argv[1]", "__import__('pathlib').Path(sys.argv[1])")
    found = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], capture_output=True, text=True, check=True).stdout
    assert f"{number}:int8" in found
