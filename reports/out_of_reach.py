"""Limits that no measured point meets: what comes nearest to each of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import InfeasibleBudget
from ..records import TrialResult
from .confidence import Sure
from .limits import Limit, inside
from .wording import shown


def nothing_inside(points: Sequence[TrialResult], limits: Sequence[Limit]) -> InfeasibleBudget:
    """The error that names, for each limit, the nearest value that is reached where the others hold, or, failing that, reached at all."""
    lines, reached = [], []
    for limit in limits:
        others = [x for x in limits if x is not limit]
        end = f", its {limit.side} bound" if isinstance(limit, Sure) else ""
        alone, alone_at = _nearest(points, limit)
        given, given_at = _nearest([t for t in points if inside(t, others)], limit)
        reached.append((alone, given))
        if not math.isfinite(alone):
            lines.append(f"{limit}: no measured point has a finite {limit.metric.key}")
        elif not limit.holds(alone):
            told, near = limit.metric.apart(limit.value, alone)
            lines.append(f"{limit.words(told)}: the nearest of all points is {near}{end} (#{alone_at})")
        elif math.isfinite(given):
            told, near = limit.metric.apart(limit.value, given)
            lines.append(f"{limit.words(told)}: where the other limits hold, the nearest is {near}{end} (#{given_at})")
        else:
            lines.append(f"{limit}: met by itself (#{alone_at} has {shown(limit.metric, alone)}), but no point meets all the other limits")
    first = next((i for i, (alone, _) in enumerate(reached) if not limits[i].holds(alone)), None)
    metric = limits[first or 0]
    rules = " and ".join(map(str, limits))
    message = f"no measured point of {len(points)} meets {rules}. {'. '.join(lines)}. Loosen a limit, or measure more points."
    value = reached[first][0] if first is not None else reached[0][1]
    other = limits[1].metric.key if first is None and len(limits) == 2 else None
    return InfeasibleBudget(message, metric.metric.key, metric.value, value, other)


def _nearest(points: Sequence[TrialResult], limit: Limit) -> tuple[float, int]:
    """The value nearest to the inside of a limit (the smallest cost, the highest score), and the trial that has it."""
    sign = 1.0 if limit.upper else -1.0
    values = [(sign * limit.found(t), t.number) for t in points if math.isfinite(limit.found(t))]
    if not values:
        return math.inf, -1
    value, number = min(values)
    return sign * value, number
