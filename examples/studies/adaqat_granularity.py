"""One pair of widths for the network, or one per layer? AdaQAT (arXiv 2404.16876) learns the former; here (ours) it learns either.

The baseline has uniform widths and the same quantisers, so that the widths are all that differs.

    python examples/studies/adaqat_granularity.py [TASK] [--seeds N] [--epochs E] [--output results.csv]
"""

from __future__ import annotations

from functools import partial

from study import Case, arguments, study

from hwdse.allocators import AdaQAT, Uniform
from hwdse.formats import LayerFormat

WIDTHS = ("w4a4", "w3a3")


def cases() -> dict[str, Case]:
    """Uniform, network-wide and per layer, at two budgets."""
    made = {}
    for at in WIDTHS:
        budget = (f"bitops <= 100% of {at}",)
        made[f"{at}: uniform"] = Case(partial(Uniform, LayerFormat.parse(at)), budget, AdaQAT.scheme)
        made[f"{at}: AdaQAT, network-wide"] = Case(AdaQAT, budget)
        made[f"{at}: AdaQAT, per layer"] = Case(partial(AdaQAT, granularity="layer"), budget)
    return made


if __name__ == "__main__":
    study(cases(), arguments(__doc__, epochs=10))
