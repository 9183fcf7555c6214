"""Trials are spent on what was not measured yet and is promising; thresholds are those of the trials before."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwdse.choices import Choices
from hwdse.constraints import Budget, Constraint
from hwdse.costs import CostTable
from hwdse.errors import UsageError
from hwdse.formats import Allocation, LayerFormat, grid
from hwdse.metrics import LOSS, Metric
from hwdse.problem import Problem
from hwdse.records import TrialResult
from hwdse.solvers import solve
from hwdse.sweeps import Knobs, Plan, SweepConfig, run_sweep, run_trial
from hwdse.sweeps.log import read, running
from hwdse.sweeps.refining import neighbours, refinement
from hwdse.sweeps.spending import POST_TRAINING, measured_before, promising
from hwdse.sweeps.stopping import stalled
from hwdse.sweeps.trial import about
from hwdse.workbench import Workbench

ACCURACY = Metric("accuracy", "fraction", "higher")
COST = Metric("weights", "B")


def result(number: int, score: float, cost: float = 1.0, state: str = "complete", **knobs: object) -> TrialResult:
    said = {"accelerator": None, "goal": 0, "epochs": 0, **knobs}
    return TrialResult(number, said, state, measures={"accuracy": score, "weights": cost})  # type: ignore[arg-type]


def test_the_first_are_trained_and_then_the_upper_share() -> None:
    knobs = Knobs("qbitopt", None, 0, epochs=5)
    history = [result(i, s) for i, s in enumerate([0.5, 0.6, 0.7, 0.8])]
    assert promising(0.1, knobs, history[:2], ACCURACY, 0.5).train
    verdict = promising(0.7, knobs, history, ACCURACY, 0.5)
    assert verdict.train
    assert (verdict.threshold, verdict.of) == (pytest.approx(0.65), 4)
    assert not promising(0.6, knobs, history, ACCURACY, 0.5).train
    assert promising(0.6, knobs, history, ACCURACY, 0.9).train


def test_only_scores_without_training_under_the_same_budget_count() -> None:
    knobs = Knobs("qbitopt", None, 0, epochs=5)
    others = [result(i, 0.9, goal=1) for i in range(5)] + [result(9, 0.9, epochs=5), result(10, 0.9, state="failed")]
    assert promising(0.1, knobs, others, ACCURACY, 0.5).of == 0
    assert promising(0.1, knobs, [result(i, 0.99, epochs=5, **{POST_TRAINING: 0.2}) for i in range(4)], ACCURACY, 0.5).threshold == 0.2


def test_proposals_with_less_room_are_held_against_their_like() -> None:
    history = [result(i, 0.98, tightness=1.0) for i in range(4)] + [result(9, 0.9, tightness=0.5)]
    assert promising(0.95, Knobs("qbitopt", None, 0, tightness=0.5, epochs=5), history, ACCURACY, 0.5).train
    assert not promising(0.95, Knobs("qbitopt", None, 0, tightness=0.95, epochs=5), history, ACCURACY, 0.5).train


def test_a_score_that_is_better_when_lower_is_held_the_other_way_round() -> None:
    error = Metric("error", "fraction", "lower")
    history = [replace(result(i, 0), measures={"error": s}) for i, s in enumerate([0.1, 0.2, 0.3, 0.4])]
    assert promising(0.15, Knobs("qbitopt", None, 0), history, error, 0.5).train
    assert not promising(0.35, Knobs("qbitopt", None, 0), history, error, 0.5).train


@pytest.fixture(scope="module")
def plan(bench: Workbench) -> Plan:
    values = {
        "task": "digits",
        "accelerators": ["mpic", "npu"],
        "budgets": [["weights <= 50% of w8a8"]],
        "trials": 4,
        "rounding": "nearest",
    }
    return Plan.of(SweepConfig.make("test", **values), bench)


def test_what_was_measured_is_not_measured_again(bench: Workbench, plan: Plan, tmp_path: Path) -> None:
    first = run_trial(bench, plan, Knobs("qbitopt", "npu", 0), 0, tmp_path)
    again = run_trial(bench, plan, Knobs("qbitopt", "npu", 0, tightness=0.9999), 1, tmp_path, history=[first])
    assert again.allocation == first.allocation
    assert (again.measures, again.knobs["same_as"]) == (first.measures, 0)
    assert "the same as trial 0: not measured again" in again.notes
    assert json.loads((tmp_path / "allocations" / "1.json").read_text())["checkpoint"] == "../checkpoints/0.pt"
    assert not (tmp_path / "checkpoints" / "1.pt").exists()
    third = run_trial(bench, plan, Knobs("qbitopt", "npu", 0, tightness=0.9999), 2, tmp_path, history=[again])
    assert third.knobs["same_as"] == 0
    other = run_trial(bench, plan, Knobs("qbitopt", "npu", 0, tightness=0.6), 3, tmp_path, history=[first])
    assert "same_as" not in other.knobs
    assert measured_before([first], {**first.knobs, "seed": 1}, str(first.knobs["scheme"]), first.allocation) is None


def test_a_proposal_that_is_not_promising_is_not_trained(bench: Workbench, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = replace(plan, promote=0.5)
    history = [result(i, 1.0, accelerator="npu", tightness=0.7) for i in range(4)]
    found = run_trial(bench, strict, Knobs("qbitopt", "npu", 0, tightness=0.7, epochs=1), 0, history=history)
    assert found.knobs["epochs"] == 0
    assert any("not trained" in n and "100.00 %, from 4 trials" in n for n in found.notes)
    trained = run_trial(bench, strict, Knobs("qbitopt", "npu", 0, epochs=1), 1, history=history[:1])
    assert trained.knobs["epochs"] == 1
    assert 0.5 < trained.knobs[POST_TRAINING] <= 1
    start = run_trial(bench, strict, Knobs("qbitopt", "npu", 0, tightness=0.7, epochs=1, origin="start"), 2, history=history)
    assert start.knobs["epochs"] == 1


def problem(bench: Workbench, share: float) -> Problem:
    table = bench.tables["weights"]
    widest = float(table.totals(bench.choices.indices(bench.choices.uniform(LayerFormat.of(8, 8))))[0])
    return Problem(bench.choices, bench.loss(), (table,), Budget((Constraint(COST, share * widest),)))


def test_neighbours_differ_by_a_step_or_a_swap_and_keep_the_budget(bench: Workbench) -> None:
    made = problem(bench, 0.6)
    start = Allocation(made.choices.uniform(LayerFormat.of(4, 4)))
    found = neighbours(made, start)
    assert len(found) == len(set(found)) > 10
    assert start not in found
    losses = [made.loss_of(a) for a in found]
    assert losses == sorted(losses)
    kinds = set()
    for allocation in found:
        assert not made.broken(allocation)
        steps = [
            (allocation[n].weight.bits - start[n].weight.bits, allocation[n].activation.bits - start[n].activation.bits) for n in start
        ]
        changed = sorted(step for step in steps if step != (0, 0))
        kinds.add(tuple(changed))
    # weights move by a bit; activations, which weigh nothing here, go up to 8 bits at once
    assert kinds <= {((1, 0),), ((-1, 0),), ((0, 4),), ((-1, 0), (1, 0)), ((-1, 0), (0, 4)), ((-1, 4),)}
    assert {((1, 0),), ((-1, 0),), ((0, 4),), ((-1, 0), (1, 0))} <= kinds
    assert made.choices.permits(np.array([made.choices.indices(a) for a in found])).all()


def test_a_step_that_saves_nothing_and_loses_more_is_no_neighbour(bench: Workbench) -> None:
    made = problem(bench, 0.9)
    table = made.table["weights"]
    eights = [table.options.index(LayerFormat.of(8, o.activation.bits)) for o in table.options]
    sevens = np.array([o.weight.bits == 7 for o in table.options])
    rounded = table.dense.copy()
    rounded[..., sevens] = rounded[..., np.array(eights)[sevens]]  # a device that runs 7 bits as 8
    device = CostTable.one_row(table.metric, table.layers, table.options, rounded[0])
    layer = made.choices.layers[1]
    for costs, below in (((table,), 7), ((device,), 6)):
        here = Problem(made.choices, made.loss, costs, Budget((Constraint(COST, table.total(made.choices.uniform(LayerFormat.of(8, 8)))),)))
        start = Allocation(made.choices.uniform(LayerFormat.of(8, 4)))
        alone = [a[layer] for a in neighbours(here, start) if {**a, layer: 0} == {**start, layer: 0}]
        assert {w.weight.bits for w in alone} == {8, below}
    from_below = Allocation({**start, layer: LayerFormat.of(6, 4)})
    alone = [a[layer] for a in neighbours(here, from_below) if {**a, layer: 0} == {**start, layer: 0}]
    assert {w.weight.bits for w in alone} == {5, 6, 8}  # 7 costs what 8 does, and loses more


def test_swaps_are_found_in_a_wide_network_on_its_limit() -> None:
    rng, count = np.random.default_rng(0), 200
    names, options = tuple(f"l{i}" for i in range(count)), grid((2, 4, 6, 8), (8,))
    bits = np.array([o.weight.bits for o in options], float)
    size = rng.lognormal(0, 1, (count, 1))
    cost = CostTable.one_row(COST, names, options, size * bits)
    loss = CostTable.one_row(LOSS, names, options, rng.lognormal(0, 1, (count, 1)) * 4.0**-bits)
    made = Problem(Choices(names, options, np.ones((count, 4), bool)), loss, (cost,), Budget((Constraint(COST, 4.5 * size.sum()),)))
    start = solve(made, "greedy").allocation
    found = neighbours(made, start)
    pairs = [a for a in found if sum(a[n] != start[n] for n in names) == 2]
    assert len(pairs) > 100
    assert not any(made.broken(a) for a in found)
    assert made.loss_of(found[0]) < 1.001 * made.loss_of(start)


def test_points_of_the_front_are_refined_by_turns(bench: Workbench, plan: Plan) -> None:
    scores = {0.6: 0.8, 0.8: 0.9, 1.0: 0.95}  # what costs more scores more, so that all three are points of the front
    trials = [run_trial(bench, plan, Knobs("qbitopt", "npu", 0, tightness=t), i) for i, t in enumerate(scores)]
    trials = [replace(t, measures={**t.measures, "accuracy": s}) for t, s in zip(trials, scores.values(), strict=True)]
    seen = []
    for number in range(3, 9):
        knobs = refinement(bench, plan, trials, [], 0)
        assert knobs is not None
        seen.append(knobs.tightness)
        widths = Allocation.from_dict(knobs.allocation or {})
        trials.append(replace(trials[0], number=number, allocation=widths, measures={}, state="failed"))
    counts = Counter(seen)
    assert len(counts) == 3  # none of the points is left out
    assert max(counts.values()) - min(counts.values()) <= 2  # a change may be a neighbour of two of them, and counts for both


@pytest.mark.parametrize("allocator", ["adaqat", pytest.param("adq", marks=pytest.mark.slow)])
def test_refinement_keeps_the_quantisers_of_the_point_that_it_changes(bench: Workbench, plan: Plan, allocator: str) -> None:
    trials = [run_trial(bench, plan, Knobs(allocator, "npu", 0, epochs=1), 0)]
    assert trials[0].knobs["scheme"] != "lsq+lsq@mse"
    for number in (1, 2):
        knobs = refinement(bench, plan, trials, [], 0)
        assert knobs is not None
        trials.append(run_trial(bench, plan, knobs, number, history=trials))
    assert {t.knobs["scheme"] for t in trials} == {trials[0].knobs["scheme"]}
    assert len({t.allocation for t in trials}) == 3
    assert not any("same_as" in t.knobs for t in trials)


def test_refinement_leaves_what_has_failed(bench: Workbench, plan: Plan) -> None:
    first = run_trial(bench, plan, Knobs("qbitopt", "npu", 0, tightness=0.8), 0)
    one = refinement(bench, plan, [first], [], 0)
    assert one is not None
    failed = TrialResult(1, about(one, plan), "failed", error="TrainingDiverged: loss is nan")
    two = refinement(bench, plan, [first, failed], [], 0)
    assert two is not None
    assert two.allocation != one.allocation


def test_refinement_proposes_what_was_not_tried_until_nothing_is_left(bench: Workbench, plan: Plan) -> None:
    first = run_trial(bench, plan, Knobs("qbitopt", "npu", 0, tightness=0.8), 0)
    one = refinement(bench, plan, [first], [], 0)
    assert one is not None
    assert (one.origin, one.goal, one.accelerator, one.epochs) == ("refine", 0, "npu", 0)
    other = refinement(bench, plan, [first], [one], 0)
    assert other is not None
    assert other.allocation != one.allocation
    tried = run_trial(bench, plan, one, 1)
    assert tried.allocation == Allocation.from_dict(one.allocation or {})
    assert all(room >= 0 for room in tried.slack.values())
    two = refinement(bench, plan, [first, tried], [], 0)
    assert two is not None
    assert two.allocation != one.allocation
    assert refinement(bench, plan, [], [], 0) is None


def test_a_given_allocation_over_budget_is_refused(bench: Workbench, plan: Plan) -> None:
    wide = dict.fromkeys(bench.choices.layers, "w8a8")
    with pytest.raises(UsageError, match="over budget"):
        run_trial(bench, plan, Knobs("qbitopt", "npu", 0, allocation=wide, origin="refine"), 0)


def test_a_sweep_has_stalled_when_the_last_trials_won_nothing(plan: Plan) -> None:
    one = Plan({(None, 0): Budget((Constraint(COST, 10.0),))}, {(None, 0): 0.5})
    trials = [result(0, 0.5, 5.0), result(1, 0.9, 4.0)] + [result(i, 0.3, 8.0) for i in range(2, 6)]
    assert stalled(trials, one, ACCURACY, 4)
    assert not stalled(trials, one, ACCURACY, 5)
    assert not stalled(trials, one, ACCURACY, None)
    assert not stalled(trials[:3], one, ACCURACY, 4)
    assert not list(itertools.compress(trials, [stalled(trials[:2], one, ACCURACY, 1)]))


def test_a_sweep_takes_goals_by_turns_refines_at_the_end_and_logs(bench: Workbench, tmp_path: Path) -> None:
    values = {
        "task": "digits", "accelerators": ["npu"], "budgets": [["weights@npu <= 60% of w8a8"], ["energy@npu <= 60% of w8a8"]], "trials": 14,
        "epochs": [0], "baselines": ["w8a8"], "allocators": ["qbitopt"], "refine": 0.3, "ladder": 2,
        "rounding": "nearest",
    }  # fmt: skip
    record = run_sweep(bench, SweepConfig.make("test", **values), tmp_path)
    origins = [t.knobs["origin"] for t in record.trials]
    assert origins.count("search") == 14 - 5 - 4
    assert origins[-4:] == ["refine"] * 4
    goals = [t.knobs["goal"] for t in record.trials if t.knobs["origin"] == "search"]
    assert set(goals) == {0, 1}
    assert all(a != b for a, b in itertools.pairwise(goals))
    refined = [t.allocation for t in record.trials if t.knobs["origin"] == "refine"]
    assert len(set(refined)) == len(refined)
    events = read(tmp_path).events
    assert [e["trial"] for e in events if e["event"] == "ended"] == [t.number for t in record.trials]
    assert running(events) == []


def test_a_sweep_that_wins_nothing_stops(bench: Workbench, tmp_path: Path) -> None:
    values = {
        "task": "digits", "accelerators": ["npu"], "budgets": [["weights@npu <= 60% of w8a8"]], "trials": 40, "epochs": [0],
        "baselines": ["w8a8"], "allocators": ["qbitopt"], "refine": 0.0, "ladder": 1, "patience": 3, "tightness": [0.99, 1.0],
        "rounding": "nearest",
    }  # fmt: skip
    record = run_sweep(bench, SweepConfig.make("test", **values), tmp_path)
    assert 5 <= len(record.trials) < 40  # how long a win takes to fail to come depends on the scores
