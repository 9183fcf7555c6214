"""What an allocation costs, worked out again from the tables: a number that is handed over is not copied from a file."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..costs import CostTable
from ..errors import HwdseError, UsageError
from ..formats import LayerFormat
from ..metrics import Metric


class CostMismatch(HwdseError, ValueError):
    """Tables that give another cost than the one on record."""


def recounted(
    allocation: Mapping[str, LayerFormat],
    tables: Mapping[str, CostTable],
    recorded: Mapping[str, float],
    metrics: tuple[Metric, ...],
    whose: str,
) -> dict[str, float]:
    """Every cost of an allocation, by metric key, in stored units; +inf where a device cannot run it.

    Args:
        allocation: the widths.
        tables: by metric key.
        recorded: the costs that they must be equal to, up to a rounding error of one part in 10^12 of a sum.
        metrics: which.
        whose: what is said to be wrong where they are not: "trial 17".

    Raises:
        CostMismatch: a cost differs, or is not on record. UsageError: a table is missing, or is of other layers or widths.
    """
    found, wrong = {}, []
    for metric in metrics:
        if metric.key not in tables:
            raise UsageError(
                f"there is no table of {metric.key} to recompute the cost of {whose} from; tables.npz is missing or of another run."
            )
        cost = found[metric.key] = tables[metric.key].total(allocation)
        said = recorded.get(metric.key, math.nan)
        if not (cost == said or math.isclose(cost, said, rel_tol=1e-12, abs_tol=0.0)):
            wrong.append(f"{metric.key} is {metric.format(cost)} by the tables and {metric.format(said)} on record")
    if wrong:
        raise CostMismatch(
            f"the costs of {whose} are not those of its tables: {'; '.join(wrong)}. The record, the tables or the accelerator's file "
            "changed since it was measured; nothing was handed over. Measure it again."
        )
    return found
