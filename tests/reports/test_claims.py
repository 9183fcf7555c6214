"""No gain of a chosen point is claimed that its test score contradicts."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from hwdse.intervals import wilson
from hwdse.metrics import Metric
from hwdse.reports import pick
from hwdse.reports.claims import claim, contradiction
from hwdse.reports.points import Point
from hwdse.reports.sections.summary import Summary

ACCURACY = Metric("accuracy", "fraction", "higher")
ERROR = Metric("mse", "", "lower")


def point(number: int, score: float, test: float | None, right: int | None = None, samples: int = 100) -> Point:
    """``right``: how many of 100 validation samples are right; ``samples`` of the test split stand behind ``test``."""
    kept = {} if right is None else {str(number): np.array([1.0] * right + [0.0] * (100 - right))}
    sure = None if test is None else wilson(test, samples)
    return Point(number, "adq", "w4a4", score, None, test, {}, sure, kept)


def pair(scores: tuple[float, float], tests: tuple[float | None, float | None], samples: int = 100) -> tuple[Point, Point]:
    """Two points; the samples that the worse has right the better has, too."""
    one, other = (point(n, s, t, round(100 * s), samples) for n, s, t in zip((1, 2), scores, tests, strict=True))
    both = {**one.kept, **other.kept}
    return replace(one, kept=both), replace(other, kept=both)


def test_a_gain_that_test_turns_into_a_loss_is_said_as_one_first() -> None:
    one, other = pair((0.95, 0.85), (0.90, 0.94))
    assert claim(ACCURACY, one, other, "the uniform one") == (
        "4.00 percentage points worse than the uniform one on the test split, though 10.00 percentage points better than it on the "
        "validation split, which chose (beyond chance there, p = 0.002): the gain did not hold"
    )


def test_a_gain_that_is_none_on_test() -> None:
    one, other = pair((0.95, 0.85), (0.90, 0.90))
    assert claim(ACCURACY, one, other, "it").startswith("equal to it on the test split, though 10.00 percentage points better than it on")


def test_a_gain_that_is_within_chance_on_test() -> None:
    one, other = pair((0.95, 0.85), (0.91, 0.90))
    assert claim(ACCURACY, one, other, "it").startswith(
        "1.00 percentage points better (within chance by intervals) than it on the test split, though 10.00 percentage points better"
    )
    assert claim(ACCURACY, one, other, "it").endswith("p = 0.002): the gain is not sure")
    many = pair((0.95, 0.85), (0.91, 0.90), samples=100_000)
    assert contradiction(ACCURACY, *many) is None


def test_a_loss_that_test_turns_into_a_gain() -> None:
    one, other = pair((0.85, 0.95), (0.94, 0.90))
    assert claim(ACCURACY, one, other, "it").endswith("p = 0.002): the loss did not hold")


def test_what_test_agrees_with_is_said_to_be_of_the_split_that_chose() -> None:
    one, other = pair((0.95, 0.85), (0.94, 0.80))
    assert (
        claim(ACCURACY, one, other, "it") == "10.00 percentage points better than it (beyond chance on the split that chose it, p = 0.002)"
    )


@pytest.mark.parametrize("tests", [(None, 0.9), (0.9, None), (None, None), (float("nan"), 0.9)])
def test_without_test_scores_there_is_nothing_to_hold_it_against(tests: tuple[float | None, float | None]) -> None:
    one, other = point(1, 0.95, None), point(2, 0.85, None)
    assert contradiction(ACCURACY, replace(one, test=tests[0]), replace(other, test=tests[1])) is None


def test_scores_that_are_better_when_lower() -> None:
    one, other = point(1, 0.1, None), point(2, 0.2, None)
    assert contradiction(ERROR, replace(one, test=0.2), replace(other, test=0.1)) == ("0.1 worse than", "the gain did not hold")
    assert contradiction(ERROR, replace(one, test=0.1), replace(other, test=0.2)) is None


def test_the_summary_and_the_pick_say_it(tiny) -> None:
    """#2 has 93 % against the uniform #1's 80 % on validation."""
    found = {1: 0.93, 2: 0.92}
    turned = tiny.with_trials(tuple(replace(t, test=found.get(t.number, t.test)) for t in tiny.trials))
    said = " ".join(Summary().draw(Summary().facts(turned)).parts)
    assert (
        "It is 1.00 percentage points worse than the best uniform allocation inside, w4a4 (#1) on the test split, though 13.00 percentage "
        "points better than it on the validation split, which chose (beyond chance by intervals there): the gain did not hold." in said
    )
    assert (
        "On the test split its best is 1.00 percentage points worse than that of latency@x &lt;= 2 ms, though by validation the wider "
        "limit buys 13.00 percentage points: the gain did not hold." in said
    )
    text = pick(turned, ["latency = 3 ms"]).explanation
    assert (
        "The next cheaper point of the front, #1 uniform w4a4, is 1.00 percentage points better than it on the test split, though" in text
    )


def test_no_sentence_of_a_report_claims_more_than_the_split_that_chose(builder) -> None:
    record = builder(samples=100_000)
    rng = np.random.default_rng(0)
    scored = tuple(replace(t, test=float(rng.uniform(0.9, 1))) if t.state == "complete" else t for t in record.trials)
    texts = [" ".join(Summary().draw(Summary().facts(record.with_trials(scored))).parts), pick(record.with_trials(scored)).explanation]
    claims = [found for text in texts for found in re.findall(r"beyond chance[^);]*", text)]
    assert claims
    assert all("on the split that chose it" in found or "there" in found for found in claims)
