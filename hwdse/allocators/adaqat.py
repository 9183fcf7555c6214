"""AdaQAT: bit-widths learned by gradient descent while training (arXiv 2404.16876)."""

from __future__ import annotations

import math
import time

import numpy as np

from ..bits import Allocation
from ..costs import CostTable
from ..metrics import LOSS
from ..problem import Problem, Solution
from ..quantized import QuantizedModel
from ..quantizers import Scheme
from ..solvers import solve
from ..training import Step


class AdaQAT:
    """One real-valued pair (N_w, N_a) for the network; the widths in use are their ceilings.

    Each step, on the same mini-batch, with L the loss at (ceil N_w, ceil N_a) and C the cost over its value at the start:

        g_w = (L - L(ceil N_w - 1, ceil N_a)) + lambda dC/db_w,    N_w <- N_w - lr g_w,    and the same for N_a

    The paper fixes lambda; here (ours) a proportional-integral controller on log(lambda) steers the cost to the budget, C is the
    sum of the budget's metrics (or of every cost table, without a budget), ``dC/db`` the secant to the next width at which C
    changes (one bit for BitOPs; tables of real devices are flat in between), and steps are bounded so that short trainings reach the
    budget. When a width bounces up more than ``bounces`` times from one level it is frozen at the higher one (paper: 10); all
    freeze after ``active`` of the training, and the rest is plain quantisation-aware training.

    At the freeze the constraint layer projects onto the feasible set: it minimises ``sum 4^(N - b)`` over the tensors, the noise
    that the learnt N imply, so that every tensor is moved by about the same number of bits and the room left is spent (ours).

    Args:
        lr: rate of N, in units of 1/steps, so that the path does not depend on the length of training.
        cost_weight: lambda at the start.
        active: share of training during which widths are learned.
        bounces: oscillations before a width is frozen.
    """

    scheme = Scheme("dorefa", "pact")
    post_training_steps = 64

    def __init__(self, lr: float = 100.0, cost_weight: float = 1.0, active: float = 0.6, bounces: int = 10) -> None:
        self.lr, self.cost_weight, self.active, self.bounces = lr, cost_weight, active, bounces

    def start(self, model: QuantizedModel, problem: Problem) -> Allocation:
        """Starts at the widest widths."""
        self.problem, self._began = problem, time.perf_counter()
        choices = problem.choices
        free = choices.allowed.sum(axis=1) > 1
        used = choices.allowed[free].any(axis=0) if free.any() else choices.allowed.any(axis=0)
        self._levels = {
            "w": sorted(set(choices.weight_bits[used].tolist())),
            "a": sorted(set(choices.activation_bits[used].tolist())),
        }
        self.n = {what: float(levels[-1]) for what, levels in self._levels.items()}
        self._log_weight = math.log(self.cost_weight)
        self._last_error: float | None = None
        self._bounced: dict[tuple[str, int], int] = {}
        self._frozen: set[str] = set()
        self._solution: Solution | None = None
        self._scale = {c.metric.key: c.limit for c in problem.budget}
        if not self._scale:
            first = self._indices(self.widths())
            self._scale = {key: float(table.totals(first)[0]) or 1.0 for key, table in problem.table.items()}
        self._start_cost = self._cost(self.widths())
        solve(problem)  # a budget that nobody can meet is said now, not after training
        return self._allocation(self.widths())

    def widths(self) -> dict[str, int]:
        """The widths in use: the narrowest available ones that are not below N."""
        return {w: next((level for level in self._levels[w] if level >= n - 1e-9), self._levels[w][-1]) for w, n in self.n.items()}

    def _indices(self, widths: dict[str, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
        count = len(self.problem.choices.layers)
        return self.problem.choices.at_least(np.full(count, widths["w"]), np.full(count, widths["a"]))

    def _allocation(self, widths: dict[str, int]) -> Allocation:
        return self.problem.choices.allocation(self._indices(widths))

    def _cost(self, widths: dict[str, int]) -> float:
        """C: the mean of the metrics over their scale."""
        indices = self._indices(widths)
        return float(np.mean([self.problem.table[key].totals(indices)[0] / scale for key, scale in self._scale.items()]))

    def _below(self, widths: dict[str, int], moved: tuple[str, ...]) -> tuple[dict[str, int], float]:
        """The next widths down along ``moved`` at which the cost falls, and the fall per bit over the cost at the start; 0 if none."""
        here, lower = self._cost(widths), dict(widths)
        while all(lower[m] > self._levels[m][0] for m in moved):
            for m in moved:
                lower[m] = max(level for level in self._levels[m] if level < lower[m])
            fall = (here - self._cost(lower)) / self._start_cost
            if fall > 1e-12:
                return lower, fall / max(widths[m] - lower[m] for m in moved)
        return widths, 0.0

    def observe(self, step: Step) -> Allocation | None:
        """The gradient step on N; at the end of the learning part, the projection."""
        if self._solution is not None:
            return None
        active = max(1, int(self.active * step.total))
        if step.index + 1 >= active or len(self._frozen) == 2:
            self._solution = self._projected()
            return self._solution.allocation
        before = self.widths()
        moves: list[tuple[str, ...]] = [(m,) for m in ("w", "a") if m not in self._frozen]
        steps = {move: self._below(before, move) for move in moves}
        if all(fall == 0 for _, fall in steps.values()) and len(moves) == 2:
            steps = {("w", "a"): self._below(before, ("w", "a"))}  # devices that only gain when both shrink
        weight, bound = math.exp(self._log_weight), 12.0 / active
        for move, (lower, fall) in steps.items():
            bits = max(before[m] - lower[m] for m in move)
            loss = (step.loss - step.probe(self._allocation(lower))) / bits if bits else 0.0
            gradient = loss + weight * fall
            for m in move:
                change = max(-bound, min(bound, -self.lr / active * gradient))
                self.n[m] = min(max(self.n[m] + change, self._levels[m][0] - 0.49), float(self._levels[m][-1]))
        self._steer(active)
        now = self.widths()
        for m in ("w", "a"):
            if now[m] > before[m]:
                self._bounced[m, before[m]] = self._bounced.get((m, before[m]), 0) + 1
                if self._bounced[m, before[m]] > self.bounces:
                    self._frozen.add(m)
                    self.n[m] = float(now[m])
        return self._allocation(now) if now != before else None

    def _steer(self, active: int) -> None:
        """Proportional-integral control of log(lambda) on the log of the worst cost over its limit; lambda stays without a budget."""
        if not len(self.problem.budget):
            return
        indices = self._indices(self.widths())
        error = max(
            math.log(max(self.problem.table[c.metric.key].totals(indices)[0], 1e-300) / max(c.limit, 1e-300)) for c in self.problem.budget
        )
        error = max(-2.0, min(2.0, error))
        change = 0.0 if self._last_error is None else error - self._last_error
        self._log_weight += 6.0 / active * error + change
        self._log_weight = max(-12.0, min(12.0, self._log_weight))
        self._last_error = error

    def _projected(self) -> Solution:
        choices = self.problem.choices
        noise = 4.0 ** (self.n["w"] - choices.weight_bits) + 4.0 ** (self.n["a"] - choices.activation_bits)
        cells = np.broadcast_to(noise, choices.allowed.shape).copy()
        table = CostTable.one_row(LOSS, choices.layers, choices.options, cells, convention="noise implied by the learnt widths")
        found = solve(self.problem.with_loss(table))
        return Solution.checked(
            self.problem, found.allocation, status="FEASIBLE", solver="adaqat", seconds=time.perf_counter() - self._began
        )

    def finish(self) -> Solution:
        """The projected allocation."""
        return self._solution or self._projected()
