"""Groups of trials against one another over one cost: hypervolume to one reference point, and who is better at equal cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..metrics import Metric
from ..pareto import ParetoFront
from ..records import TrialResult

Wins = tuple[float, float, float]


@dataclass(frozen=True)
class Contest:
    """Fronts over one cost.

    Attributes:
        metric: the cost. fronts: by the name of the group; groups without a usable trial are left out.
        reference: (cost, score) that all hypervolumes are measured to: the worst of all trials of all groups.
        volumes: hypervolume of each, as a share of the box from the best cost and score of all to the reference.
    """

    metric: Metric
    score: Metric
    fronts: Mapping[str, ParetoFront]
    reference: tuple[float, float]
    volumes: Mapping[str, float]

    def wins(self, one: str, other: str) -> Wins:
        """Share of the costs at which ``one`` has the better best score, the same, and the worse, over the costs that both reach.

        Costs: of all points of both fronts, as limits.
        """
        fronts = self.fronts[one], self.fronts[other]
        signs = []
        for limit in sorted({t.measures[self.metric.key] for f in fronts for t in f.trials}):
            best = [self._best(f.trials, limit) for f in fronts]
            if all(math.isfinite(b) for b in best):
                signs.append(np.sign(best[1] - best[0]))  # minimised: positive where the first is better
        if not signs:
            return 0.0, 0.0, 0.0
        found = np.array(signs)
        return float((found > 0).mean()), float((found == 0).mean()), float((found < 0).mean())

    def _best(self, trials: Sequence[TrialResult], limit: float) -> float:
        price, score = self.metric, self.score
        inside = (t for t in trials if price.minimised(t.measures[price.key]) <= price.minimised(limit))
        return min((score.minimised(t.measures[score.key]) for t in inside), default=math.inf)


def contest(groups: Mapping[str, Sequence[TrialResult]], metric: Metric, score: Metric) -> Contest | None:
    """Compares measured trials; None where fewer than one group has any with a finite cost."""
    fronts = {name: ParetoFront.of(trials, (metric, score)) for name, trials in groups.items()}
    fronts = {name: front for name, front in fronts.items() if front.trials}
    everything = [t for f in fronts.values() for t in (*f.trials, *f.dominated)]
    if not everything:
        return None
    costs = np.array([metric.minimised(t.measures[metric.key]) for t in everything])
    scores = np.array([score.minimised(t.measures[score.key]) for t in everything])
    corner = metric.minimised(float(costs.max())), score.minimised(float(scores.max()))
    box = float(np.ptp(costs) * np.ptp(scores))
    volumes = {name: front.hypervolume(corner) / box if box else 0.0 for name, front in fronts.items()}
    return Contest(metric, score, fronts, corner, volumes)
