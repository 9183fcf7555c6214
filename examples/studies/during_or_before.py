"""Does it pay to re-allocate widths while the network trains, or is one allocation before training enough?

QBitOpt (arXiv 2307.04535) re-solves its program from the training gradients; here against the same program solved once.

    python examples/studies/during_or_before.py [TASK] [--seeds N] [--epochs E] [--output results.csv]
"""

from __future__ import annotations

from functools import partial

from study import Case, arguments, study

from hwdse.allocators import QBitOpt, Uniform
from hwdse.formats import LayerFormat

WIDTHS = ("w3a3", "w2a3")


def cases() -> dict[str, Case]:
    """Three ways to choose widths, at two budgets."""
    made = {}
    for at in WIDTHS:
        budget = (f"average_bits <= 100% of {at}",)
        made[f"{at}: uniform"] = Case(partial(Uniform, LayerFormat.parse(at)), budget)
        made[f"{at}: allocated before training"] = Case(partial(QBitOpt, reallocate=False), budget)
        made[f"{at}: re-allocated during training"] = Case(QBitOpt, budget)
    return made


if __name__ == "__main__":
    study(cases(), arguments(__doc__, epochs=5))
