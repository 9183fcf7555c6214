"""The contract over the table of solvers: a new entry is tested without a new file."""

from __future__ import annotations

import pytest

from hwdse.solvers import SOLVERS, solve
from hwdse.testing import SolverContract


def contract(name: str, solver: object, rows: int | None) -> type[SolverContract]:
    return type(f"Test{name.title()}", (SolverContract,), {"solver": lambda self: solver, "rows_in_all": rows, "takes_edges": rows is None})


ROWS = {"lagrangian": 1}
for _name, _solver in {**SOLVERS, "auto": solve}.items():
    _class = contract(_name, _solver, ROWS.get(_name))
    globals()[_class.__name__] = _class


class TestTheContractCatches:
    """Solvers that are wrong fail it."""

    def fails(self, solver: object, test: str) -> None:
        case = contract("wrong", solver, None)()
        with pytest.raises(AssertionError):
            getattr(case, test)()

    def test_a_solver_that_overstates_its_proof(self) -> None:
        from dataclasses import replace

        self.fails(lambda p: replace(SOLVERS["greedy"](p), status="OPTIMAL"), "test_status_and_bound_are_true")

    def test_a_solver_that_ignores_the_budget(self) -> None:
        from hwdse.constraints import Budget

        self.fails(lambda p: solve(p.with_budget(Budget())), "test_infeasible_exactly_when_nothing_is_inside")
        self.fails(lambda p: solve(p.with_budget(Budget())), "test_budget_choices_and_ties_hold")
