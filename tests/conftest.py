"""One trained workbench for all tests of training and allocation, kept in a folder of this test run."""

from __future__ import annotations

import os

import pytest

# Before torch is loaded, and for the commands that tests start: these networks are too small to share between threads.
os.environ["OMP_NUM_THREADS"] = "1"

from hwdse.costmodels import cost_model, load_accelerator
from hwdse.tasks import load_task
from hwdse.workbench import Workbench


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    made = Workbench(
        load_task("digits"),
        [load_accelerator("mpic"), load_accelerator("npu")],
        [cost_model(name) for name in ("bitops", "weights", "activations", "average_bits")],
        cache=tmp_path_factory.mktemp("cache"),
    )
    assert made.reference["test"] >= 0.98  # trains the FP32 network once
    return made
