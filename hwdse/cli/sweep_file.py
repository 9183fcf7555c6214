"""``hwdse sweep --init``: a file to start from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hwdse.costmodels import load_accelerator
from hwdse.sweeps.starting_file import new_sweep

from .show import print_json, print_text


def run_init(path: Path, task: str | None, accelerators: Sequence[str], budgets: Sequence[str], json: bool) -> None:
    """Writes it."""
    for name in accelerators:
        load_accelerator(name)  # a wrong name is said now
    written = new_sweep(path, task or "digits", accelerators, budgets)
    if json:
        print_json({"file": str(written)})
        return
    print_text(f"Wrote {written}. Next: hwdse sweep {written}", indent=2)
