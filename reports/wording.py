"""Numbers in words, the same way in every section."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..intervals import paired_p
from ..metrics import Metric
from .points import Interval, Point

LEVEL = 0.05  # of the paired test
CHOSEN = " on the split that chose it"  # the better of two is one of many by its validation score, which flatters it


def shown(metric: Metric, value: float | None) -> str:
    """A value with its unit; "cannot run" for an infinite cost, a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "cannot run" if metric.better == "lower" else "–"
    return metric.format(value)


def range_text(score: Metric, found: Interval | None) -> str:
    """``"95.10 to 97.37 %"``; empty where there is no interval."""
    if found is None:
        return ""
    return f"{score.format(found[0]).removesuffix(' %')} to {score.format(found[1])}"


def score_text(score: Metric, value: float | None, found: Interval | None) -> str:
    """``"96.40 % (95 % interval 95.06 to 97.39 %)"``."""
    return shown(score, value) + (f" (95 % interval {range_text(score, found)})" if found else "")


def size_text(metric: Metric, distance: float) -> str:
    """A difference of two values: ``"0.40 percentage points"``, ``"1.2 ms"``."""
    return f"{distance * 100:.2f} percentage points" if metric.unit == "fraction" else metric.format(distance)


def gap_text(metric: Metric, value: float, reference: float) -> str:
    """How a value compares with another: ``"0.40 percentage points worse than"``, ``"equal to"``."""
    worse = metric.minimised(value) - metric.minimised(reference)
    if math.isclose(value, reference, rel_tol=1e-12, abs_tol=1e-300):  # rounding errors of sums are no difference
        return "equal to"
    size = size_text(metric, abs(worse))
    return f"{size} {'worse' if worse > 0 else 'better'} than"


def difference(one: Point, other: Point) -> float | None:
    """p of the paired test of two points on the same validation samples; None where their samples' scores were not kept."""
    a, b = one.scores, other.scores
    return None if a is None or b is None or a.shape != b.shape else paired_p(a, b)


def chance(one: Point, other: Point) -> bool | None:
    """Whether the difference of two scores may be chance, at 5 %: by the paired test; without the samples' scores as of two independent
    samples, ``|a - b| < 1.96 sqrt(s_a^2 + s_b^2)`` with s from each one's 95 % interval. None where neither is known."""
    p = difference(one, other)
    if p is not None:
        return p >= LEVEL
    if one.interval is None or other.interval is None:
        return None
    spread = math.hypot(*((high - low) / 2 for low, high in (one.interval, other.interval)))
    return abs(one.score - other.score) < spread


def chance_text(one: Point, other: Point) -> str:
    """A clause on it; empty where nothing is known, or they do not differ. Beyond chance is said of the split that chose the better one."""
    if one.score == other.score:
        return ""
    p = difference(one, other)
    if p is not None:
        return (
            f" (within chance, p = {p:.2f})" if p >= LEVEL else f" (beyond chance{CHOSEN}, p {f'= {p:.3f}' if p >= 0.001 else '< 0.001'})"
        )
    known = chance(one, other)
    return "" if known is None else f" ({'within chance by intervals' if known else f'beyond chance by intervals{CHOSEN}'})"


def count(number: int, word: str, plural: str = "") -> str:
    """``"1 trial"``, ``"2,000 trials"``."""
    return f"{number:,} {word if number == 1 else plural or word + 's'}"


def listed(items: Sequence[str], most: int = 8) -> str:
    """``"a, b and 3 more"``."""
    rest = len(items) - most
    return ", ".join(items) if rest <= 0 else f"{', '.join(items[:most])} and {rest} more"


def column(metric: Metric, values: Sequence[float]) -> tuple[float, str]:
    """Factor and unit in which a whole column is shown: the prefix that fits its median."""
    finite = sorted(abs(v) for v in values if math.isfinite(v))
    factor, symbol = metric.scale(finite[len(finite) // 2] if finite else 0.0)
    return factor, f"{symbol}BitOPs" if metric.unit == "bitop" else symbol


def cell(value: float | None, factor: float = 1.0, metric: Metric | None = None) -> str:
    """A number of such a column: two decimals of a percentage, else four significant digits."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "cannot run"
    number = value / factor
    if metric is not None and metric.unit == "fraction":
        return f"{number:.2f}"
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"


def point_text(score: Metric, point: Point) -> str:
    """``"#17 qbitopt with 96.40 % (95 % interval ..)"``."""
    return f"{point.name} with {score_text(score, point.score, point.interval)}"


def short(name: str, most: int = 30) -> str:
    """A long layer name with its middle left out."""
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-(most // 2) :]}"
