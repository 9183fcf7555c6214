"""One workbench for all tests of training and allocation, kept in a folder of this test run."""

from __future__ import annotations

import os
import tempfile

import pytest
from hypothesis import settings

# Before torch is loaded, and for the commands that tests start: these networks are too small to share between threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="hwdse-state-")  # what tests trust is forgotten with them

# `make test` draws the same examples everywhere; `make test-all` (--hypothesis-profile thorough) many more, others each time.
# A test that says how many examples it takes keeps its number.
settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=5_000, deadline=None)
settings.load_profile("ci")

import torch

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
    assert made.reference["test"] >= 0.97
    return made


def pytest_report_header() -> str:
    """What the numbers of this run depend on."""
    return f"torch {torch.__version__}: {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
