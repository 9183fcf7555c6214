"""What makes ADQ (arXiv 2510.19760) work: how codebooks start, that they move, mixed widths, or the teacher?

One part is changed at a time. The budget counts index bits; memory and arithmetic charge the codes too (:class:`hwdse.formats.Codebook`).

    python examples/studies/codebooks.py [TASK] [--seeds N] [--epochs E] [--output results.csv]
"""

from __future__ import annotations

from functools import partial

from study import Case, arguments, study

from hwdse.allocators import ADQ, Uniform
from hwdse.formats import LayerFormat
from hwdse.quantizers import Scheme

WIDTHS = "w3a3"
BUDGET = (f"average_bits <= 100% of {WIDTHS}",)


def cases() -> dict[str, Case]:
    """ADQ as it is here, and with one part taken out or put in."""
    adq = partial(Case, ADQ, BUDGET)
    return {
        "ADQ": adq(),
        "codes start at quantiles (the paper's)": adq(Scheme("codebook_quantile", "n2uq")),
        "codes start on an even grid": adq(Scheme("codebook_grid", "n2uq")),
        "codes never move": adq(Scheme("codebook_fixed", "n2uq")),
        "uniform widths": Case(partial(Uniform, LayerFormat.parse(WIDTHS)), BUDGET, ADQ.scheme),
        "evenly spaced levels": adq(Scheme("lsq", "lsq")),
        "half the loss from the FP32 network": adq(distillation=0.5),
    }


if __name__ == "__main__":
    study(cases(), arguments(__doc__, epochs=3))
