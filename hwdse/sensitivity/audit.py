"""Which sensitivity ranks best on this model? Every method's loss table against the loss that is really measured (ours).

QBitOpt, arXiv 2307.04535, leaves open how well its sensitivities predict; here the user's own model answers. Two comparisons by rank:

- cells: the loss of narrowing one tensor of one layer from the widest allowed width to each other one, the rest in floating point;
- allocations: a table's total against the calibration loss that the whole network gains, over random allocations. It is what an
  allocator relies on, so it decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..choices import Choices, IntArray
from ..costs import CostTable, FloatArray
from ..errors import TrainingDiverged, UsageError
from ..quantized import QuantizedModel
from ..registry import names
from ..task import Task
from . import GROUP, SENSITIVITIES, sensitivity
from .measured import changes, float_loss, mean_loss, table_of_changes
from .parts import Progress, calibration, combined
from .ranks import Agreement, agreement, resampled
from .samples import Cell, cells_of, narrowed, random_allocations

Say = Callable[[str, int, int], None]  # (what is being done, steps done, steps in all)


@dataclass(frozen=True)
class Audited:
    """One method: its predictions, and how they agree with what was measured.

    Attributes:
        method: its name.
        seconds: wall time, calibration of ranges included.
        cells, allocations: (C,) and (N,) predicted loss rises.
        by_cell: agreement over cells; None for ``measured``, which they are held against.
        by_allocation: agreement over whole networks.
        draws: Spearman correlations over allocations drawn with replacement, the same draws for every method.
    """

    method: str
    seconds: float
    cells: FloatArray
    allocations: FloatArray
    by_cell: Agreement | None
    by_allocation: Agreement
    draws: FloatArray


@dataclass(frozen=True)
class Audit:
    """All methods on one model.

    Attributes:
        layers: names that the cells point to.
        cells: what was narrowed.
        measured_cells: (C,) their loss changes, as measured.
        allocations: (N, L) option indices.
        measured_allocations: (N,) calibration loss above the floating-point loss.
        methods: the best first, by Spearman's correlation over allocations.
    """

    layers: tuple[str, ...]
    cells: tuple[Cell, ...]
    measured_cells: FloatArray
    allocations: IntArray
    measured_allocations: FloatArray
    methods: tuple[Audited, ...]

    @property
    def verdict(self) -> str:
        """Which method ranks best and whether that is more than noise; where it is ``measured``, also which of the others does."""
        first = f"{_standing(self.methods, 'whole allocations')}."
        if self.methods[0].method != "measured" or len(self.methods) < 3:
            return first
        return f"{first} Of the others, {_standing(self.methods[1:], 'them')}."


def _standing(methods: Sequence[Audited], what: str) -> str:
    best, others = methods[0], methods[1:]
    found = best.by_allocation
    level = [one.method for one in others if within_noise(best, one, len(others))]
    behind = [one.method for one in others if one.method not in level]
    said = [f"{best.method} ranks {what} best (Spearman {found.spearman:.2f}, 95 % interval {found.low:.2f} to {found.high:.2f})"]
    if level:
        said.append(f"{_and(level)} {'are' if len(level) > 1 else 'is'} within noise of it at {len(best.allocations)} allocations")
    if behind:
        said.append(f"{_and(behind)} {'rank' if len(behind) > 1 else 'ranks'} worse by more than noise")
    return "; ".join(said)


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def within_noise(best: Audited, other: Audited, rivals: int) -> bool:
    """Whether the interval of the difference of two Spearman correlations over allocations holds 0.

    At 95 % for all ``rivals`` that the best is compared with together (Bonferroni): the more there are, the luckier one of them is.
    """
    return bool(np.quantile(best.draws - other.draws, 0.025 / rivals) <= 0)


def audit(
    make: Callable[[], QuantizedModel],
    task: Task,
    choices: Choices,
    *,
    methods: Iterable[str] | None = None,
    count: int = 48,
    seed: int = 0,
    say: Say = lambda what, done, total: None,
) -> Audit:
    """Runs every method, measures every cell and ``count`` random allocations, and compares.

    Args:
        make: a fresh quantised model; each method gets its own.
        task: its calibration split is what is measured on.
        choices: pins and ties hold in the random allocations; layers without a choice have no cells.
        methods: names; None is every method, those of plug-ins too.
        count: random allocations.
        seed: of the allocations and of the bootstrap.
        say: told what is being done.

    Raises:
        UsageError: fewer than 3 cells or allocations to rank. TrainingDiverged: a measured loss that is not finite.
    """
    wanted = [n for n in (names(SENSITIVITIES, GROUP) if methods is None else methods) if n != "measured"]
    cells, allocations = cells_of(choices), random_allocations(choices, count, seed)
    if len(cells) < 3 or len(allocations) < 3:
        raise UsageError(
            f"ranking needs 3 tensors and widths to narrow and 3 different allocations, got {len(cells)} and {len(allocations)}; "
            "pin fewer layers, or allow more widths."
        )
    tables, seconds = {}, {}
    for name in wanted:
        model, began = make(), time.perf_counter()
        tables[name] = sensitivity(name, model, task, choices, partial(say, f"sensitivities ({name})"))
        seconds[name] = time.perf_counter() - began
    model, began = make(), time.perf_counter()
    weight, activation = changes(model, task, choices, partial(say, "sensitivities (measured)"))
    seconds["measured"] = time.perf_counter() - began
    tables["measured"] = table_of_changes(model, choices, weight, activation)
    truth = narrowed(combined(model, choices, weight, activation), cells)
    rises = measured_allocations(model, task, choices, allocations, partial(say, "measuring allocations"))
    return compared(choices, cells, truth, allocations, rises, tables, seconds, seed)


def compared(
    choices: Choices,
    cells: Sequence[Cell],
    truth: FloatArray,
    allocations: IntArray,
    rises: FloatArray,
    tables: Mapping[str, CostTable],
    seconds: Mapping[str, float],
    seed: int,
) -> Audit:
    """The audit of loss tables by method name against measured cells and allocations. Noise: whole layers, and allocations, drawn again."""
    by_cell = {n: narrowed(t.dense[0], cells) for n, t in tables.items()}
    by_allocation = {n: t.totals(allocations) for n, t in tables.items()}
    layer = np.array([c.layer for c in cells])
    of_layers = resampled(truth, np.array(list(by_cell.values())), [np.flatnonzero(layer == i) for i in np.unique(layer)], seed)
    of_allocations = resampled(rises, np.array(list(by_allocation.values())), list(np.arange(len(rises))[:, None]), seed)
    found = [
        Audited(
            name, seconds[name], by_cell[name], by_allocation[name],
            None if name == "measured" else agreement(truth, by_cell[name], of_layers[k]),
            agreement(rises, by_allocation[name], of_allocations[k]), of_allocations[k],
        )
        for k, name in enumerate(tables)
    ]  # fmt: skip
    found.sort(key=lambda one: -one.by_allocation.spearman)
    return Audit(choices.layers, tuple(cells), truth, allocations, rises, tuple(found))


def measured_allocations(model: QuantizedModel, task: Task, choices: Choices, allocations: IntArray, progress: Progress) -> FloatArray:
    """(N,) calibration loss under each allocation, ranges calibrated for it, minus the floating-point loss."""
    data = calibration(model, task)
    base = float_loss(model, task, data)
    found = np.empty(len(allocations))
    for i, indices in enumerate(allocations):
        progress(i, len(allocations))
        allocation = choices.allocation(indices)
        model.set(allocation, calibrate=True)
        found[i] = mean_loss(model, task, data) - base
        if not np.isfinite(found[i]):
            raise TrainingDiverged(f"the calibration loss is not finite under the allocation {allocation}; allow no widths that narrow.")
    return found
