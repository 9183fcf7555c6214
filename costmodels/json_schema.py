"""The file formats as JSON Schema (draft 2020-12), for editors and for programs that write them.

Version policy: within ``/1``, keys and columns may be added that have a default; one that is removed, renamed, or changes its meaning makes
``/2``. A reader refuses versions that it does not know, and names the keys that it does know.
"""

from __future__ import annotations

from typing import Any

from .signature import OPS
from .table_columns import ENERGIES, FORMATS, KNOWN, SHAPE, SPREADS, TIMES, WIDTHS
from .table_columns import SCHEMA as TABLE

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def accelerator_schema() -> dict[str, Any]:
    """JSON schema of an accelerator file (TOML). What keys may not be together is said by ``hwdse accelerators check``."""
    from .accelerator_format import SCHEMA, AcceleratorKeys

    return {"$schema": _DRAFT, "$id": SCHEMA, **AcceleratorKeys.model_json_schema(by_alias=True)}


def table_schema() -> dict[str, Any]:
    """JSON schema of one row of a look-up table (CSV), its cells as numbers and text, blank ones left out."""
    amount = {"type": "number", "exclusiveMinimum": 0}
    columns: dict[str, Any] = {}
    for name in KNOWN:
        if name == "op":
            columns[name] = {"enum": list(OPS)}
        elif name in SHAPE:
            columns[name] = {"type": "integer", "minimum": 0 if name.startswith("pad") else 1}
        elif name in WIDTHS:
            columns[name] = {"type": "integer", "minimum": 1, "maximum": 32}
        elif name in SPREADS:
            columns[name] = {"type": "number", "minimum": 0}
        elif name in TIMES or name in ENERGIES:
            columns[name] = amount
        else:
            columns[name] = {"type": "integer", "minimum": 1} if name == "runs" else {"type": "string"}
    costs = [{"required": [name]} for name in (*TIMES, *ENERGIES)]
    refused = {"properties": {"source": {"const": "unsupported"}}, "required": ["source"]}
    return {
        "$schema": _DRAFT,
        "$id": TABLE,
        "type": "object",
        "properties": columns,
        "required": ["op", *SHAPE[:3]],
        "additionalProperties": False,
        "allOf": [
            *({"anyOf": [{"required": [bits]}, {"required": [name]}]} for bits, name in FORMATS.items()),
            {"anyOf": [*costs, refused]},
        ],
    }
