"""What a little more of a limit would buy: the next step of the limit that matters, found by solving, and the sentence on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hwdse.constraints import Budget, Constraint
from hwdse.errors import SolverError
from hwdse.problem import Problem, Solution
from hwdse.solvers import NextStep, next_step, solve

_SECONDS = 10.0


@dataclass(frozen=True)
class More:
    """What more of the limits would buy.

    Attributes:
        free: the smallest expected loss without limits, in nats.
        now: the smallest inside them.
        steps: next step by limit, as far as they were looked at: the most binding first, up to the first that has one. None: more of this
            limit alone changes nothing.
        unsolved: a step could not be proven in time.
    """

    free: float
    now: float
    steps: Mapping[Constraint, NextStep | None]
    unsolved: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, in stored units."""
        return {str(c): step and vars(step) for c, step in self.steps.items()}


def more_of(problem: Problem, solution: Solution) -> More:
    """Solves for the next step of the binding limit, and of the others where it has none."""
    free = solve(problem.with_budget(Budget()), time_limit=_SECONDS)
    if free.status != "OPTIMAL":
        return More(free.loss, solution.loss, {}, unsolved=True)
    if _same(solution.loss, free.loss) or not len(problem.budget):
        return More(free.loss, solution.loss, {})
    worth = {str(c): solution.shadow_prices.get(str(c), 0.0) * c.limit for c in problem.budget}
    tightest = {c.metric.key: c for c in sorted(problem.budget, key=lambda c: -c.limit)}
    steps: dict[Constraint, NextStep | None] = {}
    now = solution.loss
    try:
        if solution.status != "OPTIMAL":
            best = solve(problem, time_limit=_SECONDS)
            if best.status != "OPTIMAL":
                return More(free.loss, now, steps, unsolved=True)
            now = best.loss
        for c in sorted(tightest.values(), key=lambda c: -worth[str(c)]):
            steps[c] = next_step(problem, c, now, _SECONDS)
            if steps[c] is not None:
                break
    except SolverError:
        return More(free.loss, now, steps, unsolved=True)
    return More(free.loss, now, steps)


def _same(one: float, other: float) -> bool:
    return one <= other + 1e-9 * abs(other)


def sentence(more: More, binding: str | None) -> str:
    """What it comes to, for the reader of one allocation."""
    if not more.steps:
        if more.unsolved:
            return f"{f'Binding: {binding}. ' if binding else ''}What more of a limit would buy could not be solved in time."
        return "No limit binds: every layer has the widths of the smallest expected loss."
    said = [f"Binding: {binding}."] if binding else []
    alone = [str(c) for c, step in more.steps.items() if step is None]
    found = next(((c, step) for c, step in more.steps.items() if step is not None), None)
    if found is None:
        if more.unsolved:
            return " ".join([*said, "What more of a limit would buy could not be solved in time."])
        return " ".join([*said, f"More of {_any(alone)} alone changes nothing. Without limits: {more.free:.4g} nats."])
    if alone:
        said.append(f"More of {_any(alone)} alone changes nothing.")
    c, step = found
    m = c.metric
    _, reach = m.apart(c.limit, step.limit)
    room = m.format(step.limit - c.limit, like=None if step.limit - c.limit < 0.1 * abs(c.limit) else c.limit)
    lead = "" if str(c) == binding else f"{c}: "
    said.append(
        f"{lead}{room} more (a limit of {reach}) lowers the smallest expected loss by {more.now - step.loss:.3g} nats, to {step.loss:.4g}; "
        "less changes nothing, as widths come in steps."
    )
    return " ".join(said)


def _any(limits: list[str]) -> str:
    return f"'{limits[0]}'" if len(limits) == 1 else f"any one limit ({', '.join(limits)})"
