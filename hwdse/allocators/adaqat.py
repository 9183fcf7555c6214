"""AdaQAT: bit-widths learned by gradient descent while training (arXiv 2404.16876)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from ..choices import IntArray
from ..costs import CostTable, FloatArray
from ..errors import UsageError
from ..formats import Allocation
from ..metrics import LOSS
from ..problem import Problem, Solution
from ..quantized import QuantizedModel
from ..quantizers import Scheme
from ..solvers import solve
from ..training import Step
from .cost_slopes import CostSlopes
from .cost_weights import CostWeights
from .history import History, Moment
from .loss_slopes import ExpandedSlopes, ProbedSlopes
from .width_groups import WidthGroups

REACH = 12.0  # bits that a width can travel in the learning part of training


class AdaQAT:
    """Real-valued widths N, one pair (N_w, N_a) for the network or one per layer; the widths in use are their ceilings.

    Each step, on the same mini-batch, with L the loss at the widths in use and C the cost:

        g_w = (L - L(ceil N_w - 1, ceil N_a)) + lambda dC/db_w,    N_w <- N_w - lr g_w,    and the same for N_a

    When a width has bounced up more than ``bounces`` times from one level it is frozen at the higher one (paper: 10). All freeze after
    ``active`` of the training, and the rest is plain quantisation-aware training. Beyond the paper (ours):

    - C is every metric of the budget, or else of the problem, over its value at the start (:class:`CostSlopes`).
    - Lambda is steered so that the cost at N comes to the budget (:class:`CostWeights`).
    - When learning ends the widths are projected onto the feasible set: least ``sum 4^(N - b)`` over the tensors, the noise that the
      learnt N imply, so that all are moved by about the same number of bits and the room left is spent. So the budget always holds.
    - At the narrowest width the difference to the next wider one stands for that to the next narrower one.
    - A step of N is bounded, so that no training is too short to reach the budget and none falls through it; per layer it is as many
      times larger as there are tensors of the kind, which share the network's slope.

    The paper gives no rates for its convolutional networks: the defaults of ``lr``, ``cost_weight`` and ``active`` are ours.

    Args:
        lr: rate of N, in units of 1/steps, so that the path does not depend on the length of training.
        cost_weight: lambda (at the start).
        active: share of training during which widths are learned.
        bounces: oscillations before a width is frozen.
        granularity: ``network``, by probes (two further forward passes a step), or ``layer``, by :class:`ExpandedSlopes` (none; ours).
        steer: False keeps lambda, as the paper does.
        order: of the expansion, for ``layer``.

    Attributes:
        history: N, lambda and cost as training went (:class:`History`).
    """

    scheme = Scheme("dorefa", "pact")
    post_training_steps = 64

    def __init__(
        self,
        lr: float = 100.0,
        cost_weight: float = 1.0,
        active: float = 0.6,
        bounces: int = 10,
        granularity: Literal["network", "layer"] = "network",
        steer: bool = True,
        order: Literal[1, 2] = 2,
    ) -> None:
        if granularity not in ("network", "layer") or order not in (1, 2):
            raise UsageError(f"granularity must be 'network' or 'layer' and order 1 or 2, got '{granularity}' and {order}.")
        if not (lr > 0 and cost_weight > 0 and 0 <= active <= 1 and bounces >= 0):
            got = f"{lr:g}, {cost_weight:g}, {active:g} and {bounces}"
            raise UsageError(f"lr and cost_weight must be positive, active in 0..1, bounces not negative; got {got}.")
        self.lr, self.cost_weight, self.active, self.bounces = lr, cost_weight, active, bounces
        self.granularity, self.steer, self.order = granularity, steer, order
        self.history = History()
        self._open = contextlib.ExitStack()

    def start(self, model: QuantizedModel, problem: Problem) -> Allocation:
        """Starts at the widest widths.

        Raises:
            InfeasibleBudget: nothing meets the budget; said now, not after training.
        """
        self._open.close()
        self.problem, self._began = problem, time.perf_counter()
        self._solution: Solution | None = None
        layers = self.granularity == "layer"
        self.groups = groups = WidthGroups.layer(problem) if layers else WidthGroups.network(problem)
        self.n: FloatArray = groups.levels[:, -1].astype(np.float64)
        self.frozen = groups.levels[:, 0] == groups.levels[:, -1]
        self._bounced = np.zeros(groups.levels.shape, np.intp)
        self._projected()  # raises where nothing is inside
        limits = {c.metric.key: c.limit for c in sorted(problem.budget, key=lambda c: -c.limit)}  # of two on one metric the tighter
        self._cost = CostSlopes(groups, tuple(limits) or tuple(problem.table), self.widths)
        self._limits = np.array([*limits.values()]) / self._cost.scale if limits else None
        self._weights = CostWeights(self._limits if self.steer else None, len(self._cost.metrics), self.cost_weight)
        self._loss = ExpandedSlopes(model, groups, self.order) if layers else ProbedSlopes(model, groups)
        self.history = History()
        self._aim()
        self._open.enter_context(self._loss.watching())
        return self._allocation()

    @property
    def widths(self) -> IntArray:
        """(G,) the widths in use: the narrowest available ones that are not below N."""
        levels = self.groups.levels
        place = np.minimum((levels < self.n[:, None] - 1e-9).sum(axis=1), levels.shape[1] - 1)
        found: IntArray = levels[np.arange(len(levels)), place]
        return found

    def _allocation(self) -> Allocation:
        return self.problem.choices.allocation(self.groups.indices(self.widths))

    def _aim(self) -> None:
        self._moves = self._cost.moves(self.widths, self.frozen)
        self._loss.aim(self.widths, self._moves)

    def observe(self, step: Step) -> Allocation | None:
        """The gradient step on N; at the end of the learning part, the projection."""
        if self._solution is not None:
            return None
        active = max(1, int(self.active * step.total))
        if step.index + 1 >= active or self.frozen.all():
            self._open.close()
            self._solution = self._projected()
            return self._solution.allocation
        before = self.widths
        self._descend(self._loss.slopes(step) + self._moves.slopes @ self._weights.values, active)
        changed = (self.widths != before).any()
        if changed:
            self._bounce(before)
            self._aim()
        self._note(step.index)
        self._weights.steer(self._cost_at_n(), active)
        return self._allocation() if changed else None

    def _descend(self, gradient: FloatArray, active: int) -> None:
        moving = ~self.frozen & (self._moves.bits != 0)
        of_weights, levels = self.groups.of_weights, self.groups.levels
        alike = np.where(of_weights, (moving & of_weights).sum(), (moving & ~of_weights).sum())
        change = np.clip(-self.lr / active * alike * gradient, -REACH / active, REACH / active)
        self.n = np.where(moving, np.clip(self.n + change, levels[:, 0] - 0.49, levels[:, -1]), self.n)

    def _bounce(self, before: IntArray) -> None:
        """Counts the widths that went back up from a level; too many freeze the width where it went."""
        rose = np.flatnonzero(self.widths > before)
        place = (self.groups.levels[rose] < before[rose, None]).sum(axis=1)
        self._bounced[rose, place] += 1
        stopped = rose[self._bounced[rose, place] > self.bounces]
        self.n[stopped] = self.widths[stopped]
        self.frozen[stopped] = True

    def _cost_at_n(self) -> FloatArray:
        """(M,) each metric over its value at the start, on the line from the widths in use to the next narrower ones."""
        together = np.bincount(self._moves.unit, minlength=len(self.n))[self._moves.unit]
        short = np.where(self._moves.bits > 0, (self.widths - self.n) / together, 0)
        found: FloatArray = self._cost.costs(self.widths) - short @ self._moves.slopes
        return found

    def _note(self, step: int) -> None:
        costs, mine = self._cost.costs(self.widths), self.groups.of_weights
        cost = costs.sum() / max(len(costs), 1) if self._limits is None else (costs / np.maximum(self._limits, 1e-12)).max()
        weight, activation = tuple(self.n[mine].tolist()), tuple(self.n[~mine].tolist())
        self.history.note(Moment(step, weight, activation, float(self._weights.values.sum()), float(cost)))

    def _projected(self) -> Solution:
        choices, groups = self.problem.choices, self.groups
        weight, activation = self.n[groups.weight][:, None], self.n[groups.activation][:, None]
        noise = 4.0 ** (weight - choices.weight_bits) + 4.0 ** (activation - choices.activation_bits)
        table = CostTable.one_row(LOSS, choices.layers, choices.options, noise, convention="noise implied by the learnt widths")
        found, seconds = solve(self.problem.with_loss(table)), time.perf_counter() - self._began
        return Solution.checked(self.problem, found.allocation, status="FEASIBLE", solver="adaqat", seconds=seconds)

    def state(self) -> dict[str, Any]:
        """N, bounces, lambda, what is known of the loss, the history, and the projection once it is made."""
        return {
            "n": self.n.tolist(),
            "frozen": self.frozen.tolist(),
            "bounced": self._bounced.tolist(),
            "weights": [self._weights.integral.tolist(), self._weights.values.tolist()],
            "loss": self._loss.state(),
            "history": self.history.to_list(),
            "solution": self._solution and self._solution.to_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state`.

        Raises:
            UsageError: the state of another network, or of another granularity.
        """
        if np.shape(state["bounced"]) != self._bounced.shape or len(state["weights"][0]) != len(self._weights.values):
            had, has = np.shape(state["bounced"]), self._bounced.shape
            raise UsageError(f"the state is of another problem or granularity: it has {had} groups and levels, this one {has}.")
        self.n, self.frozen, self._bounced = np.array(state["n"]), np.array(state["frozen"]), np.array(state["bounced"])
        self._weights.integral, self._weights.values = map(np.array, state["weights"])
        self._loss.load_state(state["loss"])
        self.history = History.from_list(state["history"])
        self._aim()
        if state["solution"] is not None:
            self._solution = Solution.from_dict(state["solution"])
            self._open.close()

    def finish(self) -> Solution:
        """The projected allocation."""
        self._open.close()
        return self._solution or self._projected()
