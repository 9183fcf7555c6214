"""What allocators and solvers see: choices, a loss table, cost tables, a budget. Never a cost model, never a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from .choices import BoolArray, Choices, IntArray
from .constraints import Budget, Constraint
from .costs import CostTable, FloatArray
from .errors import UnknownName, UsageError
from .formats import Allocation, LayerFormat
from .metrics import LOSS

Status = Literal["OPTIMAL", "FEASIBLE"]


@dataclass(frozen=True, eq=False)
class Problem:
    """Minimise ``loss`` over ``choices`` subject to ``budget``, measured by ``costs``.

    Tables are aligned to the choices, and options that a table has at infinity (unsupported, or a loss that diverged) are taken
    out of the choices.

    Attributes:
        choices: the decision space.
        loss: expected loss increase, one row.
        costs: every cost that is to be reported; the budget's metrics must be among them.
        budget: hard limits.
    """

    choices: Choices
    loss: CostTable
    costs: tuple[CostTable, ...]
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        if self.loss.rows != 1:
            raise UsageError(f"the loss table must have one row, got {self.loss.rows}.")
        if self.loss.edges is not None:
            raise UsageError("the loss table must be a sum over layers; it has edges, which only cost tables may have.")
        costs = tuple(table.aligned(self.choices) for table in self.costs)
        keys = [table.metric.key for table in costs]
        for constraint in self.budget:
            if constraint.metric.key not in keys:
                raise UnknownName("metric in the budget", constraint.metric.key, keys)
        loss = self.loss.aligned(self.choices)
        supported = np.ones(self.choices.allowed.shape, bool)
        for table in (*costs, loss):
            supported &= table.supported
            lost = self.choices.allowed.any(axis=1) & ~(self.choices.allowed & table.supported).any(axis=1)
            if lost.any():
                i = int(np.flatnonzero(lost)[0])
                open_ = ", ".join(str(o) for o, ok in zip(self.choices.options, self.choices.allowed[i], strict=True) if ok)
                runs = ", ".join(str(o) for o, ok in zip(self.choices.options, table.supported[i], strict=True) if ok)
                found = f"{table.metric.on or 'the device'} runs none of them (it runs: {runs or 'nothing there'})"
                if table is loss:
                    found = f"the loss table is finite at none of them (it is at: {runs or 'none'})"
                raise UsageError(f"layer '{self.choices.layers[i]}' may take {open_}, and {found}; allow other widths.")
        object.__setattr__(self, "choices", self.choices.restrict(supported))
        object.__setattr__(self, "loss", loss)
        object.__setattr__(self, "costs", costs)

    def with_loss(self, loss: CostTable) -> Problem:
        """The same problem with another loss table."""
        return replace(self, loss=loss)

    def with_budget(self, budget: Budget) -> Problem:
        """The same problem under other limits: nothing else is computed again."""
        return replace(self, budget=budget)

    @cached_property
    def table(self) -> Mapping[str, CostTable]:
        """Metric key -> cost table."""
        return {t.metric.key: t for t in self.costs}

    def cost_of(self, allocation: Mapping[str, LayerFormat]) -> dict[str, float]:
        """Every cost of one allocation, by metric key, in stored units."""
        indices = self.choices.indices(allocation)
        return {key: float(table.totals(indices)[0]) for key, table in self.table.items()}

    def loss_of(self, allocation: Mapping[str, LayerFormat]) -> float:
        """The loss table's value for one allocation."""
        return float(self.loss.totals(self.choices.indices(allocation))[0])

    def slack(self, costs: Mapping[str, float]) -> dict[str, float]:
        """Room left under each constraint, by the constraint's text; negative where it is broken."""
        return {str(c): c.slack(costs[c.metric.key]) for c in self.budget}

    def broken(self, allocation: Mapping[str, LayerFormat]) -> tuple[Constraint, ...]:
        """The constraints that an allocation breaks."""
        costs = self.cost_of(allocation)
        return tuple(c for c in self.budget if not c.holds(costs[c.metric.key]))

    def feasible(self, indices: IntArray) -> BoolArray:
        """(N,) whether each of N allocations, (N, L) option indices, is permitted and inside every limit."""
        chosen = np.atleast_2d(indices)
        good = self.choices.permits(chosen)
        for constraint in self.budget:
            totals = self.table[constraint.metric.key].totals(chosen)
            good &= totals <= constraint.limit * (1 + 1e-12)
        return good


@dataclass(frozen=True)
class Solution:
    """An allocation that the constraint layer has re-checked from the tables.

    Attributes:
        allocation: the widths.
        status: OPTIMAL is a proof for the loss table; FEASIBLE is inside the budget and no more.
        loss: the loss table's value.
        bound: no allocation in the budget has a smaller loss than this; -inf where unknown.
        costs: every metric's value, by key, in stored units.
        slack: room left under each constraint, by its text.
        binding: text of the constraint that stops the loss from falling further (largest price times limit); None where no limit
            has a price above 0.
        shadow_prices: by constraint text, the *price*: how fast the value of the linear program over all allowed options falls per stored
            unit of limit more (:mod:`hwdse.solvers.prices`). A limit whose price is not known is absent. Widths come in steps: what the
            smallest loss itself does, :func:`hwdse.solvers.next_step` says.
        seconds: wall time of the solver.
        solver: its name.
    """

    allocation: Allocation
    status: Status
    loss: float
    bound: float
    costs: Mapping[str, float]
    slack: Mapping[str, float]
    shadow_prices: Mapping[str, float]
    seconds: float
    solver: str
    binding: str | None = None

    @classmethod
    def checked(
        cls,
        problem: Problem,
        allocation: Mapping[str, LayerFormat],
        *,
        status: Status,
        solver: str,
        seconds: float,
        bound: float = float("-inf"),
        shadow_prices: Mapping[str, float] | None = None,
    ) -> Solution:
        """Builds a solution after re-checking choices, ties and budget from the tables.

        Raises:
            UsageError: it breaks one of them. An allocation over budget is never returned.
        """
        indices = problem.choices.indices(allocation)
        refused = problem.choices.refusal(indices)
        if refused:
            raise UsageError(f"{solver}: {refused}.")
        costs = problem.cost_of(allocation)
        broken = [c for c in problem.budget if not c.holds(costs[c.metric.key])]
        if broken:
            over = "; ".join(f"{c}, found {c.metric.format(costs[c.metric.key])}" for c in broken)
            raise UsageError(f"{solver}: the allocation is over budget: {over}.")
        prices = dict(shadow_prices or {})
        worth = {text: prices.get(text, 0.0) * c.limit for text, c in ((str(c), c) for c in problem.budget)}
        binding = max(worth, key=lambda text: worth[text]) if worth and max(worth.values()) > 0 else None
        return cls(
            problem.choices.allocation(indices), status, problem.loss_of(allocation), bound, costs,
            problem.slack(costs), prices, seconds, solver, binding,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints."""
        return {**vars(self), "allocation": self.allocation.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Solution:
        """The inverse of :meth:`to_dict`."""
        return cls(**{**data, "allocation": Allocation.from_dict(data["allocation"])})


def loss_table(choices: Choices, cells: FloatArray, convention: str = "", notes: Sequence[str] = ()) -> CostTable:
    """An expected-loss table from (L, O) cells >= 0, made monotone in both widths."""
    return CostTable.one_row(LOSS, choices.layers, choices.options, cells, 0.0, "computed", convention, notes).monotone()
