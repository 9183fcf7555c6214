"""May BitOPs stand in for latency here? Cost metrics against what a device takes, over sampled allocations (ours).

A hardware-independent number is a good proxy for a device's time if it puts allocations in the same order, and if allocations that it
calls equal take about as long. Neither needs training or data: both are read off the cost tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .choices import Choices, IntArray
from .costs import CostTable, FloatArray
from .errors import UsageError
from .metrics import Metric
from .sensitivity.ranks import Agreement, agreement, resampled
from .sensitivity.samples import random_allocations

ORDERED = 0.95  # Spearman's correlation that its 95 % interval must lie above
ALIKE = 1.10  # how far apart allocations of an equal proxy may be
EQUAL = 0.02  # proxies that differ by less count as equal


@dataclass(frozen=True)
class Proxy:
    """One proxy against one device metric, over N allocations.

    Attributes:
        proxy, target: metrics.
        values, costs: (N,) of each, in stored units.
        found: rank correlations.
        wrong: share of pairs of allocations that the proxy orders wrongly; pairs that are equal in either count half.
        apart: largest ratio of costs among allocations whose proxies differ by less than :data:`EQUAL`.
    """

    proxy: Metric
    target: Metric
    values: FloatArray
    costs: FloatArray
    found: Agreement
    wrong: float
    apart: float

    @property
    def stands_in(self) -> bool:
        """Whether decisions by the proxy are decisions by the target."""
        return self.found.low >= ORDERED and self.apart <= ALIKE

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        f = self.found
        if self.costs.min() == self.costs.max():
            return f"{self.target.key} is {self.target.format(self.costs[0])} whatever the widths: there is nothing to stand in for here."
        verdict = "may" if self.stands_in else "must not"
        return (
            f"{self.proxy.key} {verdict} stand in for {self.target.key} here: rank correlation {f.spearman:.2f} "
            f"(95 % interval {f.low:.2f} to {f.high:.2f}), {self.wrong:.0%} of pairs in the wrong order, and allocations of equal "
            f"{self.proxy.key} differ by up to {self.apart - 1:.0%} in {self.target.key}."
        )


def spread_allocations(choices: Choices, count: int, seed: int) -> IntArray:
    """(N, L) allocations over the whole range of formats: each is drawn evenly from a window of the list, and windows evenly.

    Drawing every layer from all formats would give allocations that are all alike in the mean.
    """
    rng = np.random.default_rng(seed)
    weights, activations = np.arange(len(choices.weight_formats)), np.arange(len(choices.activation_formats))
    found = []
    for draw in range(4 * count):
        low_w, high_w = np.sort(rng.choice(weights, 2))
        low_a, high_a = np.sort(rng.choice(activations, 2))
        window = (choices.weight_code >= low_w) & (choices.weight_code <= high_w)
        window &= (choices.activation_code >= low_a) & (choices.activation_code <= high_a)
        mask = np.where((choices.allowed & window).any(axis=1, keepdims=True), window, True)  # pinned layers stay where they are
        try:
            found.append(random_allocations(choices.restrict(mask), 1, seed + draw)[0])
        except UsageError:  # tied layers of which one is pinned outside the window
            continue
        if len(found) == count:
            break
    return np.unique(np.array(found), axis=0)


def audit_proxies(
    choices: Choices, tables: Mapping[str, CostTable], proxies: Sequence[str], targets: Sequence[str], *, count: int = 400, seed: int = 0
) -> tuple[list[Proxy], int]:
    """Every proxy against every target, the worst agreement last.

    Args:
        choices: the decision space. tables: metric key -> table over it.
        proxies, targets: metric keys.
        count: allocations to draw.

    Returns:
        The findings, and how many of the drawn allocations some device cannot run; those are left out.

    Raises:
        UsageError: fewer than 10 allocations, or fewer that all devices can run.
    """
    drawn = spread_allocations(choices, count, seed)
    totals = {key: tables[key].totals(drawn) for key in (*proxies, *targets)}
    runs = np.isfinite(np.stack(list(totals.values()))).all(axis=0)
    if runs.sum() < 10:
        if len(drawn) < 10:
            raise UsageError(f"there are only {len(drawn)} different allocations of this model: too few to audit a proxy on (10).")
        raise UsageError(f"only {int(runs.sum())} of {len(drawn)} sampled allocations run on every device: audit fewer devices at a time.")
    groups = list(np.arange(int(runs.sum()))[:, None])
    found = []
    for target in targets:
        costs = totals[target][runs]
        values = [totals[p][runs] for p in proxies]
        draws = resampled(costs, np.array(values), groups, seed)
        for k, proxy in enumerate(proxies):
            agreed = agreement(costs, values[k], draws[k])
            wrong = _wrong(values[k], costs)
            found.append(Proxy(tables[proxy].metric, tables[target].metric, values[k], costs, agreed, wrong, _apart(values[k], costs)))
    return sorted(found, key=lambda one: -one.found.spearman), int((~runs).sum())


def _wrong(values: FloatArray, costs: FloatArray) -> float:
    one, other = np.triu_indices(len(values), 1)
    signs = np.sign(values[one] - values[other]) * np.sign(costs[one] - costs[other])
    return float(((1 - signs) / 2).mean())


def _apart(values: FloatArray, costs: FloatArray) -> float:
    order = np.argsort(values)
    values, costs = values[order], costs[order]
    ends = np.searchsorted(values, values * (1 + EQUAL), side="right")
    return float(max(costs[i:end].max() / costs[i:end].min() for i, end in enumerate(ends)))
