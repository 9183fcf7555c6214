"""Ranking, names and mean bits of points."""

import math
from dataclasses import replace

import numpy as np
import pytest

from hwdse.formats import Allocation, LayerFormat
from hwdse.reports.points import Point, knob_text, mean_bits, measured, ranked, scored
from hwdse.reports.sections.summary import Summary


def test_measured_leaves_out_failed_interrupted_and_unscored(tiny):
    assert [t.number for t in measured(tiny)] == [0, 1, 2, 3, 5]


def test_a_measurement_counts_once(tiny):
    copy = replace(tiny.trials[2], number=8, knobs={**tiny.trials[2].knobs, "same_as": 2})
    again = tiny.with_trials((*tiny.trials, copy))
    assert measured(again) == measured(tiny)
    assert [t.number for t in scored(again)] == [0, 1, 2, 3, 5, 8]
    text = " ".join(Summary().draw(Summary().facts(again)).parts)
    assert "The sweep ran 9 trials: 5 measured, 2 failed, 1 interrupted, 1 came to what another had measured." in text


def test_two_trials_that_came_to_one_network_are_one_measurement(tiny):
    first = tiny.trials[2]
    again = replace(first, number=8, knobs={**first.knobs, "allocator": "adaqat", "scheme": "lsq+lsq@mse", "epochs": 0})
    first = replace(first, knobs={**again.knobs, "allocator": "qbitopt"})

    def numbers(*more, **scores):
        kept = {name[1:]: np.array(values) for name, values in scores.items()}
        return [t.number for t in measured(replace(tiny.with_trials((first, *more)), scores=kept))]

    assert numbers(again) == [2]  # nothing was trained
    trained = replace(again, knobs={**again.knobs, "epochs": 5})
    first = replace(first, knobs={**first.knobs, "epochs": 5})
    assert numbers(trained) == [2, 8]  # nobody knows
    assert numbers(trained, _2=[1.0, 0.0, 1.0], _8=[1.0, 0.0, 1.0]) == [2]
    assert numbers(trained, _2=[1.0, 0.0, 1.0], _8=[1.0, 1.0, 0.0]) == [2, 8]
    assert numbers(replace(trained, knobs={**trained.knobs, "seed": 1}), _2=[1.0], _8=[1.0]) == [2, 8]


def test_ties_go_to_the_cheaper_then_to_the_earlier(tiny):
    trials = [
        replace(tiny.trials[0], number=number, measures={"accuracy": 0.9, "weights": weights})
        for number, weights in ((0, 30.0), (1, 20.0), (2, 20.0))
    ]
    assert [t.number for t in ranked(tiny, trials, tiny.costs[:1])] == [1, 2, 0]
    assert [t.number for t in ranked(tiny, trials)] == [0, 1, 2]


def test_name_of_a_baseline_says_its_widths(tiny):
    assert Point.of(tiny, tiny.trials[1]).name == "#1 uniform w4a4"
    assert Point.of(tiny, tiny.trials[2]).name == "#2 qbitopt"


def test_mean_bits_weigh_weights_by_parameters(tiny):
    allocation = Allocation({"a": LayerFormat.of(8, 8), "b": LayerFormat.of(4, 2)})
    assert mean_bits(tiny, allocation) == pytest.approx(((100 * 8 + 300 * 4) / 400, 5.0))
    assert all(map(math.isnan, mean_bits(tiny, None)))


def test_unknown_knobs_are_shown_as_they_are():
    assert knob_text({"allocator": "adq", "epochs": 5, "seeded": True, "x": None}, ("allocator",)) == "epochs=5, seeded=yes"
