"""Whether an exported file computes what the PyTorch model computes: run both and compare, tensor by tensor and at the end.

Two runtimes add up a product in different orders. Where a sum then lies at the edge between two levels, one rounds up and the other down,
and what follows differs by a step of that level: rare, but not a fault. So every quantiser is held against PyTorch's on the very
numbers that reached it in the file, and the outputs of the network to a tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..contract import example_of
from ..costs import FloatArray
from ..errors import UsageError
from ..inputs import Named, in_order, like, run
from ..quantized import QuantizedModel, evaluating
from ..task import Task, batches_of
from .marking import ExportError, Mark

if TYPE_CHECKING:
    from onnx import ModelProto

OUTPUTS = 0.05  # root mean square of the outputs' differences, relative to the spread of the outputs
PREDICTIONS = 0.98  # share of samples with the same prediction
STEPS = 1e-3  # largest difference behind a quantiser, in steps between its levels, for the same input
SAMPLES = 64


@dataclass(frozen=True)
class Agreement:
    """How an exported file compares with PyTorch, over ``samples`` samples of the validation split.

    Attributes:
        largest, relative: difference of the outputs: the largest one, and the root mean square over the outputs' standard deviation.
        predictions: share of samples whose largest output is at the same place; None where outputs are no rows of scores.
        scores: (PyTorch's, the file's) mean score of the samples.
        quantisers: how many inputs of layers were compared, and ``steps``: the largest difference behind one, in steps of its levels.
        optimised: the same relative difference with the runtime's default optimisations, or the sentence with which it refuses the file.
    """

    samples: int
    largest: float
    relative: float
    predictions: float | None
    scores: tuple[float, float]
    quantisers: int = 0
    steps: float = 0.0
    optimised: float | str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with the tolerances beside them."""
        return {**asdict(self), "tolerances": {"relative": OUTPUTS, "predictions": PREDICTIONS, "steps": STEPS}}

    def check(self, file: str) -> None:
        """Raises ExportError where a tolerance is not kept."""
        wrong = []
        if self.steps > STEPS:
            wrong.append(f"a layer's input is off by {self.steps:.2g} of a step between levels (at most {STEPS:g})")
        if not self.relative <= OUTPUTS:
            wrong.append(f"the outputs differ by {self.relative:.2g} of their spread, root mean square (at most {OUTPUTS:g})")
        if self.predictions is not None and self.predictions < PREDICTIONS:
            wrong.append(f"{self.predictions:.1%} of the predictions agree (at least {PREDICTIONS:.0%})")
        if wrong:
            raise ExportError(
                f"{file} does not compute what the PyTorch model does, over {self.samples} validation samples: {'; '.join(wrong)}. "
                "It was not written; please report this with the model."
            )


def samples_of(task: Task, example: tuple[Tensor, ...], count: int = SAMPLES) -> list[tuple[tuple[Tensor, ...], Any]]:
    """(inputs, target) of the validation split, cut into batches of the example's size.

    Raises:
        UsageError: the split holds inputs of other shapes than the example's: the file takes that shape alone.
    """
    found: list[tuple[tuple[Tensor, ...], Any]] = []
    size = example[0].shape[0]
    for given, target in batches_of(task, "validation"):
        inputs = in_order(given, example)
        for x, e in zip(inputs, example, strict=False):
            if x.shape[1:] != e.shape[1:] or len(inputs) != len(example):
                got = ", ".join(str(tuple(x.shape[1:])) for x in inputs)
                raise UsageError(
                    f"the validation split has inputs of shape {got} a sample, example_inputs() has {tuple(e.shape[1:])}: an exported file "
                    "takes one shape. Give example_inputs() the shape of the data."
                )
        for begin in range(0, inputs[0].shape[0] - size + 1, size):
            found.append(
                (like(example, (x[begin : begin + size] for x in inputs)), pytree.tree_map(lambda t, b=begin: t[b : b + size], target))
            )
            if len(found) * size >= count:
                return found
    if not found:
        raise UsageError(f"the validation split has no batch of {size} samples, as example_inputs() has, to compare an exported file on.")
    return found


def outputs_of(model: QuantizedModel, task: Task) -> list[Any]:
    """What the network computes of :func:`samples_of` the task, batch by batch, in its own number type."""
    with torch.no_grad(), evaluating(model.network):
        return [run(model.network, x) for x, _ in samples_of(task, example_of(task))]


def as_written(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Inputs as an exported file takes them: floating-point ones in float32."""
    return like(inputs, (x.float() if x.is_floating_point() else x for x in inputs))


def compare(
    file: ModelProto,
    model: QuantizedModel,
    task: Task,
    inputs: Sequence[tuple[Mark, str, str]] = (),
    optimised: ModelProto | None = None,
    wanted: Sequence[Any] | None = None,
) -> Agreement:
    """Runs a file and the model that it was made of on validation samples.

    Args:
        file: the exported model, of standard nodes and functions alone.
        model: set to its widths, on the CPU.
        task: gives the samples and their scores.
        inputs: (mark, name before, name after) of the quantised inputs, to be compared one by one.
        optimised: the file to run once more as runtimes do by default; None: not.
        wanted: what the file should compute; default: :func:`outputs_of` the model.
    """
    wanted = outputs_of(model, task) if wanted is None else wanted
    batches = [(as_written(x), target) for x, target in samples_of(task, example_of(task))]
    names = list(dict.fromkeys(n for _, *pair in inputs for n in pair))
    found, inner = _run(file, [x for x, _ in batches], names)
    steps = max((_steps(model, mark, inner[x], inner[y]) for mark, x, y in inputs), default=0.0)
    relative, largest = _difference(found, wanted)
    scores = [_scores(task, list(outputs), batches) for outputs in (wanted, _like(wanted, found))]
    how: float | str | None = None
    if optimised is not None:
        try:
            how = _difference(_run(optimised, [x for x, _ in batches], (), optimise=True)[0], wanted)[0]
        except ExportError as error:
            how = str(error)
    count = len(batches) * batches[0][0][0].shape[0]
    return Agreement(count, largest, relative, _same(found, wanted), (scores[0], scores[1]), len(inputs), steps, how)


def _run(
    file: ModelProto, batches: Sequence[tuple[Tensor, ...]], names: Sequence[str], optimise: bool = False
) -> tuple[list[list[FloatArray]], dict[str, FloatArray]]:
    """The outputs, batch by batch, and the inner tensors asked for, over all batches."""
    import onnx
    import onnxruntime as runtime

    copy = onnx.ModelProto()
    copy.CopyFrom(file)
    given = [value.name for value in copy.graph.input]
    asked = [n for n in names if n not in given]
    outputs = [value.name for value in copy.graph.output]
    copy.graph.output.extend(onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in asked if n not in outputs)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    levels = runtime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = runtime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
        feeds = [{n: x.numpy() for n, x in zip(given, _for(given, batch), strict=True)} for batch in batches]
        made = [session.run([*outputs, *asked], feed) for feed in feeds]
    except Exception as error:  # the runtime has errors of its own, without a common base
        raise ExportError(f"ONNX Runtime {runtime.__version__} cannot run the exported file: {str(error).splitlines()[0]}") from None
    inner = {n: np.concatenate([np.ravel(m[len(outputs) + i]) for m in made]) for i, n in enumerate(asked)}
    inner |= {n: np.concatenate([np.ravel(feed[n]) for feed in feeds]) for n in names if n in given}
    return [list(m[: len(outputs)]) for m in made], inner


def _steps(model: QuantizedModel, mark: Mark, before: FloatArray, after: FloatArray) -> float:
    """Largest difference between PyTorch's quantiser and the file's for the same numbers, in steps of the levels."""
    with torch.no_grad():
        wanted = model.inputs[mark.path].quantize(torch.from_numpy(before), model.input_formats[mark.path]).numpy()
    return float(np.abs(after - wanted).max(initial=0.0) / float(mark.levels.scale))  # type: ignore[union-attr]  # inputs are no weights


def _leaves(output: Any) -> list[FloatArray]:
    return [
        (leaf.float() if leaf.is_floating_point() else leaf).detach().numpy()
        for leaf in pytree.tree_leaves(output)
        if isinstance(leaf, Tensor)
    ]


def _for(given: Sequence[str], batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The inputs in the file's order."""
    return in_order(batch, Named(dict.fromkeys(given)))


def _like(wanted: Sequence[Any], found: Sequence[Sequence[FloatArray]]) -> list[Any]:
    """The file's outputs in the form of the model's."""
    made = []
    for form, arrays in zip(wanted, found, strict=True):
        rest = iter(arrays)
        made.append(pytree.tree_map(lambda leaf, rest=rest: torch.from_numpy(next(rest)) if isinstance(leaf, Tensor) else leaf, form))
    return made


def _difference(found: Sequence[Sequence[FloatArray]], wanted: Sequence[Any]) -> tuple[float, float]:
    """(root mean square over the standard deviation, largest) of the differences of all floating-point outputs."""
    pairs = [(f, w) for fs, ws in zip(found, wanted, strict=True) for f, w in zip(fs, _leaves(ws), strict=True) if w.dtype.kind == "f"]
    ours, theirs = (np.concatenate([np.ravel(p[i]).astype(np.float64) for p in pairs]) for i in (0, 1))
    gap, spread = np.abs(ours - theirs), float(theirs.std())
    return float(np.sqrt(np.mean(gap**2)) / (spread or 1.0)), float(gap.max())


def _same(found: Sequence[Sequence[FloatArray]], wanted: Sequence[Any]) -> float | None:
    first = [(f[0], _leaves(w)[0]) for f, w in zip(found, wanted, strict=True)]
    if any(f.ndim < 2 or f.shape[-1] < 2 for f, _ in first):
        return None
    axis = -1 if first[0][0].ndim == 3 else 1  # classes stand last in texts, second in images
    return float(np.mean(np.concatenate([np.ravel(f.argmax(axis) == w.argmax(axis)) for f, w in first])))


def _scores(task: Task, outputs: Sequence[Any], batches: Sequence[tuple[tuple[Tensor, ...], Any]]) -> float:
    return float(torch.cat([task.scores(o, target).float() for o, (_, target) in zip(outputs, batches, strict=True)]).mean())
