"""The formats chosen for a network: layer name -> :class:`LayerFormat`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import FileFormatError, UsageError
from ..reading import json_object
from .definition import defined, definitions
from .layer_format import LayerFormat

ALLOCATION_SCHEMA = "hwdse.allocation/2"
READ_SCHEMAS = ("hwdse.allocation/1", ALLOCATION_SCHEMA)  # /1 knows plain integers alone, written in the same way


class Allocation(Mapping[str, LayerFormat]):
    """An immutable choice of formats: layer name -> :class:`LayerFormat`. Hashable, equal by content."""

    __slots__ = ("_formats", "_hash")

    def __init__(self, formats: Mapping[str, LayerFormat]) -> None:
        self._formats = dict(formats)
        self._hash: int | None = None

    def __getitem__(self, layer: str) -> LayerFormat:
        return self._formats[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._formats)

    def __len__(self) -> int:
        return len(self._formats)

    def __hash__(self) -> int:
        if self._hash is None:  # thousands of trials are looked up by it
            self._hash = hash(frozenset(self._formats.items()))
        return self._hash

    def __repr__(self) -> str:
        return f"Allocation({', '.join(f'{k}={v}' for k, v in self._formats.items())})"

    def to_dict(self) -> dict[str, str]:
        """Layer name -> ``"w4a8"``, in layer order."""
        return {name: str(one) for name, one in self._formats.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, str]) -> Allocation:
        """The inverse of :meth:`to_dict`."""
        return cls({name: LayerFormat.parse(text) for name, text in data.items()})

    def to_json(self, **about: Any) -> str:
        """The allocation file (schema ``hwdse.allocation/2``); ``about`` adds what else is known (costs, calibrator)."""
        operands = [number for one in self._formats.values() for number in (one.weight, one.activation)]
        known = definitions(operands)
        formats = {"formats": known} if known else {}
        return json.dumps({"schema": ALLOCATION_SCHEMA, "layers": self.to_dict(), **formats, **about}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, file: object = "allocation") -> Allocation:
        """Reads :meth:`to_json`'s document, of schema 1 or 2.

        Raises:
            FileFormatError: not JSON, another schema, or formats that cannot be read.
        """
        data = json_object(file, text)
        if data.get("schema") not in READ_SCHEMAS:
            raise FileFormatError(file, f"must have schema '{ALLOCATION_SCHEMA}', got {str(data.get('schema'))[:60]!r}.", "key 'schema'")
        for name, definition in (data.get("formats") or {}).items():
            if not isinstance(definition, dict) or defined(definition, file).name != name:
                raise FileFormatError(file, "is not what its definition describes.", f"key 'formats.{name}'")
        layers = data.get("layers")
        if not isinstance(layers, dict) or not all(isinstance(v, str) for v in layers.values()):
            raise FileFormatError(file, 'must map each layer to its formats, {"conv1": "w4a8"}.', "key 'layers'")
        try:
            return cls.from_dict(layers)
        except UsageError as error:
            raise FileFormatError(file, str(error), "key 'layers'") from None
