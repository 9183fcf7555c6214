"""Names to things: one typed literal table per kind, others through entry points.

A plug-in package declares, say, ``[project.entry-points."hwdse.cost_models"] mine = "my_package:MyModel"`` and is then
known by that name. Nothing is imported before it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, TypeVar, cast

from .errors import UnknownName

T = TypeVar("T")


def names(table: Mapping[str, Any], group: str) -> list[str]:
    """Every known name: the table's, then those of installed plug-ins."""
    return [*table, *sorted({e.name for e in entry_points(group=group)} - set(table))]


def find(kind: str, table: Mapping[str, T], name: str, group: str) -> T:
    """The entry called ``name``. A plug-in cannot replace an entry of the table.

    Raises:
        UnknownName: nobody provides it; the message lists the known names and suggests the nearest.
    """
    if name in table:
        return table[name]
    for entry in entry_points(group=group):
        if entry.name == name:
            return cast(T, entry.load())
    raise UnknownName(kind, name, names(table, group))
