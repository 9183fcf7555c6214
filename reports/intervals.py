"""How sure a measured accuracy is: the Wilson score interval of a binomial share."""

from __future__ import annotations

import math

from ..metrics import Metric

Z95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution
_SHARES_OF_RIGHT_ANSWERS = ("accuracy", "top1", "top-1", "top5", "top-5")


def wilson(share: float, samples: int, z: float = Z95) -> tuple[float, float]:
    """Interval of a share ``p`` measured on ``n`` independent samples.

    ``(p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)``. Unlike ``p -+ z sqrt(p(1-p)/n)`` it stays inside 0..1 and does
    not collapse at p = 0 and p = 1.

    Reference: E. B. Wilson, JASA 22 (1927) 209; R. G. Newcombe, Statistics in Medicine 17 (1998) 857, method 3.
    """
    spread = z * z / samples
    centre = share + spread / 2
    half = z * math.sqrt(max(share * (1 - share), 0.0) / samples + spread / (4 * samples))
    return max((centre - half) / (1 + spread), 0.0), min((centre + half) / (1 + spread), 1.0)


def interval(score: Metric, value: float | None, samples: float | None) -> tuple[float, float] | None:
    """The 95 % interval of a score; None where it is not a share of right answers, or the number of samples is unknown."""
    counts = score.unit == "fraction" and any(word in score.name.lower() for word in _SHARES_OF_RIGHT_ANSWERS)
    if not counts or value is None or not samples or samples < 1 or not 0 <= value <= 1:
        return None
    return wilson(value, int(samples))
