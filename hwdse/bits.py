"""Bit-widths of one layer, and the allocation of them over a network."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import FileFormatError, UsageError
from .reading import json_object

ALLOCATION_SCHEMA = "hwdse.allocation/1"
FLOAT_BITS = 32
_TEXT = re.compile(r"w([0-9]{1,3})a([0-9]{1,3})")


@dataclass(frozen=True, order=True)
class BitWidths:
    """Width of a layer's weights and of its input activation, in bits. ``str`` gives ``"w4a8"``."""

    weight: int
    activation: int

    def __post_init__(self) -> None:
        for what, bits in (("weight", self.weight), ("activation", self.activation)):
            if not 1 <= bits <= FLOAT_BITS:
                raise UsageError(f"{what} width must lie in 1..{FLOAT_BITS} bits, got {bits}.")

    def __str__(self) -> str:
        return f"w{self.weight}a{self.activation}"

    @classmethod
    @functools.lru_cache(1024)
    def parse(cls, text: str) -> BitWidths:
        """Reads ``"w4a8"``."""
        match = _TEXT.fullmatch(text.strip().lower())
        if not match:
            raise UsageError(f"'{text[:40]}' is not a pair of bit-widths; write for example w4a8.")
        return cls(int(match[1]), int(match[2]))


def grid(weights: Iterable[int], activations: Iterable[int]) -> tuple[BitWidths, ...]:
    """Every pair of the given widths, ascending."""
    return tuple(sorted({BitWidths(w, a) for w in weights for a in activations}))


class Allocation(Mapping[str, BitWidths]):
    """An immutable choice of widths per layer: layer name -> :class:`BitWidths`. Hashable, equal by content."""

    __slots__ = ("_hash", "_widths")

    def __init__(self, widths: Mapping[str, BitWidths]) -> None:
        self._widths = dict(widths)
        self._hash: int | None = None

    def __getitem__(self, layer: str) -> BitWidths:
        return self._widths[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._widths)

    def __len__(self) -> int:
        return len(self._widths)

    def __hash__(self) -> int:
        if self._hash is None:  # thousands of trials are looked up by it
            self._hash = hash(frozenset(self._widths.items()))
        return self._hash

    def __repr__(self) -> str:
        return f"Allocation({', '.join(f'{k}={v}' for k, v in self._widths.items())})"

    def to_dict(self) -> dict[str, str]:
        """Layer name -> ``"w4a8"``, in layer order."""
        return {name: str(widths) for name, widths in self._widths.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, str]) -> Allocation:
        """The inverse of :meth:`to_dict`."""
        return cls({name: BitWidths.parse(text) for name, text in data.items()})

    def to_json(self, **about: Any) -> str:
        """The hand-off document (schema ``hwdse.allocation/1``); ``about`` adds what else is known (costs, calibrator)."""
        return json.dumps({"schema": ALLOCATION_SCHEMA, "layers": self.to_dict(), **about}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, file: object = "allocation") -> Allocation:
        """Reads :meth:`to_json`'s document.

        Raises:
            FileFormatError: not JSON, another schema, or widths that cannot be read.
        """
        data = json_object(file, text)
        if data.get("schema") != ALLOCATION_SCHEMA:
            raise FileFormatError(file, f"must have schema '{ALLOCATION_SCHEMA}', got {str(data.get('schema'))[:60]!r}.", "key 'schema'")
        layers = data.get("layers")
        if not isinstance(layers, dict) or not all(isinstance(v, str) for v in layers.values()):
            raise FileFormatError(file, 'must map each layer to its widths, {"conv1": "w4a8"}.', "key 'layers'")
        try:
            return cls.from_dict(layers)
        except UsageError as error:
            raise FileFormatError(file, str(error), "key 'layers'") from None
