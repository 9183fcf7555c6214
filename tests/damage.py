"""Files with damage: of the bytes, and of the structure that they hold."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

PIECES = (
    b"", b"\0", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\r", b"\n", b'"', b"{", b"[" * 3000, b"}", b"]", b",", b":", b"=",
    b"\\", b"NaN", b"Infinity",
    b"-0",
    b"1e400", b"1e-320", b"5_0", b"9" * 5000, b"0x10", b"null", b"true", b"\x1b[31m",
    "\u202e".encode(), "١٢".encode(), "１".encode(), b"../", b"\xed\xa0\x80",
)  # fmt: skip
_ODD = (
    None, True, False, 0, -1, 1, 3.5, -0.0, 1e-320, 1e308, 2**70, "", "x", "w4a8", "w0a8", "w١a8",
    "\0", "\x1b[31m", "\ud800", "x" * 20_000, [], {},
    [1], {"a": 1}, "nan", "5_0",
)  # fmt: skip
_NESTED = st.recursive(
    st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
VALUES: st.SearchStrategy[Any] = st.sampled_from(_ODD) | _NESTED


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Some bytes replaced, taken out, put in, or the end cut off; now and then other bytes altogether."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from((0, 0, 1, 2, 10, 100, len(content))))
        content = content[:start] + draw(st.sampled_from(PIECES) | st.binary(max_size=3)) + content[start + length :]
    return content


@st.composite
def damaged_values(draw: st.DrawFn, document: Any) -> Any:
    """A plain document with one or two of its values replaced, its keys renamed or left out."""
    root = {"": copy.deepcopy(document)}
    for _ in range(draw(st.integers(1, 2))):
        place: Any = root
        key: Any = ""
        for _ in range(draw(st.integers(0, 6))):
            inner = place[key]
            if not isinstance(inner, dict | list) or not inner:
                break
            place, key = inner, draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        how = draw(st.sampled_from(("value", "value", "value", "leave out", "rename")))
        if how == "value" or not isinstance(place, dict) or key == "":
            place[key] = draw(VALUES)
        elif how == "leave out":
            del place[key]
        else:
            place[draw(st.text(max_size=5))] = place.pop(key)
        if root[""] is None:
            break
    return root[""]


def damaged_json(document: Any) -> st.SearchStrategy[bytes]:
    """The JSON of a document, damaged in its bytes or in its values."""
    whole = json.dumps(document).encode()
    return damaged_bytes(whole) | damaged_values(document).map(lambda found: json.dumps(found).encode())
