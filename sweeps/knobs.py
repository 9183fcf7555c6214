"""What one trial tries, and the trials that every sweep starts with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hwdse.choices import Choices
from hwdse.constraints import Budget, reference_notes
from hwdse.costs import CostTable
from hwdse.errors import InfeasibleBudget, UnknownName, UsageError
from hwdse.formats import LayerFormat
from hwdse.problem import Problem, loss_table
from hwdse.quantizers import Scheme
from hwdse.solvers import solve
from hwdse.workbench import Workbench

from .config import SweepConfig


@dataclass(frozen=True)
class Knobs:
    """The decision behind one trial.

    Attributes:
        allocator: its name. accelerator: the target; None where the sweep has none.
        goal: index into the sweep's budgets; None for a baseline at fixed widths.
        tightness: factor on the budget's limits, at most 1.
        epochs: of fine-tuning; 0 is post-training. seed: of training.
        widths: uniform widths of a baseline.
        allocation: widths of every layer, for a trial that refines another; None where the allocator chooses.
        origin: ``baseline``, ``solver`` (post-training at a solver's solution), ``start``, ``search`` or ``refine``.
    """

    allocator: str
    accelerator: str | None
    goal: int | None
    tightness: float = 1.0
    epochs: int = 0
    seed: int = 0
    widths: str | None = None
    allocation: Mapping[str, str] | None = None
    origin: str = "search"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Knobs:
        """The inverse of :meth:`to_dict`."""
        return cls(**data)

    def __str__(self) -> str:
        where = f" on {self.accelerator}" if self.accelerator else ""
        chosen = "a step from the front" if self.allocation else f"budget {self.goal + 1}" if self.goal is not None else ""
        what = self.widths or chosen
        how = f"{self.epochs} epochs" if self.epochs else "post-training"
        tight = f" x {self.tightness:.2f}" if self.tightness < 1 else ""
        return f"{self.allocator}{where}, {what}{tight}, {how}"


@dataclass(frozen=True)
class Plan:
    """Which budgets apply to which accelerator, and what holds for every trial.

    Attributes:
        limits: (accelerator, index of the budget) -> absolute limits.
        least: the same -> the smallest tightness at which anything is inside; the sampler does not go below it.
        scheme: quantisers; None: each allocator's own.
        adaptive: whether post-training trials round adaptively and correct biases.
        promote: share of the search's proposals that are trained after a look without training; None trains all.
        baselines: uniform widths that are measured; None: those of the configuration.
        notes: what must be said of the sweep.
    """

    limits: Mapping[tuple[str | None, int], Budget]
    least: Mapping[tuple[str | None, int], float]
    scheme: Scheme | None = None
    adaptive: bool = True
    promote: float | None = None
    baselines: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: SweepConfig, bench: Workbench) -> Plan:
        """Resolves every budget on every accelerator, and makes sure that each can be met before anything is trained.

        A budget with ``metric@name`` applies on that accelerator only; one without must be known on all of them.

        Raises:
            UsageError: a budget that cannot be read, or that no accelerator of the sweep has. InfeasibleBudget: nobody can meet it.
        """
        targets: list[str | None] = [*bench.targets] or [None]
        limits: dict[tuple[str | None, int], Budget] = {}
        least: dict[tuple[str | None, int], float] = {}
        for number, texts in enumerate(config.budgets):
            named = {re.split("[<≤>≥=]", text)[0].strip().partition("@")[2] for text in texts} - {""}
            if len(named) > 1:
                raise UsageError(f"budget {number + 1} names several accelerators ({', '.join(sorted(named))}); write one budget for each.")
            unknown = named - {str(t) for t in targets}
            if unknown:
                raise UnknownName("accelerator in a budget", unknown.pop(), [str(t) for t in targets])
            for target in targets:
                if not named or target in named:
                    limits[target, number] = bench.budget(*texts, target=target)
                    least[target, number] = _least_tightness(bench, target, limits[target, number], config.tightness[0])
        scheme = Scheme.parse(config.quantizers) if config.quantizers else None
        baselines, said = _possible(config.baselines, bench.choices)
        notes = (*said, *(note for budget in limits.values() for note in reference_notes(budget, bench.choices)))
        promote = config.promote if config.promote < 1 else None
        return cls(limits, least, scheme, config.rounding == "adaptive", promote, baselines, tuple(dict.fromkeys(notes)))

    def budget(self, knobs: Knobs) -> Budget:
        """The limits of one trial: its budget's, times the tightness."""
        if knobs.goal is None:
            return Budget()
        return _tightened(self.limits[knobs.accelerator, knobs.goal], knobs.tightness)


def _possible(baselines: Sequence[str], choices: Choices) -> tuple[tuple[str, ...], list[str]]:
    """The uniform widths that the choices allow, and what must be said of those and of the others."""
    found, said = [], []
    for text in baselines:
        try:
            note = choices.uniform_note(LayerFormat.parse(text))
        except UsageError as error:
            said.append(f"the baseline {text} is left out: {str(error).rstrip('.')}")
            continue
        found.append(text)
        if note:
            said.append(f"the baseline {note}")
    return tuple(found), said


def no_loss(choices: Choices) -> CostTable:
    """A loss table of zeros: for asking what is possible before anything has been trained or scored."""
    return loss_table(choices, np.zeros(choices.allowed.shape))


def _tightened(budget: Budget, factor: float) -> Budget:
    return Budget(tuple(c.tightened(factor) for c in budget))


def _least_tightness(bench: Workbench, target: str | None, budget: Budget, low: float) -> float:
    """The smallest factor in [low, 1] on all limits at which anything is inside, to a hundredth, by bisection.

    Raises:
        InfeasibleBudget: not even 1.
    """
    problem = Problem(bench.choices, no_loss(bench.choices), bench.tables_for(target), budget)
    solve(problem, "greedy")

    def possible(factor: float) -> bool:
        try:
            solve(problem.with_budget(_tightened(budget, factor)), "greedy")
        except InfeasibleBudget:
            return False
        return True

    if possible(low):
        return low
    no, yes = low, 1.0
    while yes - no > 0.01:
        middle = (no + yes) / 2
        no, yes = (no, middle) if possible(middle) else (middle, yes)
    return yes


def _rungs(least: float, count: int) -> list[float]:
    """Factors on a budget's limits below 1, evenly down to the least that can be met, so that the front is covered from the start."""
    return [round(float(x), 4) for x in np.linspace(1.0, least, count)[1:]] if least < 1 else []


def first_trials(config: SweepConfig, plan: Plan) -> Iterator[Knobs]:
    """Baselines, the solver's solution and each allocator once per budget, the ladder below it; the sampler goes on from there."""
    longest = max(config.epochs)
    for widths in config.baselines if plan.baselines is None else plan.baselines:
        epochs = longest if config.baseline_epochs is None else config.baseline_epochs
        yield Knobs("uniform", None, None, epochs=epochs, seed=config.seed, widths=widths, origin="baseline")
    for target, number in plan.limits:
        yield Knobs("qbitopt", target, number, epochs=0, seed=config.seed, origin="solver")
    if longest:
        for target, number in plan.limits:
            for allocator in config.allocators:
                yield Knobs(allocator, target, number, epochs=longest, seed=config.seed, origin="start")
    for target, number in plan.limits:
        for tightness in _rungs(plan.least[target, number], config.ladder):
            yield Knobs("qbitopt", target, number, tightness, epochs=0, seed=config.seed, origin="solver")
