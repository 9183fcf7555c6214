"""Energy of a device that draws about the same power whatever it runs: ``E = P · t``, t being the latency that it is charged with.

Tables, overheads, conversions and calibration of the time are all in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..costs import CostModel, CostTable
from ..formats import LayerFormat
from ..graph import LayerGraph
from ..metrics import Metric


@dataclass(frozen=True, eq=False)
class PowerTimesLatency:
    """Cost model of energy: ``watts`` times the table of ``latency``."""

    metric: Metric
    watts: float
    latency: CostModel

    def tabulate(self, graph: LayerGraph, options: Sequence[LayerFormat]) -> CostTable:
        """The latency's table in joules.

        Raises:
            MissingCost: as the latency's.
        """
        time, p = self.latency.tabulate(graph, options), self.watts
        return replace(
            time,
            metric=self.metric,
            cells=time.cells * p,
            fixed=time.fixed * p,
            errors=None if time.errors is None else time.errors * p,
            fixed_errors=None if time.fixed_errors is None else time.fixed_errors * p,
            edges=None if time.edges is None else replace(time.edges, cells=time.edges.cells * p),
            convention=f"energy: {p:.4g} W times the latency; {time.convention}",
        )
