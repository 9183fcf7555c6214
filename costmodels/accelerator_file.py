"""Reading an accelerator file: TOML to checked keys, and every mistake in a sentence."""

from __future__ import annotations

import difflib
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FileFormatError
from ..reading import read_text, toml_table

if TYPE_CHECKING:
    from pydantic import BaseModel

    from .accelerator_format import AcceleratorKeys


def read_keys(path: Path) -> AcceleratorKeys:
    """The keys of a file, checked against the format.

    Raises:
        FileFormatError: the first thing wrong with it.
    """
    problems, keys = check_keys(path)
    if problems or keys is None:
        raise problems[0]
    return keys


def check_keys(path: Path) -> tuple[list[FileFormatError], AcceleratorKeys | None]:
    """Everything wrong with a file, and its keys where nothing is."""
    from .accelerator_format import SCHEMA

    try:
        data = toml_table(path, read_text(path))
    except FileFormatError as error:
        return [error], None
    if data.get("schema") != SCHEMA:
        got = f"got {_shown(data['schema'])}" if "schema" in data else "it is missing"
        return [FileFormatError(path, f"must be '{SCHEMA}', {got}.", "key 'schema'")], None
    return _validated(data, path)


def checked(data: dict[str, Any], file: object) -> AcceleratorKeys:
    """Keys from plain values, as TOML gives them.

    Raises:
        FileFormatError: the first thing wrong with them; ``file`` says where they come from.
    """
    problems, keys = _validated(data, file)
    if problems or keys is None:
        raise problems[0]
    return keys


def _validated(data: dict[str, Any], file: object) -> tuple[list[FileFormatError], AcceleratorKeys | None]:
    from pydantic import ValidationError

    from .accelerator_format import AcceleratorKeys

    try:
        return [], AcceleratorKeys.model_validate(data)
    except ValidationError as error:
        found = {_sentence(AcceleratorKeys, dict(one)): None for one in error.errors(include_url=False, include_context=False)}
        return [FileFormatError(file, problem, f"key '{where}'") for where, problem in found], None


def _sentence(model: type[BaseModel], error: dict[str, Any]) -> tuple[str, str]:
    """(key, problem) of one finding of pydantic."""
    path, owner, field = _located(model, list(error["loc"]))
    kind, message = str(error["type"]), str(error["msg"])
    about = field.description if field is not None and field.description else ""
    if kind == "extra_forbidden":
        name = str(error["loc"][-1])
        known = sorted(f.alias or n for n, f in owner.model_fields.items())
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        return path, f"is not known{f'; did you mean {near[0]!r}?' if near else '.'} Known here: {', '.join(known)}."
    if kind == "missing":
        return path, f"is missing{f': {about}' if about else ''}."
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        tags = ", ".join(f"'{tag}'" for m in _models(field.annotation) if (tag := _tag(m)))
        got = error["input"].get("model") if isinstance(error["input"], dict) else None
        return f"{path}.model", f"must be one of {tags}, " + ("it is missing." if got is None else f"got {_shown(got)}.")
    if kind == "model_type":
        return path, f"must be a table of keys{f' ({about})' if about else ''}, got {_shown(error['input'])}."
    must = message.replace("Input should be", "must be").replace("String should", "must").replace("List should", "must")
    must = must[0].lower() + must[1:]
    return path, f"{must}{f' ({about})' if about else ''}, got {_shown(error['input'])}."


def _located(model: type[BaseModel], loc: list[Any]) -> tuple[str, type[BaseModel], Any]:
    """Dotted key, the model that owns its last part, and the field, following pydantic's path into the format."""
    text, owner, field = "", model, None
    for part in loc:
        if isinstance(part, int):
            text += f"[{part + 1}]"
            continue
        by_name = {f.alias or n: f for n, f in owner.model_fields.items()}
        tagged: list[type[BaseModel]] = [m for m in _models(field.annotation) if _tag(m) == part] if field is not None else []
        if tagged:  # the tag of a union is part of the path, but not of the file
            owner, field = tagged[0], None
            continue
        if part in by_name:
            field = by_name[part]
            inner = _models(field.annotation)
            owner = inner[0] if len(inner) == 1 else owner
            text += f".{part}" if text else str(part)
        elif field is None or _is_key(part, owner, field):
            text += f".{part}" if text else str(part)
    return text, owner, field


def _is_key(part: Any, owner: type[BaseModel], field: Any) -> bool:
    """Whether a part of pydantic's path stands in the file: not the names of union branches and checks."""
    return not any(mark in str(part) for mark in ("[", "(", "literal", "constrained", "str", "float", "date")) or bool(
        _models(field.annotation)
    )


def _models(annotation: Any) -> list[type[BaseModel]]:
    from pydantic import BaseModel

    if typing.get_origin(annotation) is None and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in typing.get_args(annotation) for m in _models(part)]


def _tag(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("model")
    names = typing.get_args(field.annotation) if field is not None else ()
    return str(names[0]) if names else None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
