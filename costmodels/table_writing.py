"""Writing a look-up table, ``hwdse.table/1``: comments, a header of the columns that are used, rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from ..names import cell, visible
from .signature import Signature
from .table_columns import SCHEMA, SHAPE

_SPATIAL = ("in_h", "in_w", "kernel_h", "kernel_w", "stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w", "groups")


def table_file_text(comments: Sequence[str], rows: Sequence[Mapping[str, object]]) -> str:
    """The CSV file.

    Args:
        comments: a line each, written above the header. rows: one or more, all with the same columns in the same order, by name; columns
            that are blank in every row are left out.
    """
    used = [name for name in rows[0] if any(row[name] not in ("", None) for row in rows)]
    text = io.StringIO()
    text.writelines(f"# {visible(' '.join(comment.split()))}\n" for comment in (SCHEMA, *comments))
    writer = csv.DictWriter(text, used, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cell(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows)
    return text.getvalue()


def number_cell(value: float | None) -> str:
    """Twelve digits; blank where there is nothing."""
    return "" if value is None else f"{value:.12g}"


def shape_cells(signature: Signature) -> dict[str, object]:
    """``op`` and the columns of the shape, blank where they do not apply."""
    hidden = ("tokens", "length") if signature.spatial else _SPATIAL if signature.length > 1 else (*_SPATIAL, "length")
    return {"op": signature.op, **{name: "" if name in hidden else getattr(signature, name) for name in SHAPE}}
