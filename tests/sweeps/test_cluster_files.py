"""The files of examples/cluster do what they say: their own commands, on this machine, against a server of our own."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import cache, task_file
from postgres import PASSWORD, Server

CLUSTER = Path(__file__).parents[2] / "examples" / "cluster"
SWEEP = """
schema = "hwdse.sweep/1"
task = "clustered:Toy"
budgets = [["weights <= 70% of w8a8"]]
trials = 4
epochs = [0]
"""


def commands(shared: Path) -> dict[str, list[str]]:
    """``sweep`` and ``worker`` of compose.yaml, with the shared folder of the containers put here."""
    lines = re.findall(r"^ +command: hwdse (.+)$", (CLUSTER / "compose.yaml").read_text(), re.MULTILINE)
    words = [shlex.split(line.replace("/shared", str(shared))) for line in lines]
    return {one[0]: one for one in words}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a batch script of bash")
def test_the_commands_of_compose_and_the_batch_script_of_slurm(server: Server, tmp_path: Path) -> None:
    task_file(tmp_path, name="clustered")
    (tmp_path / "my_sweep.toml").write_text(SWEEP)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in {
        "hwdse": f'exec {shlex.quote(sys.executable)} -c "from hwdse.cli import main; main()" "$@"',
        "srun": 'exec "$@"',
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    environment = {
        **os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(tmp_path), "HWDSE_CACHE": str(cache()),
        "HWDSE_STORAGE": re.sub(r":[^@/]*@", "@", server.url), "PGPASSWORD": PASSWORD, "OMP_NUM_THREADS": "1", "SLURM_CPUS_PER_TASK": "1",
    }  # fmt: skip
    asked = commands(tmp_path / "shared")
    assert set(asked) == {"sweep", "worker"}

    def start(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    early = start("hwdse", *asked["worker"])
    assert early.wait(timeout=60) == 2  # there is no study yet: the container is started again
    watching = start("hwdse", *asked["sweep"])
    while not (tmp_path / "shared" / "runs" / "demo" / "record.json").exists():
        assert watching.poll() is None, watching.communicate()
        time.sleep(0.1)
    run = str(tmp_path / "shared" / "runs" / "demo")
    workers = [start("hwdse", *asked["worker"]), start("bash", str(CLUSTER / "slurm.sh"), "demo", run)]
    for worker in workers:
        said = worker.communicate(timeout=120)
        assert worker.returncode == 0, said
    said = watching.communicate(timeout=60)
    assert watching.returncode == 0, said
    record = json.loads((tmp_path / "shared" / "runs" / "demo" / "record.json").read_text())
    assert [t["state"] for t in record["trials"]] == ["complete"] * 4
    assert any(t["test"] is not None for t in record["trials"])
    assert (tmp_path / "shared" / "runs" / "demo" / "report.html").exists()
    assert PASSWORD not in json.dumps(record) + "".join(said)
