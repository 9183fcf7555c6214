"""Which traced layer a profiler's name means.

PyTorch calls it ``layer1.0.conv1``; ONNX ``/layer1/layer1.0/conv1/Conv`` (scopes repeat what they lie in); ONNX Runtime adds
``fused ``, ``_quant``, ``_nchwc`` or ``_token_3``; TFLite ``[net/layer1_0_conv1/Conv2D;...]:7``. Names are compared with every other sign
as ``_``; two layers that become the same then are found by no name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ...graph import LayerGraph
from .ops import kinds_of
from .profile import ProfileRow

_ADDED = re.compile(r"^fused |(_token_\d+|_nchwc|_nhwc|_quant|[/_]MatMulAddFusion|:\d+)$")


def scopes(name: str) -> list[str]:
    """The name's parts, each scope once: ``/layer1/layer1.0/conv1/Conv`` gives layer1.0, conv1, Conv."""
    while (plain := _ADDED.sub("", name.strip())) != name:
        name = plain
    found: list[str] = []
    for part in filter(None, name.split("/")):
        if found and part.startswith(found[-1] + "."):
            found[-1] = part
        else:
            found.append(part)
    return found


def word_of(name: str) -> str:
    """The operation in a name: ``/conv1/Conv_1`` and ``Conv_12`` give Conv; empty where its last part is a module (``conv1``)."""
    word = re.sub(r"_\d+$", "", (scopes(name) or [""])[-1])
    return word if re.fullmatch(r"[A-Z][A-Za-z]*([123][dD])?", word) else ""


def operations(names: Iterable[str]) -> list[str]:
    """Those of the names that end in the word for a counted operation, one for each place in the network."""
    counted = [name for name in names if kinds_of(word_of(name))]
    return list({key_of(scopes(name)): name for name in counted}.values())


def key_of(parts: Iterable[str]) -> str:
    """What names are compared by."""
    return re.sub(r"[^0-9A-Za-z]+", "_", "_".join(parts)).strip("_")


class LayerNames:
    """Finds layers by the names of one profile.

    A prefix that all of its names have and no layer has (``model/``, of a wrapper) is left out, where none matches with it.
    """

    def __init__(self, graph: LayerGraph, rows: Sequence[ProfileRow]) -> None:
        found: dict[str, list[str]] = {}
        for layer in graph.layers:
            found.setdefault(key_of([layer.name]), []).append(layer.name)
        self._layers = {key: layers[0] for key, layers in found.items() if len(layers) == 1}
        self._prefix = 0
        usable = [row for row in rows if not row.opaque]
        if not any(self.layers_of(row) for row in usable):
            self._prefix = _common([scopes(name) for row in usable if kinds_of(row.op) != frozenset() for name in row.names])

    def layers_of(self, row: ProfileRow) -> list[str]:
        """The traced layers that a row names, each once, in its order."""
        if row.opaque:
            return []
        found = (self._layer_of(name, row.op if len(row.names) == 1 else "") for name in row.names)
        return list(dict.fromkeys(layer for layer in found if layer))

    def _layer_of(self, name: str, op: str) -> str | None:
        """``op``: the row's, where it has one name; operations that are no layers (an Add, a Relu) mean none by themselves."""
        parts = scopes(name)[self._prefix :]
        if not parts or kinds_of(op) == frozenset():
            return None
        whole = self._layers.get(key_of(parts))
        if whole or len(parts) < 2:
            return whole
        counted = kinds_of(op or word_of(parts[-1]))
        return self._layers.get(key_of(parts[:-1])) if counted else None


def _common(names: Sequence[list[str]]) -> int:
    """How many leading parts all names share, at least one part of each left."""
    if len(names) < 2:
        return 0
    most = min(len(parts) for parts in names) - 1
    return next((i for i in range(max(0, most)) if len({parts[i] for parts in names}) > 1), max(0, most))
