"""A difference of two points in a clause, held against their test scores: the validation split has chosen one of them, and flatters it."""

from __future__ import annotations

import math

from ..metrics import Metric
from .points import Point
from .wording import CHOSEN, chance_text, gap_text


def claim(score: Metric, one: Point, other: Point, name: str) -> str:
    """How ``one`` compares with ``other``, called ``name``: ``"0.40 percentage points better than FP32 (..)"``.

    Where the test split says otherwise, or no more than chance, that comes first.
    """
    on_validation = gap_text(score, one.score, other.score)
    against = contradiction(score, one, other)
    if not against:
        return f"{on_validation} {name}{chance_text(one, other)}"
    sure = chance_text(one, other).replace(CHOSEN, " there")
    return f"{against[0]} {name} on the test split, though {on_validation} it on the validation split, which chose{sure}: {against[1]}"


def contradiction(score: Metric, one: Point, other: Point) -> tuple[str, str] | None:
    """What the test split says, and what that means, where it is another sign than on validation, or within chance of no difference
    though validation is beyond; None where it agrees, or was not scored for both."""
    if one.test is None or other.test is None or one.score == other.score or not math.isfinite(one.test + other.test):
        return None
    gain = score.minimised(other.score) - score.minimised(one.score)
    on_test = score.minimised(other.test) - score.minimised(one.test)
    what = "gain" if gain > 0 else "loss"
    gap = gap_text(score, one.test, other.test)
    if gain * on_test <= 0:
        return gap, f"the {what} did not hold"
    if "beyond" in chance_text(one, other) and _within_on_test(one, other):
        return f"{gap.removesuffix(' than')} (within chance by intervals) than", f"the {what} is not sure"
    return None


def _within_on_test(one: Point, other: Point) -> bool:
    """Whether a difference on the test split may be chance, by both intervals; they are those of independent samples, and so ask for more
    than the paired test would. False where they are not known."""
    if one.test_interval is None or other.test_interval is None or one.test is None or other.test is None:
        return False
    spread = math.hypot(*((high - low) / 2 for low, high in (one.test_interval, other.test_interval)))
    return abs(one.test - other.test) < spread
