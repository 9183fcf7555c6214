# ruff: noqa: D102 (tests are named, not documented)
"""What a solver must do, as tests: subclass :class:`SolverContract` in a test file and say which solver it is about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from ..choices import Choices
from ..constraints import Budget
from ..errors import HwdseError, InfeasibleBudget
from ..problem import Problem, Solution
from .problems import brute_force, everything, random_problem

_CLOSE = 1e-9


class SolverContract:
    """Tests that any solver passes, run by pytest in a subclass::

    class TestMine(SolverContract):
        rows_in_all = 1                     # if it takes one budget row only

        def solver(self):
            return my_package.solve
    """

    #: The most budget rows the solver takes; None for any number.
    rows_in_all: int | None = None
    #: Whether it takes costs of pairs of layers. One that does not must refuse them, not leave them out.
    takes_edges = True

    def solver(self) -> Callable[[Problem], Solution]:
        """The solver under test."""
        raise NotImplementedError

    def problems(self, count: int = 25) -> Iterator[Problem]:
        """Random problems of the shapes that the solver takes."""
        shapes = [(1, 1)] if self.rows_in_all == 1 else [(1, 1), (2, 1), (1, 3)]
        for seed in range(count):
            budgets, rows = shapes[seed % len(shapes)]
            yield random_problem(seed, budgets=budgets, rows=rows, edges=self.takes_edges and seed % 2 == 1)

    def attempt(self, problem: Problem) -> Solution | None:
        """The solution; None where the solver calls the budget infeasible."""
        try:
            return self.solver()(problem)
        except InfeasibleBudget:
            return None

    def test_infeasible_exactly_when_nothing_is_inside(self) -> None:
        for problem in self.problems():
            assert (self.attempt(problem) is None) == (brute_force(problem) is None)

    def test_budget_choices_and_ties_hold(self) -> None:
        for problem in self.problems():
            found = self.attempt(problem)
            if found is not None:
                assert problem.feasible(problem.choices.indices(found.allocation))[0]
                assert found.loss == pytest.approx(problem.loss_of(found.allocation))
                assert found.costs == pytest.approx(problem.cost_of(found.allocation))

    def test_status_and_bound_are_true(self) -> None:
        for problem in self.problems():
            found, best = self.attempt(problem), brute_force(problem)
            if found is not None and best is not None:
                assert found.loss >= best[0] * (1 - _CLOSE)
                assert found.bound <= best[0] * (1 + _CLOSE)
                if found.status == "OPTIMAL":
                    assert found.loss == pytest.approx(best[0], rel=_CLOSE)

    def test_edges_are_taken_or_refused(self) -> None:
        problem = next(p for p in (random_problem(seed, edges=True) for seed in range(9)) if p.costs[0].edges is not None)
        if self.takes_edges:
            self.attempt(problem)
        else:
            with pytest.raises(HwdseError, match="convert"):
                self.solver()(problem)

    def test_same_problem_same_answer(self) -> None:
        for problem in self.problems(6):
            one, two = self.attempt(problem), self.attempt(problem)
            assert (one and one.allocation) == (two and two.allocation)

    @pytest.mark.parametrize("scale", [1e-12, 1e12])
    def test_scale_of_the_loss_changes_nothing(self, scale: float) -> None:
        for seed in range(6):
            plain, scaled = random_problem(seed), random_problem(seed, loss_scale=scale)
            one, two = self.attempt(plain), self.attempt(scaled)
            assert (one is None) == (two is None)
            if one is not None and two is not None:
                assert two.loss == pytest.approx(scale * one.loss, rel=1e-6)

    def test_without_a_budget(self) -> None:
        for problem in self.problems(6):
            free = problem.with_budget(Budget())
            found = self.solver()(free)
            assert found.loss >= free.loss.totals(everything(free.choices)).min() * (1 - _CLOSE)
            assert not found.shadow_prices

    def test_a_layer_with_a_single_option(self) -> None:
        for seed in range(6):
            problem = random_problem(seed, layers=1).with_budget(Budget())
            only = np.zeros_like(problem.choices.allowed)
            only[0, np.flatnonzero(problem.choices.allowed[0])[0]] = True
            space: Choices = problem.choices.restrict(only)
            found = self.solver()(replace(problem, choices=space))
            assert problem.choices.indices(found.allocation)[0] == int(np.argmax(only[0]))

    def test_shadow_prices_are_named_and_not_negative(self) -> None:
        for problem in self.problems(9):
            found = self.attempt(problem)
            if found is not None:
                assert set(found.shadow_prices) <= {str(c) for c in problem.budget}  # one that is not known is absent
                assert all(price >= 0 for price in found.shadow_prices.values())
