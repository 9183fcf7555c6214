"""Errors that say what must hold, what was got, and what to do.

Every error of the package derives from :class:`HwdseError` and from the built-in class that fits it. Facts stand as
attributes, so that a script need not read the sentence.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def text_of(error: BaseException) -> str:
    """``"ValueError: first line of its text"``, at most 300 characters; also of errors that cannot be printed."""
    try:
        text = str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:  # whatever its author wrote into __str__
        text = "its message cannot be printed"
    first = next((line.strip() for line in text.splitlines() if line.strip()), "no message")
    return f"{type(error).__name__[:100]}: {first[:300].rstrip('.')}"


class HwdseError(Exception):
    """Base of all errors raised on purpose by hwdse."""


class UsageError(HwdseError, ValueError):
    """The user asked for something malformed or contradictory. The command line exits with status 2."""


class UnknownName(UsageError):
    """A name that no table knows. Lists the known names and suggests the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        self.kind, self.name, self.known = kind, name, tuple(sorted(known))
        near = difflib.get_close_matches(name, self.known, n=1, cutoff=0.5)
        text = f"unknown {kind} '{name}'"
        text += f"; did you mean '{near[0]}'?" if near else "."
        text += f" Known: {', '.join(self.known) or 'none'}."
        super().__init__(f"{text} {hint}".rstrip())


class FileFormatError(UsageError):
    """A file that cannot be read as what it should be. ``where`` is a line or a key."""

    def __init__(self, file: object, problem: str, where: str = "") -> None:
        self.file, self.where, self.problem = str(file), where, problem
        super().__init__(f"{file}{f', {where}' if where else ''}: {problem}")


class TaskError(UsageError):
    """A task that lacks a part or whose parts do not fit together."""


class TaskFailed(HwdseError, RuntimeError):
    """The task's own code ended the program, or failed in a way that only its author can mend."""


class TraceError(HwdseError, RuntimeError):
    """A model whose layers could not be listed."""


class MissingCost(HwdseError, LookupError):
    """A cost that nobody measured and that the accelerator's file does not allow to be estimated."""


class InfeasibleBudget(HwdseError, ValueError):
    """No allocation meets the budget.

    Attributes:
        metric: key of the metric that cannot be met, ``"latency@t4"``.
        limit: the limit given, in SI units.
        reachable: the smallest value that any allocation reaches (given ``other``, if that is set), in SI units.
        other: key of the metric whose limit it conflicts with; None where the limit is out of reach by itself.
    """

    def __init__(self, message: str, metric: str, limit: float, reachable: float, other: str | None = None) -> None:
        self.metric, self.limit, self.reachable, self.other = metric, limit, reachable, other
        super().__init__(message)


class SolverError(HwdseError, RuntimeError):
    """A solver that ended without an answer, or with one that its own re-check refuses."""


class TrainingDiverged(HwdseError, ArithmeticError):
    """A loss or gradient that is not finite; training stopped there."""
