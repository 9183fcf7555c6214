"""Two runs side by side: their fronts over the same metrics, against the same reference point."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..metrics import Metric
from ..pareto import ParetoFront
from ..records import SweepRecord
from .contest import contest
from .points import measured


@dataclass(frozen=True)
class FrontPair:
    """The fronts of two runs over one cost.

    Attributes:
        metric: the cost. fronts: of the first and the second run.
        reference: (cost, score) that both hypervolumes are measured to: the worst of all measured points of both.
        volumes: hypervolume of each, as a share of the box from the best cost and score of both to the reference.
        wins: share of the costs at which the second run's best score is better, equal, and worse, over the costs that both reach.
    """

    metric: Metric
    fronts: tuple[ParetoFront, ParetoFront]
    reference: tuple[float, float]
    volumes: tuple[float, float]
    wins: tuple[float, float, float]


@dataclass(frozen=True)
class Comparison:
    """Two runs. ``differences``: what was not the same about them, in sentences: scores then compare with care, or not at all."""

    pairs: tuple[FrontPair, ...]
    differences: tuple[str, ...]


def compare(one: SweepRecord, two: SweepRecord) -> Comparison:
    """Over every cost that both runs measured.

    Raises:
        UsageError: other tasks or score metrics, no cost in common, or a run without measured points.
    """
    _same_task(one, two)
    if one.score != two.score:
        raise UsageError(f"the runs measured {one.score.key} and {two.score.key}: their scores do not compare.")
    shared = [m for m in one.costs if m in two.costs]
    if not shared:
        first, second = (", ".join(m.key for m in r.costs) for r in (one, two))
        raise UsageError(f"the runs have no cost in common: {first} here, {second} there.")
    for record in (one, two):
        if not measured(record):
            raise UsageError(f"a run of {record.task} has no measured point yet; nothing can be compared.")
    pairs = [_pair(one, two, metric) for metric in shared]
    return Comparison(tuple(p for p in pairs if p is not None), tuple(_differences(one, two)))


def _same_task(one: SweepRecord, two: SweepRecord) -> None:
    """Two tasks are one where they have one name, and one class or one code: that a task was changed is a difference to be said."""
    names = [record.config.get("task", record.task) for record in (one, two)]
    changed = names[0] != names[1] and one.provenance.get("task") != two.provenance.get("task")
    if one.task != two.task or changed:
        first, second = (f"{r.task} ({n})" if n != r.task else r.task for r, n in zip((one, two), names, strict=True))
        raise UsageError(f"the runs are of different tasks, {first} and {second}: their scores do not compare. Give two runs of one task.")


def _pair(one: SweepRecord, two: SweepRecord, metric: Metric) -> FrontPair | None:
    found = contest({"one": measured(one), "two": measured(two)}, metric, one.score)
    if found is None or len(found.fronts) < 2:
        return None
    fronts, volumes = found.fronts, found.volumes
    return FrontPair(metric, (fronts["one"], fronts["two"]), found.reference, (volumes["one"], volumes["two"]), found.wins("two", "one"))


def _differences(one: SweepRecord, two: SweepRecord) -> list[str]:
    said = []
    parts = (
        ("task", "the task's code or data"),
        ("graph", "the traced model"),
        ("weights", "the FP32 weights"),
        ("costs", "the cost tables"),
    )
    for key, what in parts:
        if one.provenance.get(key) != two.provenance.get(key):
            said.append(f"{what} differ")
    if one.reference.get("validation_samples") != two.reference.get("validation_samples"):
        said.append("the validation samples differ in number")
    versions = (one.provenance.get("versions", {}), two.provenance.get("versions", {}))
    for name in sorted({*versions[0], *versions[1]}):
        if versions[0].get(name) != versions[1].get(name):
            said.append(f"{name} {versions[0].get(name, 'missing')} and {versions[1].get(name, 'missing')}")
    changed = sorted(k for k in {*one.config, *two.config} if one.config.get(k) != two.config.get(k))
    if changed:
        said.append("configurations differ in " + ", ".join(changed))
    return said
