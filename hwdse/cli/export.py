"""``hwdse export``: one trial of a run as a folder that is handed over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hwdse.records import SweepRecord
from hwdse.storage import StorageError

from .opened import open_run
from .show import print_json, print_table, print_text, telling


def run(folder: Path, trial: int, output: Path, onnx: bool, trust: bool, json: bool) -> None:
    """Writes it and says what is in it."""
    about = export(open_run(folder), folder, trial, output, onnx, trust, json)
    if json:
        print_json({"folder": str(output), **about})
    else:
        show(about, output)


def export(record: SweepRecord, folder: Path, trial: int, output: Path, onnx: bool, trust: bool, quiet: bool) -> dict[str, Any]:
    """Writes a trial to ``output``; ``handoff.json`` as it stands there."""
    from hwdse.handoff import hand_off
    from hwdse.handoff.folder import not_a_run
    from hwdse.storage import read_json
    from hwdse.tasks import load_task

    from .trust import allow

    not_a_run(output)
    writable_folder(output)
    task = str(record.config.get("task", record.task))
    allow(task, folder, trust)
    with telling(quiet) as say:
        hand_off(record, trial, folder, output, load_task(task), onnx=onnx, say=say)
    return read_json(output / "handoff.json")


def writable_folder(path: Path) -> None:
    """Says before the work, not after it, that its result could not be written.

    Raises:
        StorageError: a file, or below one, or without permission.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(path, os.W_OK) else "permission denied"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise StorageError(f"cannot write to {path}: {reason}. Give a folder that can be written.")


def show(about: dict[str, Any], output: Path) -> None:
    """What was handed over, and how sure it is."""
    print_table(
        ["cost", "value"], [[key, cost["shown"]] for key, cost in about["costs"].items()], title=f"Handed over: trial {about['trial']}"
    )
    print_text(f"Costs {about['costs_checked']}.")
    for name in ("model.onnx", "model.qonnx.onnx"):
        if name in about:
            found = about[name]["compared_with_pytorch"]
            agreed = "" if found["predictions"] is None else f", {found['predictions']:.1%} of the predictions agree"
            print_text(
                f"{name} ({about[name]['form']}, opset {about[name]['opset']}) against PyTorch on {found['samples']} validation samples: "
                f"largest difference {found['largest']:.2g}, {found['relative']:.2g} of the outputs' spread{agreed}."
            )
    for said in about["notes"]:
        print_text(f"Note: {said}.")
    print_text()
    print_table(["file", "bytes"], [[name, f"{file['bytes']:,}"] for name, file in about["files"].items()])
    print_text()
    trust = ", trust=True" if ":" in str(about["task"]) else ""
    print_text(f"Wrote {output}. In Python: from hwdse.handoff import load; model = load({str(output)!r}{trust}).model")
