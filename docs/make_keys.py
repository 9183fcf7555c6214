"""Writes what is generated of the documentation: the tables of keys in accelerator-files.md, and schema/*.json.

python docs/make_keys.py
"""

from __future__ import annotations

import json
import typing
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from hwdse.costmodels.accelerator_file import _models, _tag
from hwdse.costmodels.accelerator_format import AcceleratorKeys
from hwdse.costmodels.json_schema import accelerator_schema, table_schema

HERE = Path(__file__).parent
FIRST, LAST = "### Top level", "`precision.semantics` says"


def sections(model: type[BaseModel], prefix: str = "") -> str:
    """Markdown of a model's own keys, then of the models inside it."""
    rows, inside = [], []
    for name, field in model.model_fields.items():
        inner = _models(field.annotation)
        key = f"{prefix}{field.alias or name}"
        mapping = "dict" in str(field.annotation)
        if not inner and name != "model":
            rows.append(f"| `{key}` | {field.description}{_choices(field.annotation)} | {_default(field)} |")
        many = typing.get_origin(field.annotation) is list
        for one in inner:
            tag = _tag(one)
            title = f"{key}.OPERATION" if mapping else key
            head = f"### [[{title}]]" if many else f"### [{title}]" + (f' with model = "{tag}"' if tag else "")
            about = f"{field.description}." if mapping else " ".join((one.__doc__ or "").split())
            inside.append(f"{head}\n\n{about}\n\n{sections(one, f'{key}.')}")
    table = "| key | meaning and unit | default |\n|---|---|---|\n" + "\n".join(rows) + "\n\n" if rows else ""
    return table + "".join(inside)


def _choices(annotation: object) -> str:
    literal = typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()
    return ": " + ", ".join(f"`{choice}`" for choice in literal) if len(literal) > 1 else ""


def _default(field: typing.Any) -> str:
    if field.default is PydanticUndefined:
        return "required" if field.default_factory is None else "-"
    return "-" if field.default in (None, "") else f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def documented(text: str) -> str:
    """The page with its tables of keys made anew."""
    before, after = text[: text.index(FIRST)], text[text.index(LAST) :]
    return f"{before}{FIRST}\n\n{sections(AcceleratorKeys)}{after}"


def schemas() -> dict[str, str]:
    """File name -> content."""
    made = {"hwdse.accelerator-1.json": accelerator_schema(), "hwdse.table-1.json": table_schema()}
    return {name: json.dumps(schema, indent=2) + "\n" for name, schema in made.items()}


if __name__ == "__main__":
    page = HERE / "accelerator-files.md"
    page.write_text(documented(page.read_text(encoding="utf-8")), encoding="utf-8")
    (HERE / "schema").mkdir(exist_ok=True)
    for name, content in schemas().items():
        (HERE / "schema" / name).write_text(content, encoding="utf-8")
