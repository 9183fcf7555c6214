"""What should a budget limit? Five metrics, each held to what uniform w3a3 costs of it: limits of equal severity.

Average bits, BitOPs, latency on an accelerator, peak activation memory, and the largest width. The table shows every limited metric
of every result, so that it can be seen what a limit on one leaves the others.

    python examples/studies/budgets.py [TASK] [--accelerator NAME] [--seeds N] [--epochs E] [--output results.csv]
"""

from __future__ import annotations

from functools import partial

from study import Case, arguments, study

from hwdse.allocators import QBitOpt, Uniform
from hwdse.formats import LayerFormat

WIDTHS = "w3a3"
METRICS = ("average_bits", "bitops", "latency", "activations", "largest_bits")


def cases() -> dict[str, Case]:
    """Uniform widths, which meet all limits; one limit at a time; all together."""
    limits = {metric: f"{metric} <= 100% of {WIDTHS}" for metric in METRICS}
    return {
        "uniform": Case(partial(Uniform, LayerFormat.parse(WIDTHS)), tuple(limits.values())),
        **{metric: Case(QBitOpt, (limit,)) for metric, limit in limits.items()},
        "all five": Case(QBitOpt, tuple(limits.values())),
    }


if __name__ == "__main__":
    study(cases(), arguments(__doc__, epochs=3))
