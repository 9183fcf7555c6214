"""A format given by its table of values in a file: ternary, NF4, powers of two, posit. No code is needed.

    schema = "hwdse.format/1"
    name = "nf4"
    values = [-1.0, -0.6961928, -0.5250731, ..., 1.0]
    per = 64              # "tensor", "channel", or the length of a block along the summed dimension
    scale = "fp16"        # "fp32", "fp16"; the largest value of what shares a scale becomes the largest of the table

Its name in allocations and records is ``nf4@`` and eight digits of all that defines it, so that two files of one name stay two formats;
whatever is written with it carries its definition.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, UsageError
from ..reading import read_text, toml_table
from .element import Values
from .number_format import NumberFormat, add_defined
from .scaling import Scaling

SCHEMA = "hwdse.format/1"
KEYS = ("schema", "name", "values", "per", "scale")


def load_format(path: Path | str) -> NumberFormat:
    """Reads a format's file; from then on its name is known.

    Raises:
        StorageError: no such file. FileFormatError: a key that is missing, unknown, or of the wrong kind.
    """
    path = Path(path)
    return defined(toml_table(path, read_text(path)), path)


def defined(data: Mapping[str, Any], file: object) -> NumberFormat:
    """The format that a definition describes.

    Raises:
        FileFormatError: names the key and what must hold.
    """
    unknown = [key for key in data if key not in KEYS]
    if unknown:
        raise FileFormatError(file, f"is not a key of a format. Known: {', '.join(KEYS)}.", f"key '{unknown[0]}'")
    if data.get("schema") != SCHEMA:
        raise FileFormatError(file, f"must be '{SCHEMA}', got {data.get('schema')!r}.", "key 'schema'")
    name, values, per, scale = data.get("name"), data.get("values"), data.get("per", "channel"), data.get("scale", "fp32")
    if not (isinstance(name, str) and name.isascii() and name.isidentifier() and name == name.lower()):
        raise FileFormatError(file, f"must be a name of small letters, digits and _, got {name!r}.", "key 'name'")
    if not (isinstance(values, list) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)):
        raise FileFormatError(file, "must be a list of numbers, ascending.", "key 'values'")
    if not (per in ("tensor", "channel") or (isinstance(per, int) and not isinstance(per, bool))):
        raise FileFormatError(file, f"must be 'tensor', 'channel' or the length of a block, got {per!r}.", "key 'per'")
    if scale not in ("fp32", "fp16"):
        raise FileFormatError(file, f"must be 'fp32' or 'fp16', got {scale!r}.", "key 'scale'")
    try:
        element, scaling = Values(tuple(float(v) for v in values)), Scaling(per, scale)
    except UsageError as error:
        raise FileFormatError(file, str(error)) from None
    content = json.dumps([name, element.table, per, scale])
    made = NumberFormat(f"{name}@{hashlib.sha256(content.encode()).hexdigest()[:8]}", element, scaling)
    add_defined(made)
    return made


def definitions(formats: Iterable[NumberFormat]) -> dict[str, dict[str, Any]]:
    """Name -> definition of those formats that come from a file, JSON-able; :func:`defined` reads each."""
    return {
        one.name: {
            "schema": SCHEMA, "name": one.name.partition("@")[0], "values": list(one.element.table), "per": one.scaling.per,
            "scale": one.scaling.scale,
        }
        for one in formats
        if isinstance(one.element, Values)
    }  # fmt: skip
