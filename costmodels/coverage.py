"""What a number does not cover, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import LayerGraph


def listed(names: Sequence[str], most: int = 5) -> str:
    """``"a, b, c and 4 more"``."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def left_out_notes(graph: LayerGraph) -> tuple[str, ...]:
    """One sentence on the operations that the trace could not count; none where it counted all."""
    if not graph.left_out:
        return ()
    items = [f"{item.name} ({item.reason})" for item in graph.left_out]
    return (f"not counted, for lack of a rule: {listed(items)}.",)
