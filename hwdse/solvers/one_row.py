"""A budget of one row in all, whose ties decompose: fronts that are ready for any limit."""

from __future__ import annotations

import numpy as np

from ..errors import SolverError
from .bag import Bag
from .components import contradiction, front
from .program import Program


class OneRow:
    """The fronts of a program with at most one row, ready for any limit."""

    def __init__(self, program: Program) -> None:
        rows = rows_of(program)
        if rows > 1:
            raise SolverError(f"method 'lagrangian' takes one row in all, the budget has {rows}; use method 'milp' or 'auto'.")
        if program.links:
            raise SolverError(
                "method 'lagrangian' takes costs that are sums over layers, and the budget is on one that converts between layers "
                "of different widths; use method 'milp' or 'auto'."
            )
        cells = np.zeros_like(program.loss)
        self.fixed = 0.0
        for block in program.blocks.values():
            cells[block.layer] = block.cells
            self.fixed = float(block.table.fixed[0])
        self.fronts = [front(c, program.choices, program.active, cells, program.loss) for c in program.components]
        for component, joint in zip(program.components, self.fronts, strict=True):
            if not len(joint.cost):
                raise contradiction(program.choices, component)
        self.bag = Bag(self.fronts)


def rows_of(program: Program) -> int:
    """Rows of all tables that the budget names."""
    return sum(block.table.rows for block in program.blocks.values())
