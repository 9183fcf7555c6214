"""The last trials of a sweep: points of the front with one or two layers changed by one step of width.

The loss table says which changes are worth a trial: those with the smallest expected loss that keep the point's own budget. Points with the
widest gap beside them on the front come first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwdse.bits import Allocation
from hwdse.choices import IntArray
from hwdse.pareto import ParetoFront
from hwdse.problem import Problem
from hwdse.quantizers import Scheme
from hwdse.records import TrialResult
from hwdse.workbench import Workbench

from .knobs import Knobs, Plan

BEST = 60  # steps up, and steps down, that pairs are made of


def refinement(bench: Workbench, plan: Plan, trials: Sequence[TrialResult], at_work: Sequence[Knobs], seed: int) -> Knobs | None:
    """The next change to try; None where every neighbour of the front has been measured, or there is no front yet.

    Args:
        trials: that have ended. at_work: knobs of those that run.
    """
    done = {(t.knobs.get("scheme"), t.knobs.get("epochs"), t.allocation) for t in trials}
    taken = {(k.epochs, Allocation.from_dict(k.allocation)) for k in at_work if k.allocation is not None}
    for parent in _parents(bench, plan, trials):
        knobs = Knobs.from_dict({key: parent.knobs[key] for key in Knobs.__dataclass_fields__ if key in parent.knobs})
        scheme = Scheme.parse(str(parent.knobs["scheme"]))
        problem = Problem(bench.choices, bench.loss(scheme), bench.tables_for(knobs.accelerator, scheme), plan.budget(knobs))
        assert parent.allocation is not None  # complete trials have one
        for allocation in neighbours(problem, parent.allocation):
            if (str(scheme), knobs.epochs, allocation) not in done and (knobs.epochs, allocation) not in taken:
                return Knobs(
                    knobs.allocator, knobs.accelerator, knobs.goal, knobs.tightness, knobs.epochs, seed,
                    allocation=allocation.to_dict(), origin="refine",
                )  # fmt: skip
    return None


def neighbours(problem: Problem, allocation: Allocation) -> list[Allocation]:
    """Allocations inside the budget that differ from one in one step of one layer, or in a step up here and one down there; the smallest
    expected loss first. Layers that are tied move together. Pairs are made of the :data:`BEST` steps of either kind, so that wide networks
    take no longer than the square of that."""
    choices = problem.choices
    start = choices.indices(allocation)
    ups, downs = (_best(problem, start, _moves(problem, start, direction)) for direction in (1, -1))
    rows = [start + move for move in (*ups, *downs)]
    rows += [start + up + down for up in ups for down in downs if not (up.astype(bool) & down.astype(bool)).any()]
    if not rows:
        return []
    found = np.unique(np.array(rows), axis=0)
    found = found[problem.feasible(found)]
    losses = problem.loss.totals(found)
    return [choices.allocation(row) for row in found[np.argsort(losses, kind="stable")]]


def _best(problem: Problem, start: IntArray, moves: Sequence[IntArray]) -> list[IntArray]:
    """Those after which the expected loss is smallest."""
    if not moves:
        return []
    order = np.argsort(problem.loss.totals(start + np.array(moves)), kind="stable")
    return [moves[i] for i in order[:BEST]]


def _moves(problem: Problem, start: IntArray, direction: int) -> list[IntArray]:
    """Differences of option indices: every layer, or group of tied ones, one width up (1) or down (-1) in weights or activations."""
    choices = problem.choices
    weights, activations = choices.weight_bits, choices.activation_bits
    found = []
    for own, other, ties in ((weights, activations, choices.weight_ties), (activations, weights, choices.activation_ties)):
        groups = [[choices.position[n] for n in tie] for tie in ties]
        single = [[i] for i in range(len(start)) if not any(i in g for g in groups)]
        for group in (*groups, *single):
            move = np.zeros_like(start)
            for i in group:
                here = start[i]
                same = np.flatnonzero(choices.allowed[i] & (other == other[here]) & (direction * (own - own[here]) > 0))
                if not len(same):
                    break
                move[i] = same[np.argmin(np.abs(own[same] - own[here]))] - here
            else:
                found.append(move)
    return found


def _parents(bench: Workbench, plan: Plan, trials: Sequence[TrialResult]) -> list[TrialResult]:
    """Front points that came from a budget, of every accelerator, the widest gap beside them first."""
    score = bench.task.metric
    found: dict[int, tuple[float, TrialResult]] = {}
    for (target, _), budget in plan.limits.items():
        metric = next(iter(budget)).metric
        front = ParetoFront.of([t for t in trials if t.knobs.get("accelerator") == target], (metric, score)).trials
        costs = np.array([t.measures[metric.key] for t in front])
        for i, trial in enumerate(front):
            if trial.knobs.get("goal") is None or trial.allocation is None:
                continue
            order = np.sort(np.log(np.maximum(costs, 1e-300)))
            place = int(np.searchsorted(order, np.log(max(costs[i], 1e-300))))
            gap = float(max(np.diff(order)[max(place - 1, 0) : place + 1], default=np.inf))
            if trial.number not in found or gap > found[trial.number][0]:
                found[trial.number] = gap, trial
    return [trial for _, trial in sorted(found.values(), key=lambda pair: (-pair[0], pair[1].number))]
