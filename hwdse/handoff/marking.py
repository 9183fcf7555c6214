"""The network as an ONNX graph in which every quantised tensor passes a marker; :mod:`qdq` and :mod:`qonnx` write its levels there."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import HwdseError, UsageError
from ..formats import NumberFormat
from ..inputs import arguments
from ..quantized import QuantizedModel, evaluating
from ..quantizers.levels import Grid, Thresholds
from .levels import Weight, input_of, weight_of

if TYPE_CHECKING:
    from onnx import ModelProto

DOMAIN = "hwdse.marker"


class ExportError(HwdseError, RuntimeError):
    """A network that cannot be written as ONNX, or one whose file does not compute what it should."""


def need_onnx() -> None:
    """Raises UsageError unless everything that writes and runs ONNX files is installed."""
    lacking = []
    for package in ("onnx", "onnxruntime", "onnxscript"):
        try:
            __import__(package)
        except ImportError:
            lacking.append(package)
    if lacking:
        raise UsageError(
            f"ONNX files need {', '.join(lacking)}: pip install 'hwdse[onnx]'. Without them, --no-onnx hands over the allocation and the "
            "checkpoint alone."
        )


@dataclass(frozen=True, eq=False)
class Mark:
    """One quantised tensor: the weight of a module, or its input. ``name`` is ``"block1.conv1.weight"`` or ``"block1.conv1.input"``."""

    path: str
    name: str
    levels: Weight | Grid | Thresholds


@dataclass(frozen=True, eq=False)
class Marked:
    """A graph with markers, nodes ``hwdse.marker::Marked(index)``, and what each index stands for."""

    graph: ModelProto
    marks: tuple[Mark, ...]

    @property
    def opset(self) -> int:
        """Version of ONNX's own nodes."""
        return max(int(o.version) for o in self.graph.opset_import if o.domain in ("", "ai.onnx"))


class _Marking(nn.Module):
    """In the place of a quantiser."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def quantize(self, x: Tensor, number: NumberFormat) -> Tensor:
        """The marker's node."""
        marked: Tensor = _operator()(x, self.index)
        return marked


@cache
def _operator() -> Callable[..., Tensor]:
    """``hwdse::marked(x, index)``: a copy of x that no exporter looks into."""

    @torch.library.custom_op("hwdse::marked", mutates_args=())
    def marked(x: Tensor, index: int) -> Tensor:
        return x.clone()

    @marked.register_fake
    def _(x: Tensor, index: int) -> Tensor:
        return torch.empty_like(x)

    return torch.ops.hwdse.marked


@cache
def _translation() -> dict[Any, Any]:
    """What the exporter writes for the operator."""
    import onnx
    from onnxscript import values

    schema = onnx.defs.OpSchema
    made = schema(
        "Marked", DOMAIN, 1,
        inputs=[schema.FormalParameter("x", "T")], outputs=[schema.FormalParameter("y", "T")],
        type_constraints=[("T", ["tensor(float)"], "")],
        attributes=[schema.Attribute("index", schema.AttrType.INT, required=True)],
    )  # fmt: skip
    op = values.Op(values.Opset(DOMAIN, 1), "Marked", made)
    _operator()
    return {torch.ops.hwdse.marked.default: lambda x, index: op(x, index=index)}


@contextlib.contextmanager
def _marking(model: QuantizedModel) -> Iterator[tuple[Mark, ...]]:
    """While open, the model's quantisers are markers; those of tensors in floating point stay as they are."""
    marks: list[Mark] = []
    weights = {id(w): (path, w) for path, w in reversed(model.weights.items())}  # a shared one under its first path
    kept = [(w, w.quantizer) for _, w in weights.values()]
    inputs = dict(model.inputs)
    try:
        for path, weight in reversed(list(weights.values())):
            if not weight.format.floating:
                marks.append(Mark(path, f"{path}.weight", weight_of(weight.quantizer, model.original(path), weight.format, path)))
                weight.quantizer = _Marking(len(marks) - 1)  # type: ignore[assignment]  # for as long as this is open
        for path, quantizer in inputs.items():
            if not model.input_formats[path].floating:
                marks.append(Mark(path, f"{path}.input", input_of(quantizer, model.input_formats[path], path)))
                model.inputs[path] = _Marking(len(marks) - 1)  # type: ignore[assignment]  # likewise
        yield tuple(marks)
    finally:
        for weight, own in kept:
            weight.quantizer = own
        model.inputs.update(inputs)


def marked_graph(model: QuantizedModel, example: tuple[Tensor, ...], opset: Callable[[tuple[Mark, ...]], int]) -> Marked:
    """Exports a quantised model, on the CPU and in evaluation mode, at the batch of ``example``.

    Args:
        model: set to its widths.
        example: inputs of one forward pass.
        opset: the ONNX opset that the marks need.

    Raises:
        ExportError: the network has an operation that PyTorch cannot write as ONNX.
    """
    need_onnx()
    positional, named = arguments(example)
    with _marking(model) as marks, evaluating(model.network), torch.no_grad(), _quiet():
        try:
            wanted = opset(marks)
            program = torch.onnx.export(
                model.network,
                positional,
                kwargs=named or None,
                dynamo=True,
                custom_translation_table=_translation(),
                opset_version=wanted,
                verbose=False,
            )
        except Exception as error:  # the exporter wraps whatever its steps, or the network's own code, raise
            reason = [line for line in str(error).splitlines() if line.strip()]
            last = next((line for line in reason if line.startswith("<class")), reason[0] if reason else type(error).__name__)
            raise ExportError(f"PyTorch cannot write this network as ONNX: {last.strip()}. --no-onnx leaves the ONNX files out.") from None
        if program is None:
            raise ExportError("PyTorch wrote no ONNX graph for this network. --no-onnx leaves the ONNX files out.")
    made = Marked(program.model_proto, marks)
    if made.opset != wanted:
        raise ExportError(f"PyTorch wrote opset {made.opset}, and the widths need {wanted}. --no-onnx leaves the ONNX files out.")
    return made


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's own remarks, on packages that play no part here, are kept from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
