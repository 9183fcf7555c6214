"""Hard limits on costs, and the text they are written in.

Text forms: ``latency <= 3 ms`` · ``latency@t4 <= 3 ms`` (one accelerator of several) · ``weights <= 50% of w8a8`` (relative to
the uniform allocation at that pair, pinned layers at their pins) · ``average_bits <= 4``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .choices import Choices
from .costs import CostTable
from .errors import UnknownName, UsageError
from .formats import LayerFormat
from .metrics import Metric
from .numerals import number

_CONSTRAINT = re.compile(r"^\s*(?P<metric>[\w.]+(?:@[\w.\-]+)?)\s*(?P<sign><=|≤|=<|<|>=|>|==|=)\s*(?P<limit>.+?)\s*$")
_RELATIVE = re.compile(r"^(?P<percent>\S+?)\s*%\s*of\s+(?P<reference>w\d+a\d+)$", re.IGNORECASE)
_EXAMPLES = 'write for example "latency <= 3 ms" or "weights <= 50% of w8a8".'


@dataclass(frozen=True)
class Constraint:
    """``cost(metric) <= limit``, the limit in the metric's stored unit.

    ``text`` is as the user wrote it, the accelerator spelled out: ``"weights@t4 <= 50% of w8a8"``.
    """

    metric: Metric
    limit: float
    text: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.limit) and self.limit >= 0):
            raise UsageError(f"a limit must be finite and not negative; got {self.limit} for {self.metric.key}.")

    def __str__(self) -> str:
        return f"{self.metric.key} <= {self.metric.format(self.limit)}"

    def tightened(self, factor: float) -> Constraint:
        """The same limit times ``factor``, with a text that says so."""
        if factor == 1:
            return self
        return Constraint(self.metric, self.limit * factor, f"{self.text or self} x {factor:.4g}")

    def slack(self, cost: float) -> float:
        """Room left, in the metric's stored unit; at least 0 where the constraint holds."""
        return self.limit - cost

    def holds(self, cost: float) -> bool:
        """``cost <= limit``, forgiving a rounding error of one part in 10^12 of the sum."""
        return cost <= self.limit * (1 + 1e-12)


@dataclass(frozen=True)
class Budget:
    """Several constraints, all of which must hold."""

    constraints: tuple[Constraint, ...] = ()

    def __iter__(self) -> Iterator[Constraint]:
        return iter(self.constraints)

    def __len__(self) -> int:
        return len(self.constraints)

    def __str__(self) -> str:
        return ", ".join(map(str, self.constraints)) or "no limit"


def find_metric(name: str, metrics: Sequence[Metric]) -> Metric:
    """The metric that ``name`` means: an exact key first, then the only accelerator that has a metric of that name.

    Raises:
        UnknownName: nobody has it. UsageError: several accelerators have it.
    """
    exact = [m for m in metrics if m.key == name]
    if exact:
        return exact[0]
    loose = [m for m in metrics if m.name == name]
    if len(loose) == 1:
        return loose[0]
    if loose:
        raise UsageError(f"'{name}' is known for several accelerators; say which: {', '.join(m.key for m in loose)}.")
    raise UnknownName("metric", name, [m.key for m in metrics])


def parse_constraint(text: str, tables: Sequence[CostTable], choices: Choices) -> Constraint:
    """Reads one constraint.

    Args:
        text: see the module's text forms.
        tables: the cost tables that exist; they give the units and the reference costs.
        choices: the decision space; relative limits take its uniform allocation as their reference.

    Raises:
        UsageError: malformed text, unit, percentage, or reference. UnknownName: unknown metric.
    """
    match = _CONSTRAINT.match(text)
    if not match:
        raise UsageError(f"'{text}' is not a budget; {_EXAMPLES}")
    if match["sign"] not in ("<=", "≤"):
        raise UsageError(f"'{text}': a budget is an upper limit written with <=, got '{match['sign']}'; {_EXAMPLES}")
    metric = find_metric(match["metric"], [t.metric for t in tables])
    table = next(t for t in tables if t.metric == metric)
    relative = _RELATIVE.match(match["limit"])
    if relative is None and "%" in match["limit"]:
        raise UsageError(f"'{text}': a relative limit names its reference; write for example '{match['metric']} <= 50% of w8a8'.")
    if relative is None:
        return Constraint(metric, metric.parse(match["limit"]), f"{metric.key} <= {match['limit']}")
    percent = number(relative["percent"])
    if percent is None:
        raise UsageError(f"'{text}': '{relative['percent']}' is not a percentage; {_EXAMPLES}")
    fraction = percent / 100
    if not fraction > 0:
        raise UsageError(f"'{text}': the percentage must be positive, got {relative['percent']}.")
    reference = LayerFormat.parse(relative["reference"])
    try:
        cost = table.aligned(choices).total(choices.uniform(reference))
    except UsageError as error:
        raise UsageError(f"'{text}': the reference cannot be costed: {error}") from None
    if not math.isfinite(cost):
        raise UsageError(f"'{text}': {table.metric.on or 'the device'} cannot run the reference {reference}; choose another.")
    return Constraint(metric, fraction * cost, f"{metric.key} <= {match['limit']}")


def metric_names(texts: Iterable[str]) -> set[str]:
    """Names of the metrics in budget texts, without their accelerators; of text that is none, nothing."""
    return {match["metric"].partition("@")[0] for text in texts if (match := _CONSTRAINT.match(text))}


def reference_notes(budget: Budget, choices: Choices) -> tuple[str, ...]:
    """Which layers the references of relative limits hold at other widths; see :meth:`Choices.uniform_note`."""
    named = [match["reference"] for c in budget if (match := re.search(r"%\s*of\s+(?P<reference>w\d+a\d+)", c.text, re.IGNORECASE))]
    return tuple(filter(None, (choices.uniform_note(LayerFormat.parse(text)) for text in dict.fromkeys(named))))


def parse_budget(texts: Iterable[str], tables: Sequence[CostTable], choices: Choices) -> Budget:
    """Reads several constraints; two on one metric are both kept (the tighter one binds)."""
    return Budget(tuple(parse_constraint(text, tables, choices) for text in texts))
