"""Runs of ``hwdse.record/1``, where a codebook was a plain width under a quantiser named ``codebook...``; now it is a format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .costs import CostTable
from .formats import Allocation, LayerFormat, NumberFormat
from .trial_result import TrialResult


def holds_codebooks(scheme: str) -> bool:
    """Whether quantisers of that name stored weights as indices into a codebook."""
    return scheme.startswith("codebook")


def with_codebook(chosen: LayerFormat) -> LayerFormat:
    """The format that two plain widths stood for under such quantisers."""
    weight = chosen.weight
    return chosen if weight.floating or not weight.plain else replace(chosen, weight=NumberFormat.parse(f"cb{weight.bits}"))


def trial_with_formats(trial: TrialResult) -> TrialResult:
    """A trial of an earlier record, its allocation in the formats of this version."""
    if trial.allocation is None or not holds_codebooks(str(trial.knobs.get("scheme", ""))):
        return trial
    return replace(trial, allocation=Allocation({name: with_codebook(chosen) for name, chosen in trial.allocation.items()}))


def tables_with_formats(scheme: str, tables: Mapping[str, CostTable]) -> dict[str, CostTable]:
    """Tables that an earlier record kept for a scheme, their options in the formats of this version."""
    if not holds_codebooks(scheme):
        return dict(tables)
    return {key: replace(table, options=tuple(map(with_codebook, table.options))) for key, table in tables.items()}
