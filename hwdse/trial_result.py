"""What one trial tried and measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from .formats import Allocation
from .soundness import number

State = Literal["complete", "failed", "interrupted"]


def _plain(value: Any) -> Any:
    """JSON has no infinity: an unsupported cost is written as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@dataclass(frozen=True)
class TrialResult:
    """One trial.

    Attributes:
        number: position in the study, from 0.
        knobs: what was tried: allocator, target accelerator, budget texts, epochs, seed ...
        state: complete, failed (see ``error``), or interrupted.
        allocation: the widths; None where the trial failed before it had any.
        measures: by metric key, in stored units: every cost on every accelerator (+inf where one cannot run the allocation), the
            score on the validation split under the score metric's key, ``"loss"`` the loss table's expectation.
        test: score on the test split, where it was taken (front points, at the end of a sweep).
        samples: validation samples behind the score. interval: its 95 % interval, from the spread over them.
        errors: how far off each cost on an accelerator may be, by metric key, in stored units; None where nobody knows.
        slack: room left under each constraint of this trial, by its text, in stored units. All >= 0 in a complete trial.
        seconds: wall time. error: one line. notes: what else must be said of the result (distillation used, ...).
        files: the trial's own in the run folder, ``"scores/3.npy"`` -> SHA-256; empty in records of an earlier version.
    """

    number: int
    knobs: Mapping[str, Any]
    state: State
    allocation: Allocation | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    test: float | None = None
    samples: int = 0
    slack: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""
    notes: tuple[str, ...] = ()
    errors: Mapping[str, float | None] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """One line: widths of a hundred layers are asked for by name."""
        layers = "no allocation" if self.allocation is None else f"{len(self.allocation)} layers"
        return f"TrialResult({self.number}, {self.state}, {self.knobs.get('allocator')}, {layers}, test {self.test})"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; values that are not finite become null."""
        return {
            **{k: _plain(getattr(self, k)) for k in ("number", "state", "test", "samples", "seconds", "error")},
            "knobs": dict(self.knobs),
            "allocation": None if self.allocation is None else self.allocation.to_dict(),
            "measures": {k: _plain(v) for k, v in self.measures.items()},
            "errors": dict(self.errors),
            "interval": self.interval,
            "slack": {k: _plain(v) for k, v in self.slack.items()},
            "notes": list(self.notes),
            "files": dict(self.files),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrialResult:
        """The inverse of :meth:`to_dict`."""
        if data["state"] not in get_args(State):
            raise ValueError(f"state must be one of {', '.join(get_args(State))}, got {data['state']!r}")
        test, interval = data["test"], data.get("interval")
        return cls(
            number=_count(data["number"], "number"),
            knobs=dict(data["knobs"]),
            state=data["state"],
            allocation=None if data["allocation"] is None else Allocation.from_dict(data["allocation"]),
            measures={k: math.inf if v is None else number(v, k) for k, v in data["measures"].items()},
            test=None if test is None else number(test, "test"),
            samples=_count(data["samples"], "samples"),
            errors={k: None if v is None else number(v, k) for k, v in (data.get("errors") or {}).items()},
            interval=(number(interval[0], "interval"), number(interval[1], "interval")) if interval else None,
            slack={k: math.inf if v is None else number(v, k) for k, v in data["slack"].items()},
            seconds=number(data["seconds"], "seconds"),
            error=str(data["error"]),
            notes=tuple(map(str, data["notes"])),
            files={str(k): str(v) for k, v in (data.get("files") or {}).items()},
        )


def _count(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{what} must be a whole number, got {str(value)[:40]!r}")
    return value
