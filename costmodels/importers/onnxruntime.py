"""ONNX Runtime: the trace of ``SessionOptions.enable_profiling``, a list of events; a node's time is its ``_kernel_time``, in µs.

Runs are told apart by the ``model_run`` events. The first is left out (it allocates and packs weights); of the others the
median and the standard deviation are taken. What stands in ``args`` is text. Optimisation renames nodes (``fused ``, ``_token_3``) and
inserts transposes, which stay rows of their own. At its highest level convolutions of floats get the name of what they write
(``/Relu_output_0_nchwc``) and channels rounded up to blocks; their shape or their order says which they are. Several files: their
runs together. A partition that TensorRT, CoreML, QNN and others compiled is one node; what runs on CUDA and its like is only launched
within the time that the trace gives, so it has none.
"""

from __future__ import annotations

import math
import re
import statistics
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import FileFormatError
from ...formats import LayerFormat
from ...numerals import sound
from .facts import Facts
from .profile import PART, Profile, ProfileRow, over_runs
from .reading import json_of, need_files, number_of, shape_of

_END = "_kernel_time"
# What an execution provider compiled into one node, and providers whose kernels still run when the host's clock stops.
_PARTITION = re.compile(
    r"ExecutionProvider_|^(TRTKernel|CoreML|QNN|OpenVINO|NNAPI|NnapiE|MGXKernel|DmlFused|VitisAI|WebNN|RKNPU|SNPE|TIDL|Neutron|Ethos)",
    re.IGNORECASE,
)
_ASYNCHRONOUS = re.compile(r"(CUDA|NvTensorRTRTX|ROCM|MIGraphX|Dml|WebGPU|JS|CANN)", re.IGNORECASE)
_BITS = {"uint4": 4, "int4": 4, "uint8": 8, "int8": 8, "uint16": 16, "int16": 16, "float16": 16, "bfloat16": 16, "float": 32}
_OF_ITS_INPUT = re.compile(r"(nhwc)?(fused|qlinear)?conv|(fused|q)?gemm|(fused|qlinear)?matmul", re.IGNORECASE)


def read(files: Sequence[Path]) -> Profile:
    """The profile.

    Raises:
        FileFormatError: no trace of ONNX Runtime; no nodes; fewer than two runs; files of different networks.
    """
    need_files("ONNX Runtime", files)
    rows = over_runs(files, [_rows(path, _events(path)) for path in files])
    about = "median kernel time of all runs but the first"
    return Profile("ONNX Runtime", "measured", tuple(files), rows, about, times="kernel time on the host's clock")


def _events(path: Path) -> list[Mapping[str, Any]]:
    data = json_of(path)
    if isinstance(data, dict) and isinstance(data.get("traceEvents"), list):  # as re-saved by a trace viewer
        data = data["traceEvents"]
    if not isinstance(data, list):
        raise FileFormatError(path, f"must be a list of events, got {type(data).__name__}; give the trace that enable_profiling writes.")
    wrong = next((i for i, event in enumerate(data, start=1) if not isinstance(event, dict)), None)
    if wrong is not None:
        raise FileFormatError(path, "must be an object; give the trace that enable_profiling writes.", f"event {wrong}")
    return data


def _rows(path: Path, events: list[Mapping[str, Any]]) -> list[ProfileRow]:
    runs = sorted(
        (_us(path, event, "ts", i), _us(path, event, "dur", i))
        for i, event in enumerate(events, start=1)
        if event.get("cat") == "Session" and event.get("name") == "model_run"
    )
    if len(runs) < 2:
        raise FileFormatError(
            path, f"has {len(runs)} runs (model_run), of which the first is a warm-up and left out; run the session twice, better 50 times."
        )
    _told_apart(path, events)
    nodes: dict[tuple[str, str], list[tuple[int, int, float]]] = {}
    about: dict[tuple[str, str], Mapping[str, Any]] = {}
    for i, event in enumerate(events, start=1):
        name = event.get("name")
        if event.get("cat") != "Node" or not isinstance(name, str) or not name.endswith(_END):
            continue
        args = _args(event)
        begin = _us(path, event, "ts", i)
        run = bisect_right(runs, (begin, math.inf)) - 1
        if run < 0 or begin > sum(runs[run]):
            continue  # of a run that did not end
        key = (_name(name), str(args.get("node_index", "")))
        about.setdefault(key, args)
        nodes.setdefault(key, []).append((run, i, _us(path, event, "dur", i)))
    if not nodes:
        raise FileFormatError(path, "has no node with a _kernel_time inside a run; it is no trace of ONNX Runtime, or of another version.")
    return [_row(path, key[0], calls, len(runs), about[key]) for key, calls in nodes.items()]


def _told_apart(path: Path, events: list[Mapping[str, Any]]) -> None:
    """Refuses a trace whose nodes have neither names nor numbers: their times cannot be told apart.

    Raises:
        FileFormatError: such a trace.
    """
    ends = [event for event in events if event.get("cat") == "Node" and str(event.get("name")).endswith(_END)]
    nameless = [event for event in ends if not _name(str(event["name"])) and not _args(event).get("node_index")]
    if ends and len(nameless) == len(ends):
        kinds = ", ".join(dict.fromkeys(str(_args(event).get("op_name") or "?") for event in nameless))
        raise FileFormatError(
            path, f"has nodes without names ({kinds[:200]}), which cannot be told apart: give every node of the ONNX file a name"
            " (torch.onnx.export does, or set node.name), and profile again."
        )  # fmt: skip


def _args(event: Mapping[str, Any]) -> Mapping[str, Any]:
    args = event.get("args")
    return args if isinstance(args, dict) else {}


def _name(event: str) -> str:
    return event.removesuffix(_END).strip()


def _us(path: Path, event: Mapping[str, Any], key: str, number: int) -> float:
    value = number_of(path, event.get(key), f"event {number}, key '{key}'")
    if value is None:
        raise FileFormatError(path, f"lacks '{key}'; is it a trace of ONNX Runtime?", f"event {number}")
    return value


def _row(path: Path, name: str, calls: list[tuple[int, int, float]], runs: int, args: Mapping[str, Any]) -> ProfileRow:
    op = str(args.get("op_name") or "")
    kept = [us for run, _, us in calls if run > 0]
    number = str(args.get("node_index", ""))
    row = ProfileRow(
        name or f"{op or 'node'} without a name" + (f", node {number}" if number else ""), f"{path.name}, event {calls[0][1]}",
        (name,) if name else (), op, facts=_facts(name, op, args), widths=_widths(op, args),
        opaque=PART if _PARTITION.search(op) or _PARTITION.search(name) else "",
    )  # fmt: skip
    provider = str(args.get("provider") or "")
    if not row.opaque and _ASYNCHRONOUS.match(provider):
        return replace(row, lacks=f"its time is the host's, for handing it to {provider}: no time of the device")
    if sorted(run for run, _, _ in calls) != list(range(runs)):
        return replace(row, lacks="it does not run once in every run" if name else "nodes without names cannot be told apart")
    if not statistics.median(kept):
        return replace(row, lacks="its median is 0 µs, below the resolution of the clock")
    spread = statistics.stdev(kept) * 1e-6 if len(kept) > 1 else None
    seconds = statistics.median(kept) * 1e-6
    if sound(seconds) is None or sound(spread or 0.0) is None:
        raise FileFormatError(path, "has a time that is too small or too large to be one.", f"event {calls[0][1]}, key 'dur'")
    return replace(row, seconds=seconds, spread=spread, runs=len(kept))


def _facts(name: str, op: str, args: Mapping[str, Any]) -> Facts:
    weights = _tensor(args, "input_type_shape", 1)[1] if op in ("Conv", "FusedConv") else None  # absent where they were packed before
    return Facts(
        input=_tensor(args, "input_type_shape")[1],
        output=_tensor(args, "output_type_shape")[1],
        kernel=weights[2:] if weights and len(weights) > 2 else None,
        blocked="_nchwc" in name,
    )


def _tensor(args: Mapping[str, Any], key: str, number: int = 0) -> tuple[str, tuple[int, ...] | None]:
    """Type and shape of a tensor: ``[{"uint8": [1, 3, 8, 8]}, ...]``."""
    tensors = args.get(key)
    given = tensors[number] if isinstance(tensors, list) and len(tensors) > number else None
    if not isinstance(given, dict) or len(given) != 1:
        return "", None
    kind, shape = next(iter(given.items()))
    return str(kind), shape_of(shape)


def _widths(op: str, args: Mapping[str, Any]) -> LayerFormat | None:
    """Operations whose weights have the type of their input; others (MatMulNBits) do not say it."""
    bits = _BITS.get(_tensor(args, "input_type_shape")[0])
    return LayerFormat.of(bits, bits) if bits and _OF_ITS_INPUT.fullmatch(op) else None
