"""The answer in sentences: the FP32 reference, the best point of all, and what each budget buys."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from ...metrics import Metric
from ...records import SweepRecord, learnt_nothing
from ..budgets import BudgetResult, budget_results
from ..claims import claim, contradiction
from ..markup import bullets, note, paragraph
from ..points import Point, measured, ranked, scored
from ..section import Fragment
from ..wording import chance_text, count, listed, point_text, score_text, shown

_INTERVALS = (
    "Intervals describe the sampling of the validation set, not the luck of training: Wilson's for shares, the bootstrap's for other means."
)
_CHANCE = (
    "Whether a difference is within chance is asked of the same samples, by McNemar's exact test (shares) or the paired t test, at 5 %; "
    "the best of many trials is better by chance more often than that."
)


@dataclass(frozen=True)
class SummaryFacts:
    """Numbers of the summary.

    Attributes:
        known: trials that came to what another had measured. unsupported: complete trials that an accelerator cannot run, by accelerator.
        doubt: why none of it means anything, where FP32 has learnt nothing.
    """

    task: str
    score: Metric
    trials: int
    measured: int
    known: int
    failed: int
    interrupted: int
    unsupported: dict[str, int]
    doubt: str
    fp32: Point | None
    fp32_samples: int
    best: Point | None
    budgets: tuple[BudgetResult, ...]


class Summary:
    """What to read first."""

    title = "Summary"

    def facts(self, record: SweepRecord) -> SummaryFacts:
        """Counts, the reference, and the best points."""
        done = measured(record)
        accelerators = dict.fromkeys(m.on for m in record.costs if m.on)
        return SummaryFacts(
            task=record.task,
            score=record.score,
            trials=len(record.trials),
            measured=len(done),
            known=len(scored(record)) - len(done),
            failed=sum(t.state == "failed" for t in record.trials),
            interrupted=sum(t.state == "interrupted" for t in record.trials),
            unsupported={
                on: n for on in accelerators
                if (n := sum(any(t.measures.get(m.key) == float("inf") for m in record.costs if m.on == on) for t in done))
            },
            doubt=learnt_nothing(record.score, record.reference),
            fp32=Point.fp32(record),
            fp32_samples=int(record.reference.get("validation_samples") or 0),
            best=Point.of(record, ranked(record, done, record.costs[:1])[0]) if done else None,
            budgets=budget_results(record),
        )  # fmt: skip

    def draw(self, facts: SummaryFacts) -> Fragment:
        """Two paragraphs and a list."""
        counts = f"The sweep ran {count(facts.trials, 'trial')}: {facts.measured:,} measured, {facts.failed:,} failed"
        counts += f", {facts.interrupted:,} interrupted" if facts.interrupted else ""
        counts += f", {facts.known:,} came to what another had measured." if facts.known else "."
        cannot = [f"{count(n, 'measured point')} cannot run on {on}" for on, n in facts.unsupported.items()]
        parts = [paragraph(Markup("<strong>Beware: {}.</strong>").format(facts.doubt))] if facts.doubt else []
        parts += [paragraph(counts, f"{listed(cannot)}." if cannot else "", _reference(facts)), paragraph(_best(facts))]
        if facts.budgets:
            parts.append(bullets(_budget(facts, b) for b in facts.budgets))
        if facts.best:
            parts.append(
                note(
                    "Points are chosen by their validation score, so that score flatters the chosen one a little;",
                    "the test score, where it was taken, does not, and is said first where it contradicts.",
                    _INTERVALS if facts.best.interval else "",
                    _CHANCE if facts.best.scores is not None else "",
                )
            )
        return Fragment(tuple(parts))


def _reference(facts: SummaryFacts) -> str:
    fp32 = facts.fp32
    if fp32 is None:
        return "The score of the FP32 model is not in the record."
    text = f"The FP32 model has {score_text(facts.score, fp32.score, fp32.interval)} {facts.score.name} on validation"
    text += f" ({count(facts.fp32_samples, 'sample')})" if facts.fp32_samples else ""
    return text + (f" and {shown(facts.score, fp32.test)} on test." if fp32.test is not None else ".")


def _best(facts: SummaryFacts) -> str:
    if facts.best is None:
        return "No trial ended with a measured score: there is nothing to choose from."
    text = f"The best measured point of all is {point_text(facts.score, facts.best)}"
    if facts.fp32 is None:
        return text + "."
    return f"{text}, {claim(facts.score, facts.best, facts.fp32, 'FP32')}."


def _budget(facts: SummaryFacts, budget: BudgetResult) -> Markup:
    name = Markup("<strong>{}</strong>").format(budget.name)
    if budget.limits is None:
        return name + ": its limit is relative and no trial under it got far enough to say what it came to."
    if budget.best is None:
        why = f" The most frequent error: {budget.reason}" if budget.reason else ""
        return name + f": no measured point is inside ({count(budget.tried, 'trial')} ran under it).{why}"
    score, best = facts.score, budget.best
    used = [
        f"{shown(x.metric, x.value - room)} of {shown(x.metric, x.value)} {x.metric.key}"
        for x, room in zip(budget.limits, budget.slack, strict=True)
    ]
    text = f": the best of {count(budget.inside, 'point')} inside is {point_text(score, best)}"
    text += f", {shown(score, best.test)} on test" if best.test is not None else ""
    text += f", using {listed(used)}" if used else ""
    text += f"; {claim(score, best, facts.fp32, 'FP32')}." if facts.fp32 else "."
    return name + text + _sure(budget) + _against_uniform(score, best, budget.uniform) + _bought(score, budget)


def _sure(budget: BudgetResult) -> str:
    """Limits that may not hold on the device."""
    limits = list(zip(budget.limits or (), budget.standings, strict=True))
    risk = [str(x) for x, stands in limits if stands == "at risk"]
    unknown = [x.metric.key for x, stands in limits if stands == "error unknown"]
    text = f" At risk: {listed(risk)}, closer than the cost may be off." if risk else ""
    return text + (f" {listed(unknown)}: an estimate whose error is not known." if unknown else "")


def _against_uniform(score: Metric, best: Point, uniform: Point | None) -> str:
    if best.baseline:
        return " It is a uniform allocation: mixed widths were not better here."
    if uniform is None:
        return " No uniform allocation that was measured is inside."
    return f" It is {claim(score, best, uniform, f'the best uniform allocation inside, {uniform.widths} (#{uniform.number})')}."


def _bought(score: Metric, budget: BudgetResult) -> str:
    """What the wider limit is worth against the best that a tighter budget reached."""
    if budget.gained is None or budget.rival is None or budget.best is None:
        return ""
    if budget.gained <= 0:
        return f" The wider limit buys nothing over {', '.join(budget.over)}."
    gain = f"{budget.gained * 100:.2f} percentage points" if score.unit == "fraction" else score.format(budget.gained)
    over = ", ".join(budget.over)
    against = contradiction(score, budget.best, budget.rival)
    if against:
        gap, verdict = against
        return f" On the test split its best is {gap} that of {over}, though by validation the wider limit buys {gain}: {verdict}."
    return f" The wider limit buys {gain} over {over}{chance_text(budget.best, budget.rival)}."
