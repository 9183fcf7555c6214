"""NVIDIA trtexec: ``--exportProfile`` (times), and ``--exportLayerInfo --profilingVerbosity=detailed`` (shapes, precision, ONNX names).

A profile is a list whose first element is only the number of inferences. ``a + b`` is a vertical fusion, ``a || b`` a horizontal
one; copies between formats belong to no layer; a ForeignNode is a whole part of the network. Taken: ``medianMs``, before
TensorRT 10 ``averageMs``. Several profiles of one engine: the median over them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import FileFormatError, UsageError
from ...formats import LayerFormat
from .facts import Facts
from .layer_names import word_of
from .ops import kinds_of
from .profile import PART, Profile, ProfileRow, over_runs
from .reading import cost_of, count_of, json_of, need_files, number_of, shape_of

_COPY = re.compile(r"^Reformatting |^reformat|\bCopyNode\b|[ _]copy$|^copy[_ ]|\[ShuffleNode\]", re.IGNORECASE)
_FOREIGN = re.compile(r"ForeignNode\b|^\{.*\.\.\..*\}$|TRT-?Myelin", re.IGNORECASE)
# Types of layer that do not say what it computes; and those that say that it is none, whatever its name.
_ANY_KERNEL = ("", "kgen", "myelin", "cask", "plugin", "pluginv2", "pluginv3")
_NO_LAYER = re.compile(
    r"pool|pointwise|elementwise|softmax|reduce|slice|scale|concat|activation|pad|resize|normali[sz]ation|gather|topk|cast|constant",
    re.IGNORECASE,
)
_OPERATION = re.compile(r" \+ | \|\| |, ")
_BITS = (
    ("int4", 4), ("fp4", 4), ("int8", 8), ("fp8", 8), ("half", 16), ("fp16", 16), ("bf16", 16), ("float16", 16),
    ("float", 32), ("fp32", 32),
)  # fmt: skip


def read(files: Sequence[Path]) -> Profile:
    """The profile.

    Raises:
        FileFormatError: no profile of trtexec; layer information of another engine. UsageError: no profile among the files.
    """
    need_files("trtexec", files)
    documents = [(path, json_of(path)) for path in files]
    profiles = [(path, data) for path, data in documents if isinstance(data, list)]
    about = {}
    for path, data in documents:
        if not isinstance(data, list):
            about.update(_layers(path, data))
    if not profiles:
        raise UsageError("none of the files is a profile of trtexec (--exportProfile): layer information has no times.")
    paths = [path for path, _ in profiles]
    rows = over_runs(paths, [_rows(path, data) for path, data in profiles])
    if about and not {row.label for row in rows} & set(about):
        raise FileFormatError(paths[0], f"has no layer of the layer information, such as '{next(iter(about))}': it is another engine's.")
    return Profile(
        "trtexec", "measured", tuple(files), tuple(_informed(row, about.get(row.label)) for row in rows), "time per layer",
        times="device time",
    )  # fmt: skip


def _rows(path: Path, data: list[Any]) -> list[ProfileRow]:
    if not data or not isinstance(data[0], dict) or "count" not in data[0]:
        raise FileFormatError(path, "must begin with the number of inferences ('count'); give the file of --exportProfile.", "entry 1")
    runs = count_of(path, data[0]["count"], "entry 1, key 'count'")
    if len(data) == 1:
        raise FileFormatError(path, "has no layers after the count; build the engine and profile it in one call of trtexec.")
    return [_row(path, entry, f"entry {number}", runs) for number, entry in enumerate(data[1:], start=2)]


def _row(path: Path, entry: Any, where: str, runs: int | None) -> ProfileRow:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise FileFormatError(path, "must be an object with a name; is it the file of --exportProfile?", where)
    key = next((key for key in ("medianMs", "averageMs") if key in entry), None)
    if key is None:
        raise FileFormatError(path, f"has neither medianMs nor averageMs; it has: {', '.join(map(str, entry))[:200]}.", where)
    name, ms = entry["name"], cost_of(path, entry[key], f"{where}, key '{key}'")
    opaque = "a copy between formats" if _COPY.search(name) else ""
    opaque = opaque or (PART if _FOREIGN.search(name) else "")
    names = () if opaque else _names(name)
    return ProfileRow(
        name, f"{path.name}, {where}, {key}", names, _op(names), seconds=_small(path, ms, where), runs=runs, opaque=opaque,
        lacks="" if ms else f"its {key} is 0",
    )  # fmt: skip


def _op(names: Sequence[str]) -> str:
    """From names that end in a word of ONNX; empty where they do not (``node_of_conv1``)."""
    words = [word_of(name) for name in names]
    return next((word for word in words if kinds_of(word)), words[0] if words and all(words) else "")


def _small(path: Path, ms: float | None, where: str) -> float | None:
    seconds = None if ms is None else ms * 1e-3
    if seconds == 0:
        raise FileFormatError(path, f"is too small to be a time: {ms} ms.", where)
    return seconds


def _names(name: str) -> tuple[str, ...]:
    """``Conv_0 + PWN(PWN(Sigmoid_1), Mul_2)`` -> Conv_0, Sigmoid_1, Mul_2."""
    plain = re.sub(r"PWN\(", " ", name)
    return tuple(part for text in _OPERATION.split(plain) if (part := text.strip(" )") if "PWN(" in name else text.strip()))


def _layers(path: Path, data: Any) -> dict[str, Mapping[str, Any]]:
    layers = data.get("Layers") if isinstance(data, dict) else None
    if not isinstance(layers, list) or not layers:
        raise FileFormatError(path, "must be a profile (a list) or layer information (an object with Layers) of trtexec.")
    if any(isinstance(layer, str) for layer in layers):
        raise FileFormatError(path, "lists names only; export it with --profilingVerbosity=detailed, or leave it out.", "key 'Layers'")
    found: dict[str, Mapping[str, Any]] = {}
    for number, layer in enumerate(layers, start=1):
        if not isinstance(layer, dict) or not isinstance(layer.get("Name"), str):
            raise FileFormatError(path, "must be an object with a Name.", f"key 'Layers', entry {number}")
        for key in ("Kernel", "Stride", "Groups", "OutMaps"):
            if key in layer:
                for value in layer[key] if isinstance(layer[key], list) else [layer[key]]:
                    number_of(path, value, f"key 'Layers', entry {number}, key '{key}'")
        found[layer["Name"]] = layer
    return found


def _informed(row: ProfileRow, layer: Mapping[str, Any] | None) -> ProfileRow:
    """The row with what the layer information says of it."""
    if layer is None or row.opaque:
        return row
    op = str(layer.get("LayerType") or "")
    if op.lower() in ("reformat", "noop", "shuffle"):
        return replace(row, op=op, opaque="a copy between formats", names=())
    if op.lower() == "foreignnode":
        return replace(row, op=op, opaque=PART, names=())
    onnx = tuple(re.findall(r"\[ONNX Layer: ([^\]\x1e\x1f]+)\]", str(layer.get("Metadata") or "")))
    single = layer.get("ParameterType") == "Convolution"
    groups, weights = layer.get("Groups"), layer.get("Weights")
    count = weights.get("Count") if isinstance(weights, Mapping) else None
    facts = Facts(
        weights=count if isinstance(count, int) and count > 0 else None,
        input=_dimensions(layer.get("Inputs")),
        output=_dimensions(layer.get("Outputs")),
        kernel=shape_of(layer.get("Kernel")) if single else None,
        stride=shape_of(layer.get("Stride")) if single else None,
        groups=groups if single and isinstance(groups, int) and groups > 0 else None,
    )
    names = onnx or row.names
    op = _kind(op, str(layer.get("ParameterType") or ""), names)
    return replace(row, names=names, op=op, facts=facts, widths=_widths(layer) if facts.weights else None)


def _kind(type_: str, parameters: str, names: Sequence[str]) -> str:
    """What a layer computes: by its type, by its parameters, else, where these do not say, by the words in its names."""
    stated = next((word for word in (type_, parameters) if kinds_of(word)), "")
    said = "" if stated or _NO_LAYER.search(f"{type_} {parameters}") else _op(names)
    if stated or kinds_of(said):
        return stated or said
    return said if not parameters and type_.lower() in _ANY_KERNEL else type_ or parameters


def _dimensions(tensors: Any) -> tuple[int, ...] | None:
    first = tensors[0] if isinstance(tensors, list) and tensors else None
    return shape_of(first.get("Dimensions")) if isinstance(first, Mapping) else None


def _widths(layer: Mapping[str, Any]) -> LayerFormat | None:
    """From the types of the weights and of the first input; None where one of them is not said in a known word."""
    weights, inputs = layer.get("Weights"), layer.get("Inputs")
    first = inputs[0] if isinstance(inputs, list) and inputs else None
    if not isinstance(weights, Mapping) or not isinstance(first, Mapping):
        return None
    w = _bits(str(weights.get("Type") or ""))
    a = _bits(str(first.get("Datatype") or first.get("Format/Datatype") or ""))
    return LayerFormat.of(w, a) if w and a else None


def _bits(text: str) -> int | None:
    return next((bits for word, bits in _BITS if word in text.lower()), None)
