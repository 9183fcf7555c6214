"""Spending trials well: what was measured already is not measured again, and only what is promising is trained.

Two fidelities: a proposal of the search is first quantised without training, which takes a fraction of the time. It is trained if its
score is in the upper share of those that earlier proposals under the same budget reached so. The thresholds are kept with each trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwdse.formats import Allocation
from hwdse.metrics import Metric
from hwdse.records import TrialResult

from .knobs import Knobs

FIRST = 3  # proposals under a budget that are trained whatever their score: there is nothing to compare them with
ALIKE = 0.1  # difference of tightness up to which budgets are the same: less room scores less
POST_TRAINING = "post_training"  # knob with the score before training


@dataclass(frozen=True)
class Verdict:
    """Whether a proposal is trained. ``threshold``: score that decided, None where too few came before; ``of``: how many did."""

    train: bool
    threshold: float | None
    of: int


def promising(score: float, knobs: Knobs, history: Sequence[TrialResult], metric: Metric, share: float) -> Verdict:
    """Holds a post-training score against those of earlier trials under about the same budget on the same accelerator.

    Args:
        score: of the proposal, without training. knobs: its decision. history: what ended so far. share: that is trained.
    """
    found = [
        float(s) for t in history if (t.knobs.get("accelerator"), t.knobs.get("goal")) == (knobs.accelerator, knobs.goal)
        and abs(float(t.knobs.get("tightness", 1.0)) - knobs.tightness) <= ALIKE
        and (s := without_training(t, metric)) is not None
    ]  # fmt: skip
    if len(found) < FIRST:
        return Verdict(True, None, len(found))
    values = np.array([metric.minimised(s) for s in found])
    limit = float(np.quantile(values, share))
    return Verdict(metric.minimised(score) <= limit, metric.minimised(limit), len(found))


def without_training(trial: TrialResult, metric: Metric) -> float | None:
    """The score that a trial had before training; None where it was not measured."""
    if trial.state != "complete":
        return None
    kept = trial.knobs.get(POST_TRAINING)
    return kept if kept is not None else trial.measures.get(metric.key) if not trial.knobs.get("epochs") else None


def measured_before(
    history: Sequence[TrialResult], knobs: Mapping[str, object], scheme: str, allocation: Allocation | None
) -> TrialResult | None:
    """A complete trial that would be repeated: the same decision, or without training the same widths under the same quantisers."""
    decisive = ("allocator", "accelerator", "goal", "tightness", "epochs", "seed", "widths", "allocation")
    for trial in history:
        if trial.state != "complete" or trial.knobs.get("scheme") != scheme or trial.knobs.get("seed") != knobs.get("seed"):
            continue
        if all(trial.knobs.get(key) == knobs.get(key) for key in decisive):
            return trial
        if allocation is not None and not knobs.get("epochs") and not trial.knobs.get("epochs") and trial.allocation == allocation:
            return trial
    return None
