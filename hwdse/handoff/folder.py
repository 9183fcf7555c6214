"""The folder that is handed over, schema ``hwdse.handoff/1``: what stands in it, and reading it back.

``handoff.json``
    what everything is: costs, limits, score, layers, versions, fingerprints, and how the exported files compared with PyTorch.
``allocation.json``, ``checkpoint.pt``, ``tables.npz``
    the widths; weights, scales and codebooks; the tables that the costs come from. :func:`load` reads the three.
``model.onnx``, ``model.qonnx.onnx``
    the network in QDQ form and in QONNX form, for one batch of the task's example inputs.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contract import example_of, model_of
from ..errors import FileFormatError, UsageError
from ..formats import Allocation
from ..metrics import Metric
from ..quantized import QuantizedModel
from ..quantizers import Scheme
from ..storage import StorageError, read_checkpoint, read_json, tables_from_bytes, write
from ..task import Task
from ..trace import trace
from .recount import recounted

if TYPE_CHECKING:
    from ..costs import CostTable

SCHEMA = "hwdse.handoff/1"
READ = ("allocation.json", "checkpoint.pt", "tables.npz")
OF_A_RUN = ("record.json", "study.db")
ALL = (*READ, "model.onnx", "model.qonnx.onnx")


@dataclass(frozen=True, eq=False)
class HandOff:
    """A hand-off that was read back.

    Attributes:
        model: the network at its widths, in evaluation mode; ``model(x)`` runs it.
        allocation: the widths. costs: by metric key, in stored units, recomputed from the tables. about: ``handoff.json``.
    """

    model: QuantizedModel
    allocation: Allocation
    costs: Mapping[str, float]
    about: Mapping[str, Any]

    def __repr__(self) -> str:
        """One line."""
        return f"HandOff(task {self.about.get('task')!r}, {len(self.allocation)} layers, costs {', '.join(self.costs)})"


def load(folder: Path | str, task: Task | None = None, trust: bool = False) -> HandOff:
    """Reads a hand-off, and checks it on the way: no file changed, the costs are those of the tables, the model is the checkpoint's.

    Args:
        folder: as ``hwdse export`` wrote it.
        task: the task of the run; default: by the name in the hand-off.
        trust: load and run the code that this name stands for, where it is no task of hwdse's own: a hand-off may come from anyone.

    Raises:
        StorageError: a file is missing. FileFormatError: a file of another schema, or changed since. CostMismatch: see :func:`recounted`.
        UsageError: a task whose model is another. UntrustedCode: a task of others', neither given nor trusted.
    """
    folder = Path(folder)
    about = read_json(folder / "handoff.json")
    if about.get("schema") != SCHEMA:
        raise FileFormatError(folder / "handoff.json", f"must have schema '{SCHEMA}', got {about.get('schema')!r}.", "key 'schema'")
    lacking = [name for name in READ if name not in about.get("files", {})]
    if lacking or "costs" not in about:
        raise FileFormatError(folder / "handoff.json", f"does not list {', '.join(lacking) or 'costs'}.")
    content = {name: _unchanged(folder / name, about["files"][name]) for name in READ}
    allocation = Allocation.from_json(content["allocation.json"].decode(), folder / "allocation.json")
    state = read_checkpoint(content["checkpoint.pt"], folder / "checkpoint.pt")
    tables = tables_from_bytes(content["tables.npz"], folder / "tables.npz")
    recorded = {key: math.inf if cost["value"] is None else float(cost["value"]) for key, cost in about["costs"].items()}
    unknown = [key for key in recorded if key not in tables]
    if unknown:
        raise FileFormatError(folder / "tables.npz", f"has no table of {', '.join(unknown)}, of which handoff.json has costs.")
    costs = recounted(allocation, tables, recorded, tuple(tables[key].metric for key in recorded), f"the hand-off {folder}")
    if task is None:
        from ..tasks import load_task
        from ..tasks.recorded import check_trust

        remedy = "give the task, load(folder, task=MyTask()), or load(folder, trust=True)"
        check_trust(str(about.get("task")), f"the hand-off {folder}", trust, remedy)
        task = load_task(str(about.get("task")))
    return HandOff(restored(task, state, allocation, folder / "checkpoint.pt"), allocation, costs, about)


def restored(task: Task, state: Mapping[str, Any], allocation: Allocation, file: object) -> QuantizedModel:
    """The quantised model of a checkpoint, on the CPU, in evaluation mode.

    Raises:
        UsageError: a checkpoint of another model. FileFormatError: one at other widths than ``allocation``.
    """
    if state.get("allocation") is None or Allocation.from_dict(state["allocation"]) != allocation:
        raise FileFormatError(file, "is at other widths than the allocation it belongs to.", "key 'allocation'")
    network = model_of(task)
    model = QuantizedModel(network, trace(network, example_of(task)), Scheme(*state["scheme"]))
    try:
        model.load_state(state)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None
    except (RuntimeError, KeyError) as error:
        raise UsageError(f"{file} does not fit the model of task {task.name}: {str(error).splitlines()[0]}") from None
    network.eval()
    return model


def _unchanged(path: Path, said: Mapping[str, Any]) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}.") from None
    if hashlib.sha256(content).hexdigest() != said["sha256"]:
        raise FileFormatError(path, "was changed since it was handed over: its SHA-256 is not the one in handoff.json.")
    return content


def not_a_run(folder: Path) -> None:
    """A hand-off in a run folder would replace the run's own files: its ``tables.npz`` is the hand-off's, too.

    Raises:
        UsageError: ``folder`` holds a run.
    """
    found = [name for name in OF_A_RUN if (folder / name).exists()]
    if found:
        raise UsageError(
            f"a trial must be handed over into a folder of its own; {folder} is a run (it holds {' and '.join(found)}), whose files would "
            f"be replaced. Give another folder, such as {folder / 'deployed'}."
        )


def save(folder: Path, files: Mapping[str, bytes], about: Mapping[str, Any]) -> None:
    """Writes the files, and last ``handoff.json`` with their sizes and SHA-256: a folder without it is not whole.

    Raises:
        UsageError: a run folder. StorageError: a folder that cannot be written.
    """
    not_a_run(folder)
    try:
        for name in ("handoff.json", *(name for name in ALL if name not in files)):  # of an earlier hand-off into the same folder
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror or error}. Give a folder that can be written.") from None
    listed = {}
    for name, content in files.items():
        write(folder / name, content)
        listed[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    write(folder / "handoff.json", json.dumps({"schema": SCHEMA, **about, "files": listed}, indent=2, allow_nan=False) + "\n")


def costs_text(costs: Mapping[str, float], tables: Mapping[str, CostTable], errors: Mapping[str, float | None]) -> dict[str, Any]:
    """Costs as ``handoff.json`` keeps them; null where a device cannot run the allocation, or where nobody knows how far off one may be."""

    def plain(metric: Metric, value: float) -> dict[str, Any]:
        table = tables[metric.key]
        finite = math.isfinite(value)
        return {
            "value": value if finite else None, "unit": metric.unit, "shown": metric.format(value) if finite else "cannot run",
            "may_be_off_by": errors.get(metric.key), "convention": table.convention, "notes": list(table.notes),
        }  # fmt: skip

    return {key: plain(tables[key].metric, value) for key, value in costs.items()}
