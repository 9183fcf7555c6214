"""How often should widths be re-allocated during training? QBitOpt (arXiv 2307.04535) re-allocates every tau = 250 steps.

A tau that the training is too short for (fewer than four re-allocations before the widths are frozen) is not run, but said, with the
epochs that it would take.

    python examples/studies/tau.py [TASK] [--seeds N] [--epochs E] [--output results.csv]
"""

from __future__ import annotations

import argparse
import math
from functools import partial

from study import Case, arguments, bench, study

from hwdse.allocators import QBitOpt

TAUS = (50, 100, 250, 500, 1000)
TIMES = 4  # re-allocations at least: for a larger tau, Reallocating takes a quarter of the part of training that re-allocates
BUDGET = ("average_bits <= 100% of w3a3",)


def cases(options: argparse.Namespace) -> dict[str, Case]:
    """The taus that the training reaches; prints those that it does not."""
    per_epoch = sum(1 for _ in bench(options.task, options.accelerator, 0, "fit").task.batches("train", 0))
    active = 1 - QBitOpt().freeze  # share of the training during which widths may change
    steps = int(active * options.epochs * per_epoch)
    made = {"once, before training": Case(partial(QBitOpt, reallocate=False), BUDGET)}
    for tau in TAUS:
        if tau * TIMES <= steps:
            made[f"tau {tau}: {steps // tau} times"] = Case(partial(QBitOpt, tau=tau), BUDGET)
        else:
            print(f"tau {tau} is not reached in {steps} steps: --epochs {math.ceil(tau * TIMES / active / per_epoch)}")
    return made


if __name__ == "__main__":
    options = arguments(__doc__, epochs=45)
    study(cases(options), options)
