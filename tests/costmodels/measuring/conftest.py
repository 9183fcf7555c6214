from __future__ import annotations

import pytest
from measuring_fakes import INPUTS, Kinds

from hwdse.graph import LayerGraph
from hwdse.trace import trace


@pytest.fixture(scope="session")
def kinds() -> LayerGraph:
    return trace(Kinds(), INPUTS)
