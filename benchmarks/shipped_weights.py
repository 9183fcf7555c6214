"""Trains the embedded tasks' networks again, as the weights that come with hwdse were: seconds, and scores beside the shipped ones.

On another processor a training ends at other weights; `--write` replaces the shipped files. Then put the printed SHA-256 into
hwdse/tasks/shipped.py, and run the tests: their numbers have room for another network, but no test knows how much it needs.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Mapping

import torch
from torch import Tensor

from hwdse.evaluation import evaluate
from hwdse.storage import write
from hwdse.task import Task, recipes_of
from hwdse.tasks import load_task
from hwdse.tasks.shipped import FOLDER, SEED, SHA256, weights_file
from hwdse.training import train_float


def trained(task: Task) -> dict[str, Tensor]:
    """The state dict after the task's own recipe."""
    torch.manual_seed(SEED)
    network = task.model()
    train_float(network, task, recipes_of(task).scratch, SEED)
    return dict(network.state_dict())


def scores(task: Task, state: Mapping[str, Tensor]) -> str:
    network = task.model()
    network.load_state_dict(state)
    found = (evaluate(network.eval(), task, split).mean for split in ("validation", "test"))
    return "{} validation, {} test".format(*map(task.metric.format, found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(SHA256), help=f"default: {' '.join(SHA256)}")
    parser.add_argument("--write", action="store_true", help=f"replace the files in {FOLDER}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.tasks:
        task = load_task(name)
        began = time.perf_counter()
        state = trained(task)
        print(f"{name}: trained in {time.perf_counter() - began:.0f} s: {scores(task, state)}")
        if options.write:
            content = weights_file(task, state)
            write(FOLDER / f"{name}.pt", content)
            print(f'    "{name}": "{hashlib.sha256(content).hexdigest()}",  # {len(content):,} bytes')
        else:
            shipped = task.pretrained(SEED)
            print(f"{name}: shipped: {scores(task, shipped)}")


if __name__ == "__main__":
    main()
