"""Checksums: a file that can be read is not for that the file that was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from .errors import FileFormatError

SEAL = b"hwdse.sealed/1 "  # then the SHA-256 of what follows, in 64 hex digits, and a new line
KEY = "sha256"  # under which a JSON object holds its own


def digest(content: bytes) -> str:
    """SHA-256 in hex digits."""
    return hashlib.sha256(content).hexdigest()


def digest_of(data: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON-able object without its key ``sha256``, whatever the order of its keys.

    Raises:
        ValueError: a number that JSON lacks.
    """
    plain = {key: value for key, value in data.items() if key != KEY}
    return digest(json.dumps(plain, sort_keys=True, allow_nan=False).encode())


def stamped(data: Mapping[str, Any]) -> dict[str, Any]:
    """The object with its checksum in it."""
    return {**data, KEY: digest_of(data)}


def altered(data: Mapping[str, Any]) -> bool:
    """Whether an object is not the one that was stamped. One without a checksum (of an earlier version) is taken as it is."""
    if KEY not in data:
        return False
    try:
        return bool(data[KEY] != digest_of(data))
    except (TypeError, ValueError):
        return True


def sealed(content: bytes) -> bytes:
    """The content behind a line with its checksum: one file, so that no crash parts them."""
    return SEAL + digest(content).encode() + b"\n" + content


def unsealed(data: bytes, file: object) -> bytes:
    """The inverse of :func:`sealed`.

    Raises:
        FileFormatError: no such line, or another content than was sealed.
    """
    head, line, content = data.partition(b"\n")
    if not line or not head.startswith(SEAL):
        raise FileFormatError(file, "is truncated, or holds no checksum of its content.")
    if head[len(SEAL) :] != digest(content).encode():
        raise FileFormatError(file, "was changed since it was written: its content is not that of its checksum.")
    return content
