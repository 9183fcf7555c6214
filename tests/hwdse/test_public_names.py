"""What ``import hwdse`` offers."""

from __future__ import annotations

import pytest

import hwdse


@pytest.mark.parametrize("name", hwdse.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(hwdse, name) is not None
    assert name in dir(hwdse)


def test_another_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        hwdse.Nothing  # noqa: B018  # the look is the test
