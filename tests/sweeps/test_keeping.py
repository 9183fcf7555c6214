"""Which checkpoints stay: what is needed of many trials was needed of any few of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse.constraints import Budget, Constraint
from hwdse.metrics import BITOPS, WEIGHTS, Metric
from hwdse.records import TrialResult
from hwdse.sweeps.keeping import needed, prune, room

ACCURACY = Metric("accuracy", "fraction", "higher")
COSTS = (WEIGHTS, BITOPS)
BUDGETS = (Budget((Constraint(WEIGHTS, 3.0),)), Budget((Constraint(WEIGHTS, 4.0), Constraint(BITOPS, 2.0))), Budget())


def trial(number: int, weights: float, bitops: float, accuracy: float, **knobs: object) -> TrialResult:
    measures = {"weights": weights, "bitops": bitops, "accuracy": accuracy}
    return TrialResult(number, knobs, "complete", None, measures, files={f"checkpoints/{number}.pt": "0"})


few = st.integers(0, 5).map(float)
runs = st.lists(st.tuples(few, few, st.integers(0, 4).map(lambda n: n / 4)), max_size=12).map(
    lambda rows: [trial(number, *row) for number, row in enumerate(rows)]
)


@given(runs, st.data())
def test_what_one_worker_needs_no_other_removes(trials: list[TrialResult], data: st.DataObject) -> None:
    known = [t for t in trials if data.draw(st.booleans())]
    assert needed(trials, COSTS, ACCURACY, BUDGETS) & {t.number for t in known} <= needed(known, COSTS, ACCURACY, BUDGETS)


@given(runs)
def test_the_best_inside_each_budget_and_each_front_are_needed(trials: list[TrialResult]) -> None:
    found = needed(trials, COSTS, ACCURACY, BUDGETS)
    best = {t.number: t.measures for t in trials if t.number in found}
    for one in trials:
        for key in ("weights", "bitops"):
            assert any(m[key] <= one.measures[key] and m["accuracy"] >= one.measures["accuracy"] for m in best.values())
        for budget in BUDGETS:
            if all(c.holds(one.measures[c.metric.key]) for c in budget):
                inside = [m for m in best.values() if all(c.holds(m[c.metric.key]) for c in budget)]
                assert max(m["accuracy"] for m in inside) >= one.measures["accuracy"]


def test_what_is_removed(tmp_path: Path) -> None:
    trials = [
        trial(0, 5, 5, 0.5, origin="baseline"), trial(1, 1, 1, 0.5), trial(2, 2, 2, 0.25), trial(3, 1, 1, 0.5, same_as=2),
        trial(4, 3, 3, 0.25),
    ]  # fmt: skip
    (tmp_path / "checkpoints").mkdir()
    for name in ("0.pt", "1.pt", "2.pt", "4.pt", "mine.pt", "9.pt"):
        (tmp_path / "checkpoints" / name).write_bytes(b"")
    assert prune(tmp_path, trials, needed(trials, COSTS, ACCURACY, ())) == [2, 4]
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["0.pt", "1.pt", "9.pt", "mine.pt"]
    assert prune(tmp_path, trials, {3}) == [0, 1]  # the same as trial 2, whose checkpoint it would be
    assert prune(tmp_path / "nowhere", trials, set()) == []


@pytest.mark.parametrize(("keep", "said"), [("all", "all 500 are kept: 49 GB"), ("front", "would take 49 GB"), ("none", "49 GB")])
def test_what_a_run_takes_is_said_before_it(tmp_path: Path, keep: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10**9})())
    text = room(tmp_path, 98 * 10**6, 500, keep)  # type: ignore[arg-type]
    assert "a checkpoint takes about 98 MB" in text
    assert said in text
    assert "Free there: 1 GB, which is less than all of them" in text
    assert room(tmp_path, 1000, 10, keep) == ""  # type: ignore[arg-type]
