"""Handing over one trial of a run: widths, checkpoint, costs, and the network as ONNX, each checked before it is written."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .. import __version__
from ..allocation_files import allocation_file
from ..contract import example_of
from ..errors import UnknownName, UsageError
from ..evaluation import evaluate
from ..quantized import QuantizedModel
from ..quantizers import Scheme
from ..records import SweepRecord, TrialResult
from ..run_files import read_held
from ..storage import StorageError, read_checkpoint, tables_to_bytes
from ..task import Task
from .agreement import Agreement, as_written, compare, outputs_of
from .folder import costs_text, not_a_run, restored, save
from .layers import floating_layers, layers_text
from .marking import ExportError, marked_graph, need_onnx
from .recount import recounted

SCORE = 0.005  # how far the score on the validation split may lie from the one on record, relative; other machines add up differently
PACKAGES = ("torch", "numpy", "onnx", "onnxruntime", "onnxscript")
Say = Callable[[str, int, int], None]


def hand_off(
    record: SweepRecord,
    number: int,
    run: Path,
    folder: Path,
    task: Task,
    *,
    onnx: bool = True,
    say: Say = lambda what, done, total: None,
) -> dict[str, Any]:
    """Writes a measured trial to ``folder`` and returns what ``handoff.json`` says.

    Args:
        record: the run. number: of the trial. run: its folder, for the checkpoint.
        folder: made where it is absent; files of an earlier hand-off are replaced.
        task: the run's.
        onnx: write the ONNX files too; they need the extra ``hwdse[onnx]``.
        say: told what is being done.

    Raises:
        UsageError: no such measured trial; another task; no ONNX installed; ``folder`` is a run. StorageError: no checkpoint.
        FileFormatError: the run's allocation file has other widths than the record.
        CostMismatch: the costs on record are not those of the tables.
        ExportError: a network that cannot be written, or whose file, or checkpoint, does not compute what was measured.
    """
    not_a_run(folder)
    if onnx:
        need_onnx()
    trial = _trial(record, number)
    assert trial.allocation is not None  # a complete trial has one
    widths, told = allocation_file(run, trial)
    measured = next((t for t in record.trials if t.number == trial.knobs.get("same_as", number)), trial)
    name = f"checkpoints/{measured.number}.pt"
    checkpoint = run / name
    try:
        content = read_held(run, name, measured.files)
    except FileNotFoundError:
        raise StorageError(
            f"trial {number} has no checkpoint to hand over: {checkpoint} is not there. A sweep keeps those of its fronts, of the "
            "baselines and of the best inside each budget; with --keep-checkpoints all, in a new folder, it keeps every one."
        ) from None
    state = read_checkpoint(content, checkpoint)
    scheme = Scheme(*state["scheme"])
    tables = {key: table for key, table in record.tables_of(trial).items() if key != "loss"}
    if not tables:
        raise UsageError(
            f"trial {number} has formats whose cost tables are not in the run folder yet: they are written when the sweep ends (the same "
            "hwdse sweep command goes on)."
        )
    costs = recounted(trial.allocation, tables, trial.measures, record.costs, f"trial {number}")
    say("loading the checkpoint", 0, 1)
    model = restored(task, state, trial.allocation, checkpoint)
    score = _measured_again(record, trial, model, task)
    types = _types(model)
    wanted = outputs_of(model, task) if onnx else []
    model.network.float()  # what integers and their scales stand for; ONNX's quantisers take no float64, and runtimes few of other types
    layers = layers_text(model)
    about: dict[str, Any] = {
        "task": record.config.get("task", record.task), "trial": number, "run": record.provenance.get("created"),
        "scheme": str(scheme), "calibrator": told.get("calibrator"), "rounding": told.get("rounding"),
        "bias_correction": told.get("bias_correction"),
        "costs": costs_text(costs, tables, trial.errors),
        "costs_checked": "recomputed from tables.npz: equal to the record",
        "limits": {text: {"room": room} for text, room in trial.slack.items()},
        "score": score, "layers": layers, "floating_point": floating_layers(model),
        "notes": [*trial.notes, *types, *(_storage_notes(layers) if onnx else ())],
        "fingerprints": {key: record.provenance.get(key) for key in ("task", "graph", "weights", "costs")},
        "versions": {**_versions(), "measured_with": record.provenance.get("versions")},
    }  # fmt: skip
    files = {"allocation.json": widths, "checkpoint.pt": content, "tables.npz": tables_to_bytes(tables)}
    if onnx:
        made, said = _onnx(model, task, wanted, say)
        files, about = {**files, **made}, {**about, **said}
        about["notes"] += [f"{name}: {text}" for name, part in said.items() for text in part.get("notes", ())]
    save(folder, files, about)
    return about


def _trial(record: SweepRecord, number: int) -> TrialResult:
    found = next((t for t in record.trials if t.number == number), None)
    if found is None:
        raise UnknownName("trial", str(number), [str(t.number) for t in record.complete])
    if found.state != "complete" or found.allocation is None:
        raise UsageError(f"trial {number} is {found.state}: only a measured one can be handed over. {found.error}".rstrip())
    return found


def _measured_again(record: SweepRecord, trial: TrialResult, model: QuantizedModel, task: Task) -> dict[str, Any]:
    """The score on the validation split, held against the record's."""
    metric = record.score
    said = trial.measures[metric.key]
    found = evaluate(model.network, task, "validation")
    if not abs(found.mean - said) <= SCORE * abs(said):
        raise ExportError(
            f"the checkpoint of trial {trial.number} scores {metric.format(found.mean)} on the validation split here, and the record says "
            f"{metric.format(said)}: it is of another trial, or the task's model or data changed. Nothing was handed over."
        )
    return {
        "metric": metric.key, "split": "validation", "value": said, "samples": trial.samples, "found_again": found.mean, "test": trial.test,
        "fp32": record.reference.get("validation"),
    }  # fmt: skip


def _onnx(model: QuantizedModel, task: Task, wanted: Sequence[Any], say: Say) -> tuple[dict[str, bytes], dict[str, Any]]:
    from .qdq import opset_of, to_qdq
    from .qonnx import OPSET, to_qonnx, with_function

    example = as_written(example_of(task))
    say("exporting to ONNX", 0, 2)
    qdq, inputs = to_qdq(marked_graph(model, example, opset_of))
    first = compare(qdq, model, task, inputs, optimised=qdq, wanted=wanted)
    first.check("model.onnx")
    say("exporting to ONNX", 1, 2)
    qonnx = to_qonnx(marked_graph(model, example, lambda marks: OPSET))
    second = compare(with_function(qonnx), model, task, wanted=wanted)
    second.check("model.qonnx.onnx")
    batch = [list(x.shape) for x in example]
    files = {"model.onnx": qdq.SerializeToString(), "model.qonnx.onnx": qonnx.SerializeToString()}
    forms = (("model.onnx", "QDQ", qdq, first), ("model.qonnx.onnx", "QONNX", qonnx, second))
    return files, {name: {"form": form, "opset": _opset(file), "inputs": batch, **_said(found)} for name, form, file, found in forms}


def _types(model: QuantizedModel) -> list[str]:
    """What is said of a network that computes in other types than float32."""
    found = {str(p.dtype).removeprefix("torch.") for p in model.network.parameters() if p.is_floating_point()} - {"float32"}
    if not found:
        return []
    return [
        f"the network was measured in {' and '.join(sorted(found))}; what is not quantised is in float32 in the ONNX files, which take "
        "float32 inputs and were compared with what the network computes in its own type"
    ]


def _opset(file: Any) -> int:
    return int(next(o.version for o in file.opset_import if not o.domain))


def _said(found: Agreement) -> dict[str, Any]:
    from .agreement import OUTPUTS

    notes = []
    if isinstance(found.optimised, str):
        notes.append(f"runs without graph optimisations only: with them, {found.optimised}")
    elif found.optimised is not None and found.optimised > OUTPUTS:
        notes.append(
            f"computes something else under ONNX Runtime's default optimisations (outputs off by {found.optimised:.2g} of their spread): "
            "switch them off (SessionOptions.graph_optimization_level)"
        )
    return {"compared_with_pytorch": found.to_dict(), "notes": notes}


def _storage_notes(layers: Sequence[Mapping[str, Any]]) -> list[str]:
    wide = [row for row in layers if any((row[part] or {}).get("stored_wider") for part in ("weight", "input"))]
    if not wide:
        return []
    return [
        f"in model.onnx {len(wide)} of {len(layers)} layers are stored in a wider integer type than their width, as ONNX has none of it: "
        "the values are those of the width; the file's size, and the speed of a device that runs it as it is, are not. The costs are of "
        "the width"
    ]


def _versions() -> dict[str, str]:
    found = {"hwdse": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
