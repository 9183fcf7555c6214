"""Whether a limit is met for sure: an estimate closer to the limit than it may be off is *at risk*, not met."""

from __future__ import annotations

import math
from typing import Literal, get_args

Standing = Literal["over", "at risk", "error unknown", "met"]
STANDINGS: tuple[Standing, ...] = get_args(Standing)  # worst first


def standing(slack: float, error: float | None) -> Standing:
    """How a cost stands to a limit.

    Args:
        slack: limit minus cost. error: how far off the cost may be, same unit; None or NaN where nobody knows.
    """
    if not slack >= 0:
        return "over"
    if error is None or math.isnan(error):
        return "error unknown"
    return "at risk" if error > slack else "met"
