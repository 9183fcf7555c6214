"""Why a layer has its widths: every number against the tables it comes from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwdse.bits import BitWidths
from hwdse.errors import UnknownName, UsageError
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
            moved = abs(one.widths.weight - facts.widths.weight), abs(one.widths.activation - facts.widths.activation)
            assert sorted(map(bool, moved)) == [False, True]


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


def test_runs_that_do_not_compare(record) -> None:
    other = replace(record, score=replace(record.score, name="error"))
    with pytest.raises(UsageError, match="their scores do not compare"):
        compare(record, other)
    with pytest.raises(UsageError, match="no cost in common"):
        compare(record, replace(record, costs=()))
    with pytest.raises(UsageError, match="no measured point yet"):
        compare(record, record.with_trials(()))
    assert BitWidths(4, 4) in record.tables["loss"].options
