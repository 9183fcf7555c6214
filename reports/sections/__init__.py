"""The sections of a report, in reading order. Others come last: objects named in the entry point group ``hwdse.sections``."""

from __future__ import annotations

from collections.abc import Mapping

from ..section import AnySection
from .breakdown import Breakdown
from .budgets import Budgets
from .explorer import Explorer
from .failures import Failures
from .fronts import Fronts
from .provenance import Provenance
from .proxy import Proxy
from .sensitivity import Sensitivity
from .summary import Summary
from .widths import Widths

GROUP = "hwdse.sections"
SECTIONS: Mapping[str, AnySection] = {
    "summary": Summary(),
    "budgets": Budgets(),
    "fronts": Fronts(),
    "widths": Widths(),
    "points": Explorer(),
    "breakdown": Breakdown(),
    "sensitivity": Sensitivity(),
    "proxy": Proxy(),
    "failures": Failures(),
    "provenance": Provenance(),
}
