"""Every example runs, as a user would run it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {**os.environ, "HWDSE_CACHE": str(tmp_path_factory.mktemp("cache")), "PYTHONPATH": str(ROOT)}


def run(env: dict[str, str], folder: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_quickstart(env: dict[str, str], tmp_path: Path) -> None:
    out = run(env, tmp_path, str(ROOT / "examples" / "quickstart.py"))
    assert "OPTIMAL" in out
    assert (tmp_path / "runs" / "quickstart" / "report.html").stat().st_size > 50_000
    assert "is the best of" in out or "best" in out


@pytest.mark.slow
def test_my_task_end_to_end(env: dict[str, str], tmp_path: Path) -> None:
    command = ["-c", "from hwdse.cli import main; main()"]
    out = run(env, tmp_path, *command, "allocate", "examples.my_task:Waves", "-a", "mpic", "-b", "latency <= 60% of w8a8", "--json")
    found = json.loads(out)
    assert found["status"] == "OPTIMAL"
    assert found["score"]["fp32"] > 0.7  # of four classes


def test_my_cost_model(env: dict[str, str], tmp_path: Path) -> None:
    assert run(env, tmp_path, str(ROOT / "examples" / "my_cost_model.py"))


def test_the_readmes_python_is_the_quickstart(env: dict[str, str], tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "readme.py").write_text(code)
    assert "OPTIMAL" in run(env, tmp_path, "readme.py")


def test_the_demo_file_is_valid() -> None:
    from hwdse.sweeps import SweepConfig

    config = SweepConfig.load(ROOT / "examples" / "demo.toml")
    assert len(config.accelerators) == 3
    assert set(config.allocators) == {"qbitopt", "adaqat", "adq"}
