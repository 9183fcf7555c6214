"""The last trials of a sweep: points of the front with one or two layers changed by a step of width.

The loss table says which changes are worth a trial: those with the smallest expected loss that keep the point's own budget. The points with
the widest gaps beside them on the front take turns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwdse.choices import BoolArray, Choices, IntArray
from hwdse.costs import FloatArray
from hwdse.formats import Allocation
from hwdse.pareto import ParetoFront
from hwdse.problem import Problem
from hwdse.quantizers import Scheme
from hwdse.records import TrialResult
from hwdse.workbench import Workbench

from .knobs import Knobs, Plan

BEST = 60  # steps up, and steps down, that pairs are made of
PARENTS = 8  # points of the front that take turns
SAME = 1e-12  # relative difference up to which two costs are one: sums differ by rounding


def refinement(bench: Workbench, plan: Plan, trials: Sequence[TrialResult], at_work: Sequence[Knobs], seed: int) -> Knobs | None:
    """The next change to try; None where every neighbour of the front has been measured, or there is no front yet.

    Args:
        trials: that have ended. at_work: knobs of those that run.
    """
    done = {(t.knobs.get("scheme"), t.knobs.get("epochs"), t.allocation) for t in trials}
    failed = [(t.knobs.get("allocator"), t.knobs.get("epochs"), t.knobs.get("allocation")) for t in trials if t.state != "complete"]
    running = [(k.allocator, k.epochs, k.allocation) for k in at_work]
    taken = {(allocator, epochs, Allocation.from_dict(widths)) for allocator, epochs, widths in (*failed, *running) if widths is not None}
    candidates: list[tuple[int, Knobs]] = []  # with how many neighbours of the point were tried
    for parent in _parents(bench, plan, trials):
        knobs = Knobs.from_dict({key: parent.knobs[key] for key in Knobs.__dataclass_fields__ if key in parent.knobs})
        scheme = Scheme.parse(str(parent.knobs["scheme"]))
        problem = Problem(bench.choices_for(scheme), bench.loss(scheme), bench.tables_for(knobs.accelerator, scheme), plan.budget(knobs))
        assert parent.allocation is not None  # complete trials have one
        found = neighbours(problem, parent.allocation)
        known = [(str(scheme), knobs.epochs, a) in done or (knobs.allocator, knobs.epochs, a) in taken for a in found]
        if not all(known):
            widths = found[known.index(False)].to_dict()
            child = Knobs(
                knobs.allocator, knobs.accelerator, knobs.goal, knobs.tightness, knobs.epochs, seed, allocation=widths, origin="refine"
            )
            candidates.append((sum(known), child))
        if len(candidates) == PARENTS:
            break
    return min(candidates, key=lambda pair: pair[0])[1] if candidates else None


def neighbours(problem: Problem, allocation: Allocation) -> list[Allocation]:
    """Allocations inside the budget that differ from one in one step of one layer, or in a step up here and one down there; the smallest
    expected loss first.

    A step is one that the budget's costs see: a device may run several widths alike, and of those the widest loses least. What neither
    saves any of these costs nor lowers the expected loss is left out. Layers that are tied move together. Pairs are made of the
    :data:`BEST` steps of either kind, so that wide networks take no longer than the square of that.
    """
    choices = problem.choices
    start = choices.indices(allocation)
    watched = [problem.table[key] for key in sorted({c.metric.key for c in problem.budget})]

    def costs(rows: IntArray) -> FloatArray:
        """(N, watched) of N allocations."""
        return np.column_stack([np.zeros((len(rows), 0)), *(table.totals(rows) for table in watched)])

    now, loss = costs(start[None])[0], problem.loss.totals(start)[0]

    def price(moves: Sequence[IntArray]) -> FloatArray:
        """(N,) what moves cost, all watched costs together, as shares of the present ones."""
        change = costs(start + np.array(moves)) / np.where(now > 0, now, 1.0) - 1.0
        found: FloatArray = change.sum(axis=1)
        return found

    steps = [
        [m for moves in _ways(choices, start, way) for m in step(moves, costs(start + np.array(moves)), now)]
        for way, step in ((1, _up), (-1, _down))
    ]
    ups, downs = (_best(moves, problem.loss.totals(start + np.array(moves)) - loss, price(moves)) if moves else [] for moves in steps)
    rows = [start + move for move in (*ups, *downs)]
    rows += [start + up + down for up in ups for down in downs if not (up.astype(bool) & down.astype(bool)).any()]
    if not rows:
        return []
    found = np.unique(np.array(rows), axis=0)
    found = found[problem.feasible(found)]
    losses = problem.loss.totals(found)
    gains = (losses < loss) | (costs(found) < now * (1 - SAME)).any(axis=1)
    found, losses = found[gains], losses[gains]
    return [choices.allocation(row) for row in found[np.argsort(losses, kind="stable")]]


def _best(moves: Sequence[IntArray], losses: FloatArray, prices: FloatArray) -> list[IntArray]:
    """Half of them those with the best change of loss, half those with the best change of loss for what they cost or save: the first are
    good by themselves, the second in pairs, where a step down has to pay for one up."""
    ratio = losses / np.maximum(np.abs(prices), 1e-12)
    by_loss, by_ratio = np.argsort(losses, kind="stable"), np.argsort(ratio, kind="stable")
    order = dict.fromkeys(int(i) for pair in zip(by_loss, by_ratio, strict=True) for i in pair)
    return [moves[i] for i in list(order)[:BEST]]


def _down(moves: Sequence[IntArray], costs: FloatArray, now: FloatArray) -> list[IntArray]:
    """The first of ever narrower widths that saves something."""
    saves = (costs < now * (1 - SAME)).any(axis=1)
    return [moves[int(np.argmax(saves))]] if saves.any() else []


def _up(moves: Sequence[IntArray], costs: FloatArray, now: FloatArray) -> list[IntArray]:
    """The last of ever wider widths that costs what the present one does, and the last of those that cost the next more."""
    others = np.vstack([now, costs])[None]
    alike: BoolArray = np.all(np.abs(costs[:, None] - others) <= SAME * np.abs(others), axis=2)  # (M, 1 + M)
    free = np.flatnonzero(alike[:, 0])
    dearer = np.flatnonzero(~alike[:, 0])
    ends = [*free[-1:], *(np.flatnonzero(alike[:, 1 + dearer[0]])[-1:] if len(dearer) else ())]
    return [moves[int(i)] for i in ends]


def _ways(choices: Choices, start: IntArray, direction: int) -> list[list[IntArray]]:
    """Moves of every layer, or group of tied ones, in weights or activations: the differences of option indices to each format listed
    after (1) or before (-1) its own, the nearest first."""
    weights, activations = choices.weight_code, choices.activation_code
    found = []
    for own, other, ties in ((weights, activations, choices.weight_ties), (activations, weights, choices.activation_ties)):
        groups = [[choices.position[n] for n in tie] for tie in ties]
        single = [[i] for i in range(len(start)) if not any(i in g for g in groups)]
        for group in (*groups, *single):
            moves = []
            here = own[start[group[0]]]
            for code in sorted({int(c) for c in own if direction * (c - here) > 0}, reverse=direction < 0):
                move = np.zeros_like(start)
                for i in group:
                    same = np.flatnonzero(choices.allowed[i] & (other == other[start[i]]) & (own == code))
                    if not len(same):
                        break
                    move[i] = same[0] - start[i]
                else:
                    moves.append(move)
            if moves:
                found.append(moves)
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
