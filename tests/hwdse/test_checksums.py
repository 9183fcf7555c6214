"""One bit that changes is seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse.checksums import altered, sealed, stamped, unsealed
from hwdse.errors import FileFormatError


@given(st.binary(max_size=40), st.data())
def test_no_bit_of_a_sealed_file_can_change(content: bytes, data: st.DataObject) -> None:
    whole = sealed(content)
    assert unsealed(whole, "f") == content
    place = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    for damaged in (bytes(flipped), whole[:place], whole + b"\0", content):
        with pytest.raises(FileFormatError, match=r"f: (is truncated|was changed)"):
            unsealed(damaged, "f")


def test_an_object_is_known_by_its_content_not_its_order() -> None:
    data = stamped({"a": 1, "b": [1.5, None]})
    assert not altered(dict(reversed(data.items())))
    for other in ({**data, "a": 2}, {**data, "c": 0}, {**data, "a": float("nan")}, {**data, "sha256": 3}):
        assert altered(other)
    assert not altered({"a": 1})  # of an earlier version
