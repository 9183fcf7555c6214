"""What if: the best allocation under a budget that was not run, from the record's tables, and the score to expect of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..choices import Choices
from ..constraints import Budget, Constraint, parse_budget, reference_notes
from ..costs import CostTable, FloatArray
from ..errors import UsageError
from ..formats import Allocation
from ..metrics import Metric
from ..problem import Problem, Solution
from ..records import SweepRecord, TrialResult
from .points import measured
from .predicting import FEWEST, METHOD, NoPrediction, Prediction, predict
from .wording import size_text

TABLES = "lsq+lsq@mse"  # quantisers behind the loss table of a record


@dataclass(frozen=True)
class Supposed:
    """A budget that was not run.

    Attributes:
        budget: its limits, in stored units.
        solution: the allocation with the smallest expected loss inside, by the record's tables.
        errors: how far off each limited cost may be, by metric key; None where nobody knows.
        fidelity: (quantisers, epochs) of the trials behind the prediction, those of which most allocations were measured.
        prediction: of the score, minimised; None where there is none. refused: why.
        known: a trial of this fidelity that has measured this very allocation; None where there is none.
        notes: what else must be said.
        anchored: whether FP32, at no expected loss, took part in the fit; it is not counted among the points.
    """

    budget: tuple[Constraint, ...]
    solution: Solution
    errors: Mapping[str, float | None]
    fidelity: tuple[str, int]
    prediction: Prediction | None
    refused: str
    known: TrialResult | None
    notes: tuple[str, ...]
    anchored: bool = False


@dataclass(frozen=True)
class Evidence:
    """What a run has measured that says what score to expect of widths that it has not.

    Attributes:
        fidelity: (quantisers, epochs) of the trials, those of which most allocations were measured.
        trials: one of each allocation.
        loss: the loss table of their quantisers, aligned to the choices.
        losses, scores: (N,) their expected losses, and scores, minimised.
        anchor: FP32 where nothing is trained: no expected loss, and its score.
    """

    fidelity: tuple[str, int]
    trials: tuple[TrialResult, ...]
    loss: CostTable
    losses: FloatArray
    scores: FloatArray
    anchor: tuple[float, float] | None

    @classmethod
    def of(cls, record: SweepRecord, choices: Choices) -> Evidence:
        """From a run whose tables have a loss."""
        trials, fidelity = fidelity_of(record)
        loss = record.scheme_tables.get(fidelity[0], record.tables)["loss"].aligned(choices)  # as those trials' quantisers lose
        found = [(float(loss.total(t.allocation)), record.score.minimised(t.measures[record.score.key])) for t in trials if t.allocation]
        losses, scores = np.array(found).reshape(-1, 2).T
        anchor = None
        if not fidelity[1] and "validation" in record.reference:  # what nothing is rounded of, and nothing trained, scores as FP32
            anchor = (0.0, record.score.minimised(record.reference["validation"]))
        return cls(fidelity, tuple(trials), loss, losses, scores, anchor)

    def predict(self, at: FloatArray) -> Prediction:
        """Prediction for (M,) expected losses; see :func:`~hwdse.reports.predicting.predict`."""
        return predict(self.losses, self.scores, at, anchor=self.anchor)


def in_score(metric: Metric, prediction: Prediction) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(M,) values, and the lower and the higher ends, as the score is measured.

    Shares stay between 0 and 1. An error (better when lower) of which none that was measured lies below 0 has 0 as its least.
    """
    found = [np.array([metric.minimised(v) for v in part]) for part in (prediction.value, prediction.low, prediction.high)]
    least = 0.0 if metric.unit == "fraction" or (metric.better == "lower" and prediction.least >= 0) else -np.inf
    value, low, high = (np.clip(part, least, 1.0 if metric.unit == "fraction" else np.inf) for part in found)
    return value, np.minimum(low, high), np.maximum(low, high)


def matched(metric: Metric, fidelity: tuple[str, int], p: Prediction, anchored: bool) -> str:
    """How a prediction was made, and how well it has matched so far. ``anchored``: FP32 takes part."""
    how = f"{fidelity[0]} and {f'{fidelity[1]} epochs of training' if fidelity[1] else 'no training'}"
    return (
        f"By {METHOD}, over {p.points} allocations measured with {how}: rank correlation {p.correlation:.2f}; left out, each was off by "
        f"{size_text(metric, p.near)} in the median.{' FP32 takes part in the fit and is not counted.' if anchored else ''}"
    )


def suppose(record: SweepRecord, budget: Sequence[str], device: str | None = None) -> Supposed:
    """Solves a budget from the record's tables alone and predicts the score. No model, no training.

    Args:
        record: the run, with its tables.
        budget: texts that hold together, ``"latency@mpic <= 0.8 ms"``, ``"weights <= 50% of w8a8"``.
        device: the accelerator that is meant where the texts name none.

    Raises:
        UsageError: malformed text, or a record without tables. InfeasibleBudget: nothing is inside; says what can be reached.
    """
    from ..solvers import solve  # brings solvers that most readers of a record do not need

    if "loss" not in record.tables:
        raise UsageError("a budget can only be solved from tables, and the run has no tables.npz.")
    choices = record.choices
    if choices is None:
        raise UsageError("the record does not say which widths each layer may take: give the sweep's command again, which writes it.")
    tables = [t for key, t in record.tables.items() if key != "loss" and (device is None or t.metric.on in (None, device))]
    limits = parse_budget(budget, tables, choices)
    devices = {c.metric.on for c in limits}
    mine = tuple(t for t in tables if t.metric.on is None or t.metric.on in devices)
    evidence = Evidence.of(record, choices)
    solution = solve(Problem(choices, evidence.loss, mine, limits), time_limit=10)
    indices = choices.indices(solution.allocation)
    errors = {t.metric.key: _error(t, indices) for t in mine if t.metric.key in {c.metric.key for c in limits}}
    known = next((t for t in evidence.trials if t.allocation == solution.allocation), None)
    prediction, refused = None, ""
    try:
        prediction = evidence.predict(np.array([solution.loss]))
    except NoPrediction as error:
        refused = str(error)
    fidelity = evidence.fidelity
    said = [*evidence.loss.said, *reference_notes(Budget(tuple(limits)), choices)]
    if solution.status != "OPTIMAL":
        said.append("the solver was stopped before it could prove that nothing is better")
    if fidelity[0] not in (TABLES, "unknown", *record.scheme_tables):
        said.append(f"the run's losses are those of {TABLES}; measuring with {fidelity[0]} scores layers anew and may choose other widths")
    if fidelity[1]:
        said.append("where it is trained, widths are solved for again on the way: measuring it may end at others inside the same budget")
    return Supposed(tuple(limits), solution, errors, fidelity, prediction, refused, known, tuple(said), evidence.anchor is not None)


def _error(table: CostTable, indices: np.ndarray) -> float | None:
    error = table.error(indices)
    return None if math.isnan(error) else error


def fidelity_of(record: SweepRecord) -> tuple[list[TrialResult], tuple[str, int]]:
    """The trials of one kind of quantisers and one length of training: without any if there are enough, else most; an allocation once.

    Those whose formats the record's own tables do not have, codebooks among them, are left out.
    """
    groups: dict[tuple[str, int], dict[Allocation | None, TrialResult]] = {}
    for trial in measured(record):
        kind = (str(trial.knobs.get("scheme", "unknown")), int(trial.knobs.get("epochs") or 0))
        known = next(iter(record.tables.values())).options if record.tables else ()
        if set((trial.allocation or {}).values()) <= set(known):
            groups.setdefault(kind, {}).setdefault(trial.allocation, trial)
    if not groups:
        return [], ("unknown", 0)
    # enough without training is better than more with it: there the widths that are solved for are those that are measured
    kind = min(groups, key=lambda k: (k[1] > 0 or len(groups[k]) < FEWEST, -len(groups[k]), k[1], k[0]))
    return list(groups[kind].values()), kind
