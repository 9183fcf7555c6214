"""``hwdse sweep --init``: a commented sweep file to start from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hwdse.errors import UsageError
from hwdse.storage import write

from .config import SweepConfig

_TEXT = """\
# A sweep of hwdse: allocations of bit-widths for one task on some accelerators, each measured, and the fronts that they make.
#     hwdse sweep {name}
# Keys that are left out have the values shown behind them.
schema = "hwdse.sweep/1"
task = {task}                       # a built-in one, or my_package.my_module:MyTask
accelerators = {accelerators}       # shipped names, or paths of your own .toml files
budgets = [                         # each inner list holds together; several lists are several budgets, tried one by one
{budgets}
]

trials = {trials}                         # in all: baselines and the solver's points included
epochs = [0, 5]                     # of fine-tuning, to choose from; 0 is without training
seed = 0

# allocators = ["qbitopt", "adaqat", "adq"]     # which methods choose widths
# baselines = ["w8a8", "w6a6", "w4a4", "w3a3", "w2a2"]   # uniform widths, always measured
# formats = "int2..int8, mxfp4:mxfp8"   # number formats to choose from, in place of weights and activations
# weights = [2, 3, 4, 5, 6, 7, 8]   # widths to choose from
# activations = [2, 3, 4, 5, 6, 7, 8]
# cost_models = ["bitops", "weights", "activations", "average_bits"]   # beside those of the accelerators
# sensitivity = "fit"               # how expected losses are found; hwdse sensitivity TASK --audit says which is best here
# quantizers = "lsq_channel+lsq@mse"  # default: each allocator's own
# rounding = "adaptive"             # without training: adaptive, or nearest
# sampler = "tpe"                   # tpe, random or nsgaii
# objective = ["latency", "energy"] # one or two costs that the sampler trades against the score; default: the budget's first
# ladder = 3                        # limits per budget at which the solver's point is measured first
# promote = 0.5                     # share of proposals that are trained, by their score without training; 1 trains all
# refine = 0.2                      # share of the trials, the last ones, that change a step or two of a point on the front
# patience = 30                     # stop after so many trials without gain; default: never before all trials
# tightness = [0.5, 1.0]            # factors by which the sampler may tighten a budget's limits
# decode = 4096                     # of a decoder: cost of generating a token with so many in its cache
# device = "cpu"                    # or cuda
# keep_checkpoints = "front"        # those of fronts, baselines and the best inside each budget; all; none once the sweep has ended
"""


def new_sweep(path: Path, task: str, accelerators: Sequence[str], budgets: Sequence[str]) -> Path:
    """Writes the file.

    Raises:
        UsageError: it is there already.
    """
    if path.exists():
        raise UsageError(f"{path} is there already, and is not overwritten; give another file.")
    names = list(accelerators) or ["npu"]
    texts = list(budgets) or ["weights <= 50% of w8a8"]
    lines = "\n".join(f"  [{_quoted(text)}]," for text in texts)
    listed = "[" + ", ".join(_quoted(name) for name in names) + "]"
    write(path, _TEXT.format(name=path.name, task=_quoted(task), accelerators=listed, budgets=lines, trials=40))
    SweepConfig.load(path)  # what is written can be read
    return path


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
