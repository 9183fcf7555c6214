"""Trials without a result: how many, and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ...records import SweepRecord, TrialResult
from ..limits import budget_of
from ..markup import paragraph, table
from ..points import allocator
from ..section import Fragment
from ..wording import count, listed

_MOST = 100  # rows
_LONGEST = 300  # characters of an error that are shown; trials.csv has all of it


@dataclass(frozen=True)
class FailureGroup:
    """Trials that ended with the same words.

    ``alike``: the numbers in the words differ, and the first trial's are shown. ``what``: allocator and budget of each with its count,
    most frequent first.
    """

    state: str
    error: str
    numbers: tuple[int, ...]
    what: tuple[tuple[str, int], ...]
    alike: bool = False


@dataclass(frozen=True)
class FailureFacts:
    """Groups, largest first. ``unscored``: complete trials whose score is not finite."""

    trials: int
    failed: int
    interrupted: int
    unscored: tuple[int, ...]
    groups: tuple[FailureGroup, ...]


class Failures:
    """One row per error."""

    title = "Failed trials"

    def facts(self, record: SweepRecord) -> FailureFacts:
        """Groups trials by state and error."""
        lost: dict[tuple[str, str], list[TrialResult]] = {}
        for trial in record.trials:
            if trial.state != "complete":
                lost.setdefault((trial.state, re.sub(r"\d+(\.\d+)?", "0", trial.error)), []).append(trial)
        groups = [_group(state, trials) for (state, _), trials in lost.items()]
        unscored = tuple(t.number for t in record.complete if not abs(t.measures.get(record.score.key, float("nan"))) < float("inf"))
        return FailureFacts(
            len(record.trials),
            sum(t.state == "failed" for t in record.trials),
            sum(t.state == "interrupted" for t in record.trials),
            unscored,
            tuple(sorted(groups, key=lambda g: (-len(g.numbers), g.numbers))),
        )

    def draw(self, facts: FailureFacts) -> Fragment:
        """Counts, then the errors."""
        if not (facts.groups or facts.unscored):
            return Fragment((paragraph(f"None: all {count(facts.trials, 'trial')} ended with a score." if facts.trials else "None ran."),))
        text = f"{facts.failed:,} of {count(facts.trials, 'trial')} failed, {facts.interrupted:,} were interrupted."
        none = f"Complete, but without a finite score: {listed([f'#{n}' for n in facts.unscored])}." if facts.unscored else ""
        rows = [
            [
                group.state,
                _words(group),
                listed([f"{what} ({n}×)" if n > 1 else what for what, n in group.what], 4),
                listed([f"#{n}" for n in group.numbers], 12),
                f"{len(group.numbers):,}",
            ]
            for group in facts.groups[:_MOST]
        ]
        rest = len(facts.groups) - len(rows)
        parts = [
            paragraph(text, none, f"The {len(rows)} most frequent errors are shown, {rest:,} others are in trials.csv." if rest else "")
        ]
        return Fragment(
            (*parts, table(["state", "error", "allocator and budget", "trials", "count"], rows, words=4)) if rows else tuple(parts)
        )


def _group(state: str, trials: Sequence[TrialResult]) -> FailureGroup:
    under = (f"{allocator(t)} under {', '.join(budget_of(t)) or 'no limit'}" for t in trials)
    alike = len({t.error for t in trials}) > 1
    return FailureGroup(state, trials[0].error, tuple(t.number for t in trials), tuple(Counter(under).most_common()), alike)


def _words(group: FailureGroup) -> str:
    text = group.error if len(group.error) <= _LONGEST else f"{group.error[:_LONGEST]}…"
    return (text or "no error was recorded") + (" (and alike, with other numbers)" if group.alike else "")
