"""Runs the command in this process, with one cache for the whole test run and a task that trains in a fraction of a second."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import os
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

from hwdse.cli import main

TOY = """
import torch
from torch import nn
from torch.nn import functional as F
from hwdse.metrics import Metric
from hwdse.task import Recipe, Recipes

CENTRES = 2.0 * torch.randn(4, 8, generator=torch.Generator().manual_seed(7))

class Toy:
    name = "toy"
    metric = Metric("accuracy", "fraction", "higher")
    recipes = Recipes(scratch=Recipe(epochs=4, lr=0.1), finetune=Recipe(epochs=1, lr=0.01))

    def model(self):
        return nn.Sequential(
            nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 4)
        )

    def example_inputs(self):
        return (torch.zeros(1, 8),)

    def batches(self, split, seed):
        order = ("train", "calibration", "validation", "test").index(split)
        random = torch.Generator().manual_seed(order + (10 + seed if split == "train" else 0))
        label = torch.randint(0, 4, (256,), generator=random)
        x = CENTRES[label] + torch.randn(256, 8, generator=random)
        return list(zip(x.split(64), label.split(64)))

    def loss(self, output, target):
        return F.cross_entropy(output, target)

    def scores(self, output, target):
        return (output.argmax(1) == target).float()
"""
_numbers = itertools.count()


@functools.cache
def cache() -> Path:
    """One folder for all commands of this process."""
    folder = tempfile.TemporaryDirectory(prefix="hwdse-cache-")
    _kept.append(folder)
    return Path(folder.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []


class Ran:
    """What a command said, and its exit status."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        self.said, self.text = " ".join(err.split()), " ".join(out.split())  # the sentences, however they were wrapped
        assert "Traceback" not in out + err, out + err


def hwdse(*arguments: object, columns: int | None = None, kept: Path | None = None) -> Ran:
    """``hwdse ARGUMENTS``. ``columns``: width of the terminal; ``kept``: the cache folder."""
    out, err = io.StringIO(), io.StringIO()
    environment = {"HWDSE_CACHE": str(kept or cache())} | ({"COLUMNS": str(columns)} if columns else {})
    code: object = 0
    with (
        patch.object(sys, "argv", ["hwdse", *map(str, arguments)]),
        patch.dict(os.environ, environment),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    return Ran(0 if code is None else int(str(code)), out.getvalue(), err.getvalue())


def task_file(folder: Path, changes: str = "", *, of: str = "Toy", name: str | None = None) -> str:
    """Writes a module with the toy task and ``changes``; the task's name for the command line. ``folder`` must be the current one."""
    module = name or f"toys_{next(_numbers)}"
    sys.modules.pop(module, None)
    (folder / f"{module}.py").write_text(TOY + "\n" + changes)
    return f"{module}:{of}"
