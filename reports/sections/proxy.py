"""Whether BitOPs, or any cost that is easy to compute, ranks allocations as the accelerators do."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...costs import FloatArray
from ...records import SweepRecord
from ..markup import note, paragraph, table
from ..section import Fragment
from ..wording import count

FEWEST = 8  # allocations under which a rank correlation says nothing


@dataclass(frozen=True)
class ProxyFacts:
    """Spearman's rank correlation of each proxy (rows) with each accelerator's cost (columns); NaN where it is not defined.

    ``allocations``: how many different ones each cell compares.
    """

    proxies: tuple[str, ...]
    costs: tuple[str, ...]
    correlation: tuple[tuple[float, ...], ...]
    allocations: tuple[tuple[int, ...], ...]


class Proxy:
    """A table of rank correlations."""

    title = "Proxy audit"

    def facts(self, record: SweepRecord) -> ProxyFacts:
        """Over all different allocations of the run, whether their training ended or not: costs need no training."""
        different = {t.allocation: t for t in record.trials if t.allocation is not None}.values()
        proxies = [m for m in record.costs if m.on is None]
        costs = [m for m in record.costs if m.on is not None]
        correlation, numbers = [], []
        for proxy in proxies:
            row, sizes = [], []
            for cost in costs:
                pairs = [(t.measures.get(proxy.key, math.nan), t.measures.get(cost.key, math.nan)) for t in different]
                finite = np.array([p for p in pairs if all(map(math.isfinite, p))]).reshape(-1, 2)
                sign = proxy.minimised(1.0) * cost.minimised(1.0)
                row.append(sign * spearman(finite[:, 0], finite[:, 1]))
                sizes.append(len(finite))
            correlation.append(tuple(row))
            numbers.append(tuple(sizes))
        return ProxyFacts(tuple(m.key for m in proxies), tuple(m.key for m in costs), tuple(correlation), tuple(numbers))

    def draw(self, facts: ProxyFacts) -> Fragment:
        """1: ranks every pair of allocations the same way; 0: says nothing."""
        if not facts.proxies or not facts.costs:
            return Fragment((paragraph("The run has no pair of a general cost and an accelerator's cost to compare."),))
        most = max((n for row in facts.allocations for n in row), default=0)
        if most < FEWEST:
            return Fragment((paragraph(f"Too few allocations to compare ({most}; at least {FEWEST} are needed)."),))
        lead = "How well costs that need no accelerator rank this run's allocations as each accelerator does (Spearman's rank correlation)."
        rows = [
            [proxy, *(f"{r:.2f} ({n})" if math.isfinite(r) and n >= FEWEST else "–" for r, n in zip(line, sizes, strict=True))]
            for proxy, line, sizes in zip(facts.proxies, facts.correlation, facts.allocations, strict=True)
        ]
        return Fragment(
            (
                paragraph(lead),
                table(["proxy", *facts.costs], rows),
                note(
                    "1: the same order; 0: no relation; in brackets the number of different allocations compared"
                    f" (at most {count(most, 'allocation')}).",
                    "The search chose these allocations under its budgets; over all allocations the numbers can differ.",
                ),
            )
        )


def spearman(x: FloatArray, y: FloatArray) -> float:
    """Pearson's correlation of the ranks, equal values sharing their mean rank; NaN where a side does not vary."""
    if len(x) < 2:
        return math.nan
    a, b = _ranks(x), _ranks(y)
    a, b = a - a.mean(), b - b.mean()
    spread = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / spread if spread > 0 else math.nan


def _ranks(values: FloatArray) -> FloatArray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: FloatArray = last - (counts - 1) / 2.0
    return mean[inverse]
