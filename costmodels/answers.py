"""One cost with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """A cost of one operation at one pair of widths.

    Attributes:
        value: in SI units; +inf where the device cannot run it.
        source: one of :data:`~hwdse.costs.SOURCES`.
        error: estimated relative error of ``value``; None where there is nothing to estimate it from.
        detail: which row, neighbours or ratio it comes from.
    """

    value: float
    source: str
    error: float | None = None
    detail: str = ""
