"""A PostgreSQL server for the tests of this folder, started where one is installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from postgres import NoServer, Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    try:
        made = Server()
    except NoServer as reason:
        pytest.skip(str(reason))
    yield made
    made.close()
