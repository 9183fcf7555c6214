"""Which allocator did best here: hypervolume of each one's points, and who is better at equal cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup

from ...records import SweepRecord, TrialResult
from ..contest import Contest, contest
from ..markup import heading, note, paragraph, table
from ..points import BASELINE, allocator, scored
from ..prices import limited
from ..section import Fragment

SOLVER, REFINED = "solver's starts", "steps from the front"  # widths that no allocator of the run chose


@dataclass(frozen=True)
class ContestFacts:
    """Who chose the widths, how many measured trials each has and how many of those were trained; one contest a cost."""

    trials: dict[str, tuple[int, int]]
    contests: tuple[Contest, ...]


class Allocators:
    """A table for each limited cost."""

    title = "Allocators compared"

    def facts(self, record: SweepRecord) -> ContestFacts:
        """As run: with the trials that each had."""
        done = scored(record)
        names = sorted({_chooser(t) for t in done}, key=lambda n: (n in (SOLVER, REFINED), n == BASELINE, n))
        groups = {name: [t for t in done if _chooser(t) == name] for name in names}
        counts = {name: (len(trials), sum(bool(t.knobs.get("epochs")) for t in trials)) for name, trials in groups.items()}
        found = (contest(groups, m, record.score) for m in limited(record))
        return ContestFacts(counts, tuple(c for c in found if c is not None))

    def draw(self, facts: ContestFacts) -> Fragment:
        """Rows: allocators. Columns: hypervolume, and the win rate against each other."""
        if len(facts.trials) < 2:
            return Fragment((paragraph("Fewer than two allocators have measured trials: there is nothing to compare."),))
        parts: list[Markup] = [paragraph(_lead(facts))]
        for c in facts.contests:
            names = list(c.fronts)
            rows = [
                [
                    name, f"{facts.trials[name][0]:,}", f"{facts.trials[name][1]:,}", f"{c.volumes[name]:.3f}",
                    f"{len(c.fronts[name].trials):,}",
                    *("" if other == name else _rate(c, name, other) for other in names),
                ]
                for name in names
            ]  # fmt: skip
            head = ["allocator", "trials", "of them trained", "hypervolume", "points on its front", *(f"beats {n}" for n in names)]
            parts += [heading(c.metric.key), table(head, rows)]
        parts.append(
            note(
                "Hypervolume: of each allocator's own points, as a share of the box from the best to the worst cost and score of all.",
                "Beats: at how many of the costs that both reach its best point is better; after the slash, the same.",
                "All by the validation scores, which chose the points.",
                "Each as it was run here, with its own number of trials, trained or not.",
                f"{SOLVER.capitalize()}: the solver's answers that every sweep starts with, without training.",
                f"{REFINED.capitalize()}: made from points of the front, whoever chose those.",
            )
        )
        return Fragment(tuple(parts))


def _chooser(trial: TrialResult) -> str:
    """Who chose the widths."""
    return {"solver": SOLVER, "refine": REFINED}.get(str(trial.knobs.get("origin")), allocator(trial))


def _lead(facts: ContestFacts) -> str:
    said = []
    for c in facts.contests:
        largest = max(c.volumes.values())
        best = [name for name, volume in c.volumes.items() if math.isclose(volume, largest, rel_tol=1e-9)]
        if not largest or len(best) == len(c.volumes):
            said.append(f"{c.metric.key}: none is ahead")
        else:
            said.append(
                f"{c.metric.key}: {' and '.join(best)} {'has' if len(best) == 1 else 'have'} the largest hypervolume ({largest:.3f})"
            )
    return f"{'; '.join(said)}." if said else "No limited cost has a front."


def _rate(c: Contest, one: str, other: str) -> str:
    better, same, worse = c.wins(one, other)
    return f"{better:.0%} / {same:.0%}" if better + same + worse else "–"
