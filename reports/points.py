"""What a report says of one trial: a point with its score, interval, test score and costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..costs import FloatArray
from ..formats import Allocation
from ..metrics import Metric
from ..records import SweepRecord, TrialResult
from ..sample_scores import FP32
from .intervals import interval, reference_interval, trial_interval

Interval = tuple[float, float]
BASELINE = "uniform"  # the allocator that gives every layer the same widths


@dataclass(frozen=True)
class Point:
    """One measured trial. ``score`` is on the validation split; ``costs`` by metric key, +inf where a device cannot run it."""

    number: int
    allocator: str
    widths: str
    score: float
    interval: Interval | None
    test: float | None
    costs: Mapping[str, float]
    test_interval: Interval | None = None
    kept: Mapping[str, FloatArray] = field(default_factory=dict, repr=False, compare=False)  # scores of the samples, by number

    @property
    def scores(self) -> FloatArray | None:
        """One for each validation sample, where they were kept."""
        return self.kept.get(FP32 if self.number < 0 else str(self.number))

    @property
    def baseline(self) -> bool:
        """Whether it is a uniform allocation, made to compare with."""
        return self.allocator == BASELINE

    @property
    def name(self) -> str:
        """``"#17 qbitopt"``; a uniform baseline adds its widths."""
        return f"#{self.number} {self.allocator}" + (f" {self.widths}" if self.baseline else "")

    @classmethod
    def of(cls, record: SweepRecord, trial: TrialResult) -> Point:
        """The point of a complete trial."""
        value = trial.measures.get(record.score.key, math.nan)
        return cls(
            number=trial.number,
            allocator=allocator(trial),
            widths=str(trial.knobs.get("widths") or common_widths(trial.allocation)),
            score=value,
            interval=trial_interval(record, trial),
            test=trial.test,
            costs={m.key: trial.measures.get(m.key, math.nan) for m in record.costs},
            test_interval=interval(record.score, trial.test, record.reference.get("test_samples")),
            kept=record.scores,
        )

    @classmethod
    def fp32(cls, record: SweepRecord) -> Point | None:
        """The network before quantisation, as a point without costs; None where its score is not on record."""
        score = record.reference.get("validation")
        if score is None:
            return None
        test = record.reference.get("test")
        sure = interval(record.score, test, record.reference.get("test_samples"))
        return cls(-1, "FP32", "", score, reference_interval(record), test, {}, sure, record.scores)


def allocator(trial: TrialResult) -> str:
    """Name of the method that chose the widths."""
    return str(trial.knobs.get("allocator") or "unknown")


def common_widths(allocation: Allocation | None) -> str:
    """The pair that most layers have: what a uniform allocation is called, whatever its pinned ends are."""
    return str(Counter(allocation.values()).most_common(1)[0][0]) if allocation else ""


def scored(record: SweepRecord) -> tuple[TrialResult, ...]:
    """Complete trials with a finite score, those among them that came to what another had measured."""
    return tuple(t for t in record.complete if math.isfinite(t.measures.get(record.score.key, math.nan)))


def measured(record: SweepRecord) -> tuple[TrialResult, ...]:
    """Complete trials with a finite score, each network once: the only ones that any choice is made from.

    Two trials may come to one network: the same widths under the same quantisers after the same training. Without training that is so
    wherever these are equal; with it where both are right and wrong on the very same samples.
    """
    known = vars(record).get(_MEASURED)  # as cached properties are kept: every section of a report asks for it
    if known is None:
        known = vars(record)[_MEASURED] = _measured_once(record)
    found: tuple[TrialResult, ...] = known
    return found


_MEASURED = "_measured_once"


def _measured_once(record: SweepRecord) -> tuple[TrialResult, ...]:
    seen: dict[tuple[Any, ...], list[TrialResult]] = {}
    found = []
    for trial in scored(record):
        if "same_as" in trial.knobs:
            continue
        key = (*(str(trial.knobs.get(part)) for part in ("scheme", "epochs", "seed")), trial.measures[record.score.key], trial.allocation)
        others = seen.setdefault(key, [])
        if trial.allocation is None or not any(_same_samples(record, trial, other) for other in others):
            others.append(trial)
            found.append(trial)
    return tuple(found)


def _same_samples(record: SweepRecord, one: TrialResult, other: TrialResult) -> bool:
    if not one.knobs.get("epochs") and one.knobs.get("scheme") is not None:
        return True
    a, b = (record.scores.get(str(t.number)) for t in (one, other))
    return a is not None and b is not None and a.shape == b.shape and bool((a == b).all())


def ranked(record: SweepRecord, trials: Iterable[TrialResult], costs: Sequence[Metric] = ()) -> list[TrialResult]:
    """Trials by validation score, best first; ties go to the cheaper on ``costs`` in turn, then to the earlier."""

    def key(trial: TrialResult) -> tuple[float, ...]:
        prices = [m.minimised(trial.measures.get(m.key, math.inf)) for m in costs]
        return (record.score.minimised(trial.measures[record.score.key]), *prices, trial.number)

    return sorted(trials, key=key)


def mean_bits(record: SweepRecord, allocation: Allocation | None) -> tuple[float, float]:
    """Weight bits per parameter, and activation bits per layer. Without parameter counts every layer weighs the same."""
    if not allocation:
        return math.nan, math.nan
    params = {str(layer.get("name")): float(layer.get("params") or 0) for layer in record.graph.get("layers", ())}
    weight = {name: params.get(name, 0.0) for name in allocation}
    if not sum(weight.values()):
        weight = dict.fromkeys(allocation, 1.0)
    total = sum(weight.values())
    return (
        sum(weight[name] * one.weight.stored_bits for name, one in allocation.items()) / total,
        sum(one.activation.stored_bits for one in allocation.values()) / len(allocation),
    )


def knob_text(knobs: Mapping[str, Any], without: Sequence[str] = ()) -> str:
    """``"epochs=5, seed=0"``: every knob but those named and those without a value, as written in the record."""
    return ", ".join(f"{key}={value_text(value)}" for key, value in knobs.items() if key not in without and value is not None)


def value_text(value: Any) -> str:
    """A knob's value in words: a list joined, nothing for null."""
    if value is None:
        return "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
