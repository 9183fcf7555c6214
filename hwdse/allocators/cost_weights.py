"""AdaQAT's lambda: one weight per metric, fixed as in the paper, or steered so that every cost comes to its limit."""

from __future__ import annotations

import numpy as np

from ..costs import FloatArray

PROPORTIONAL, INTEGRAL = 3.0, 15.0  # of log(lambda), per unit of log(cost / limit); the integral over the learning part of training
NEAR = 0.3  # the integral waits until the cost is within a factor e^0.3 of the limit: on the way down it would only wind up
_BOUND, _ERROR = 12.0, 2.0


class CostWeights:
    """Weights of M metrics.

    Steering is proportional-integral control of log(lambda) on log(cost / limit), for each metric by itself: of several limits
    those that bind get weight, the others lose it (ours).

    Args:
        limits: (M,) of the costs; None for weights that stay.
        count: M.
        weight: lambda at the start, shared evenly by the metrics.

    Attributes:
        values: (M,) lambda of each metric.
    """

    def __init__(self, limits: FloatArray | None, count: int, weight: float) -> None:
        self.limits = limits
        self._first = np.full(count, np.log(weight / max(count, 1)))
        self.integral: FloatArray = np.zeros(count)
        self.values: FloatArray = np.exp(self._first)

    def steer(self, costs: FloatArray, steps: int) -> None:
        """One step of the controller, of ``steps`` in all, at costs in the unit of the limits, (M,)."""
        if self.limits is None:
            return
        errors = np.clip(np.log(np.maximum(costs, 1e-12) / np.maximum(self.limits, 1e-12)), -_ERROR, _ERROR)
        self.integral = np.clip(self.integral + INTEGRAL / steps * np.where(errors < NEAR, errors, 0), -_BOUND, _BOUND)
        self.values = np.exp(self._first + self.integral + PROPORTIONAL * errors)
