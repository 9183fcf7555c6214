"""Why a layer has its widths: every number against the tables it comes from."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from commands import hwdse

from hwdse.errors import UnknownName, UsageError
from hwdse.formats import Allocation, LayerFormat
from hwdse.reports.comparing import compare
from hwdse.reports.explaining import explain


def first_with_budget(record):
    return next(t for t in record.complete if t.knobs.get("goal") is not None or t.knobs.get("budget"))


def test_losses_and_costs_add_up(record) -> None:
    trial = first_with_budget(record)
    found = explain(record, trial.number)
    loss = record.tables["loss"]
    column = {o: j for j, o in enumerate(loss.options)}
    indices = np.array([column[trial.allocation[n]] for n in loss.layers])
    assert sum(f.loss for f in found.layers) == pytest.approx(float(loss.totals(indices)[0] - loss.fixed[0]))
    assert sum(f.share for f in found.layers) == pytest.approx(1)
    assert [f.loss for f in found.layers] == sorted((f.loss for f in found.layers), reverse=True)
    for limit in found.limits:
        table = record.tables[limit.metric.key]
        assert sum(f.costs[limit.metric.key] for f in found.layers) <= float(table.totals(indices)[0]) * (1 + 1e-9)


def test_alternatives_are_the_true_differences(record) -> None:
    trial = first_with_budget(record)
    found = explain(record, trial.number)
    loss = record.tables["loss"]
    for facts in found.layers:
        for one in facts.alternatives:
            other = {**trial.allocation, facts.layer: one.widths}
            assert one.loss == pytest.approx(loss.total(other) - loss.total(trial.allocation), abs=1e-12)
            for key, change in one.costs.items():
                table = record.tables[key]
                assert change == pytest.approx(table.total(other) - table.total(trial.allocation), abs=1e-12)
            if found.limits:
                assert one.inside == all(x.holds(record.tables[x.metric.key].total(other)) for x in found.limits)
            moved = abs(one.widths.weight.bits - facts.widths.weight.bits), abs(one.widths.activation.bits - facts.widths.activation.bits)
            assert sorted(map(bool, moved)) == [False, True]


def test_a_tightened_trial_is_held_against_the_budget_that_the_user_wrote(record, tmp_path) -> None:
    trial = next(t for t in record.complete if t.knobs.get("budget") == ["latency@t4 <= 1.5 ms"] and "latency@t4" in t.measures)
    aimed = trial.measures["latency@t4"] * 1.0001
    knobs = {**trial.knobs, "tightness": aimed / 1.5e-3, "budget": [f"latency@t4 <= 1.5 ms x {aimed / 1.5e-3:.4g}"]}
    changed = record.with_trials((replace(trial, knobs=knobs),))
    found = explain(changed, trial.number)
    assert [x.value for x in found.limits] == [1.5e-3]
    assert [x.value for x in found.aimed] == [pytest.approx(aimed)]
    for one in (a for f in found.layers for a in f.alternatives):
        assert one.inside == (trial.measures["latency@t4"] + one.costs["latency@t4"] <= 1.5e-3)
    changed.save(tmp_path)
    ran = hwdse("explain", tmp_path, trial.number)
    assert f"Trial {trial.number}, {trial.knobs['allocator']}: made under latency@t4 <= 1.5 ms The search aimed lower there, at" in ran.text
    said = json.loads(hwdse("explain", tmp_path, trial.number, "--json").out)
    assert said["budget"] == ["latency@t4 <= 1.5 ms"]
    assert len(said["aimed_at"]) == 1


def test_what_was_made_under_no_limit_says_which_budgets_it_meets(record, tmp_path) -> None:
    trial = next(t for t in record.complete if t.knobs["allocator"] == "uniform" and t.measures.get("latency@t4", 1) <= 1.5e-3)
    found = explain(record, trial.number)
    assert found.limits == ()
    assert all(limit.holds(trial.measures[limit.metric.key]) for budget in found.budgets for limit in budget)
    record.save(tmp_path)
    ran = hwdse("explain", tmp_path, trial.number)
    assert f"Trial {trial.number}, uniform: made under no limit" in ran.text
    assert "Of the sweep's budgets it meets" in ran.text
    assert "latency@t4 <= 1.5 ms" in ran.text


def test_steps_are_to_widths_that_the_run_allows(record) -> None:
    trial = first_with_budget(record)
    choices = record.choices
    ends = {choices.layers[0], choices.layers[-1]}
    layer = choices.layers[3]
    pairs = np.ones_like(choices.allowed)
    pairs[3] = [o.weight.bits == o.activation.bits for o in choices.options]  # w4a4 and w8a8 only
    narrow = replace(record, choices=choices.restrict(pairs))
    at = LayerFormat.of(4, 4)
    moved = replace(trial, allocation=Allocation({**trial.allocation, layer: at}))
    found = {f.layer: f for f in explain(narrow.with_trials((moved,)), trial.number).layers}
    assert all(found[name].alternatives == () for name in ends)  # they are held at w8a8
    assert [a.widths for a in found[layer].alternatives] == [LayerFormat.of(8, 8)]
    for facts in found.values():
        allowed = choices.allowed[choices.position[facts.layer]]
        assert all(allowed[choices.column[a.widths]] for a in facts.alternatives)
    free = {f.layer: f for f in explain(replace(record, choices=None), trial.number).layers}
    assert all(free[name].alternatives for name in ends)  # nobody knows what was allowed: as far as the tables go


def test_tied_layers_move_together(record) -> None:
    trial = first_with_budget(record)
    one, two, three, four = record.choices.layers[2:6]
    widths = {
        **trial.allocation,
        one: LayerFormat.of(4, 4),
        two: LayerFormat.of(2, 4),
        three: LayerFormat.of(2, 4),
        four: LayerFormat.of(4, 8),
    }
    trial = replace(trial, allocation=Allocation(widths))
    tied = replace(record.choices, activation_ties=((one, two), (two, three)), weight_ties=((one, four),))
    run = replace(record, choices=tied).with_trials((trial,))
    facts = next(f for f in explain(run, trial.number).layers if f.layer == one)
    loss = record.tables["loss"]
    assert {str(a.widths): a.along for a in facts.alternatives} == {"w2a4": (four,), "w8a4": (four,), "w4a8": (two, three)}
    for step in facts.alternatives:
        part = "weight" if step.widths.weight.bits != 4 else "activation"
        other = {**widths, one: step.widths} | {n: replace(widths[n], **{part: getattr(step.widths, part)}) for n in step.along}
        assert step.loss == pytest.approx(loss.total(other) - loss.total(widths), abs=1e-12)
        for key, change in step.costs.items():
            assert change == pytest.approx(record.tables[key].total(other) - record.tables[key].total(widths), abs=1e-12)
        assert run.choices.permits(run.choices.indices(other))[0]
    pinned = replace(run, choices=tied.pin({three: LayerFormat.of(2, 4)}))
    assert all(a.widths.activation.bits == 4 for f in explain(pinned, trial.number).layers if f.layer == one for a in f.alternatives)


def test_the_command_names_what_moves_along(record, tmp_path) -> None:
    trial = first_with_budget(record)
    one, two = record.choices.layers[2:4]
    trial = replace(trial, allocation=Allocation({**trial.allocation, one: LayerFormat.of(4, 4), two: LayerFormat.of(4, 4)}))
    tied = replace(record.choices, activation_ties=((one, two),))
    replace(record, choices=tied).with_trials((trial,)).save(tmp_path)
    ran = hwdse("explain", tmp_path, trial.number, "--layer", one)
    assert "Layers that share a width move together" in ran.text
    assert "together with" in ran.text
    assert two in ran.out
    said = json.loads(hwdse("explain", tmp_path, trial.number, "--layer", one, "--json").out)
    assert {a["widths"]: a["along"] for a in said["layers"][0]["alternatives"]}["w4a8"] == [two]
    assert "The run allows it no other width." in hwdse("explain", tmp_path, trial.number, "--layer", record.choices.layers[0]).text
    assert "(it may take no other)" in hwdse("explain", tmp_path, trial.number).text


def test_what_cannot_be_explained_is_said(record) -> None:
    with pytest.raises(UnknownName, match="unknown trial '9999'"):
        explain(record, 9999)
    with pytest.raises(UsageError, match=r"no tables\.npz"):
        explain(replace(record, tables={}), first_with_budget(record).number)
    failed = next((t for t in record.trials if t.allocation is None), None)
    if failed is not None:
        with pytest.raises(UsageError, match="has no allocation to explain"):
            explain(record, failed.number)


def test_a_run_equals_itself(record) -> None:
    found = compare(record, record)
    assert found.differences == ()
    for pair in found.pairs:
        assert pair.volumes[0] == pair.volumes[1] > 0
        assert pair.wins == (0, 1, 0)


def test_more_points_never_lose(record) -> None:
    fewer = record.with_trials(tuple(t for t in record.trials if t.number % 2 == 0))
    for pair in compare(fewer, record).pairs:
        assert pair.volumes[1] >= pair.volumes[0] - 1e-12
        assert pair.wins[2] == 0
        corner = pair.reference
        assert pair.fronts[1].hypervolume(corner) >= pair.fronts[0].hypervolume(corner)


def test_differences_are_named(record) -> None:
    changed = replace(record, provenance={**record.provenance, "weights": "other"}, config={**record.config, "trials": 1})
    said = compare(record, changed).differences
    assert "the FP32 weights differ" in said
    assert any("configurations differ in" in s and "trials" in s for s in said)


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"task": "other"}, True),
        ({"config": {"task": "mine:Other"}, "provenance": {"task": "b"}}, True),  # two classes that have kept one name
        ({"config": {"task": "mine:Other"}}, False),  # the same code under another class's name
        ({"provenance": {"task": "b"}}, False),  # the task was changed
    ],
)
def test_runs_of_different_tasks_are_refused(changes, refused, record, tmp_path) -> None:
    one = replace(record, config={**record.config, "task": "mine:Net"}, provenance={**record.provenance, "task": "a"})
    two = replace(one, **{key: {**getattr(one, key), **value} if isinstance(value, dict) else value for key, value in changes.items()})
    one.save(tmp_path / "one")
    two.save(tmp_path / "two")
    ran = hwdse("diff", tmp_path / "one", tmp_path / "two")
    assert ran.code == (2 if refused else 0), ran.err
    assert ("the runs are of different tasks" in ran.said) == refused


def test_runs_that_do_not_compare(record) -> None:
    other = replace(record, score=replace(record.score, name="error"))
    with pytest.raises(UsageError, match="their scores do not compare"):
        compare(record, other)
    with pytest.raises(UsageError, match="no cost in common"):
        compare(record, replace(record, costs=()))
    with pytest.raises(UsageError, match="no measured point yet"):
        compare(record, record.with_trials(()))
    assert LayerFormat.of(4, 4) in record.tables["loss"].options
