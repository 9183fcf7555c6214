"""The sections of a report, in reading order. Others come last: objects named in the entry point group ``hwdse.sections``."""

from __future__ import annotations

from collections.abc import Mapping

from ..section import AnySection
from .breakdown import Breakdown
from .budgets import Budgets
from .contest import Allocators
from .explorer import Explorer
from .failures import Failures
from .fronts import Fronts
from .prices import ShadowPrices
from .provenance import Provenance
from .proxy import Proxy
from .search import Search
from .sensitivity import Sensitivity
from .summary import Summary
from .widths import Widths

GROUP = "hwdse.sections"
SECTIONS: Mapping[str, AnySection] = {
    "summary": Summary(),
    "budgets": Budgets(),
    "points": Explorer(),
    "fronts": Fronts(),
    "prices": ShadowPrices(),
    "widths": Widths(),
    "breakdown": Breakdown(),
    "sensitivity": Sensitivity(),
    "proxy": Proxy(),
    "allocators": Allocators(),
    "search": Search(),
    "failures": Failures(),
    "provenance": Provenance(),
}
