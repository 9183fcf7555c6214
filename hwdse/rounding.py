"""Adaptive rounding: weights rounded so that each layer's *output* changes least, layer by layer, on calibration data.

Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", arXiv 2004.10568, section 3: to second order the change of a
layer's output is a quadratic in the rounded weight (eq. 13). With x the inputs in the floating-point network and z those that the layer
gets in the quantised one, every output channel w minimises, over the quantiser's levels,

    E (w x - v z)^2  =  (v - u) H (v - u)' + const,    H = E z z',    u = w E(x z') H^-1

which is solved here (ours, in place of the paper's gradient descent on a relaxation) by one sweep that rounds a column and spreads
its error over the columns to come (Frantar et al., GPTQ, arXiv 2210.17323), then by coordinate descent: along one weight the quadratic's
minimum over the levels is the level nearest to its minimum over the reals, so no step makes the output worse. Ranges that are the
quantiser's own are refitted by least squares in between.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .bias_correction import mean_output, shift_to
from .formats import NumberFormat
from .interrupts import check
from .objective import Batch
from .quantized import QuantizedModel, evaluating
from .quantizers import Quantizer

DAMPING = 0.01  # of H's mean diagonal, added to it: u stays near w where the inputs leave it open
SWEEPS = 20  # of coordinate descent, at most
REFITS = 3  # alternations of descent with the least-squares step
ROUNDED = (nn.Linear, nn.Conv1d, nn.Conv2d)


@dataclass
class _Moments:
    """Moments of one layer's inputs, by group: E z z', E x z', E x, E z; in float64, as means are taken off the products."""

    zz: Tensor
    xz: Tensor
    x: Tensor
    z: Tensor
    count: int = 0
    near: Tensor | None = None

    @classmethod
    def of(cls, groups: int, size: int, device: torch.device) -> _Moments:
        square = torch.zeros(groups, size, size, device=device, dtype=torch.float64)
        line = torch.zeros(groups, size, device=device, dtype=torch.float64)
        return cls(square, square.clone(), line, line.clone())

    def add(self, x: Tensor, z: Tensor) -> None:
        """Rows (groups, samples, size) of both networks."""
        if self.near is None:  # products of differences from a point near the mean: float32 is enough for these
            self.near = z.mean(1, keepdim=True)
        x, z = x - self.near, z - self.near
        self.zz += z.mT @ z
        self.xz += x.mT @ z
        self.x += x.sum(1)
        self.z += z.sum(1)
        self.count += x.shape[1]

    def finish(self) -> None:
        """From sums of differences to means of the values themselves."""
        for tensor in (self.zz, self.xz, self.x, self.z):
            tensor /= self.count
        if self.near is not None:
            near = self.near.squeeze(1).double()
            outer = near[:, :, None] * near[:, None, :]
            self.zz += outer + near[:, :, None] * self.z[:, None, :] + self.z[:, :, None] * near[:, None, :]
            self.xz += outer + near[:, :, None] * self.z[:, None, :] + self.x[:, :, None] * near[:, None, :]
            self.x += near
            self.z += near


def round_adaptively(
    model: QuantizedModel, batches: Iterable[Batch], *, correct_bias: bool = True, progress: Callable[[int, int], None] | None = None
) -> tuple[str, ...]:
    """Puts every weight on its quantiser's levels, in the order in which the layers run; with ``correct_bias`` the mean output too.

    The model must be set and calibrated. The floating-point weights are replaced by the rounded ones.

    Returns:
        Layers that keep nearest rounding: embeddings, kinds other than :data:`ROUNDED`, shared weights, and modules that run several times.
    """
    data, kept = list(batches), []
    network = model.network
    floating = {path: model.original(path).detach().clone() for path in model.weights}
    readers = Counter(id(weight) for weight in model.weights.values())
    with torch.no_grad(), evaluating(network):
        for number, path in enumerate(model.weights):
            module, weight = network.get_submodule(path), model.weights[path]
            check()
            if weight.format.floating:
                continue
            quantizer = weight.quantizer.of(weight.format)
            fits = isinstance(module, ROUNDED) and path in model.inputs and quantizer.elementwise and readers[id(weight)] == 1
            moments = _moments(model, path, module, data, floating) if fits else None
            if moments is None:
                kept.append(path)
                if correct_bias and path in model.inputs:
                    with _with(model, floating):
                        means = mean_output(model, path, data, floating=True)
                    shift_to(model, path, means, data)
                continue
            original = model.original(path)
            mean = _means(original.flatten(1), moments.x)
            original.copy_(_rounded(original, quantizer, weight.format, moments, correct_bias))
            if correct_bias:
                model.offset(path, mean - _means(original.flatten(1), moments.z))
            if progress:
                progress(number + 1, len(model.weights))
    return tuple(kept)


def _means(rows: Tensor, inputs: Tensor) -> Tensor:
    """(C,) mean output of every channel; channels are split evenly over the groups of inputs."""
    groups = len(inputs)
    return (rows.double().reshape(groups, -1, rows.shape[1]) @ inputs[:, :, None]).flatten()


@contextlib.contextmanager
def _with(model: QuantizedModel, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """While open, the network has these weights by module path."""
    before = {path: model.original(path).detach().clone() for path in weights}
    for path, weight in weights.items():
        model.original(path).copy_(weight)
    try:
        yield
    finally:
        for path, weight in before.items():
            model.original(path).copy_(weight)


def _moments(model: QuantizedModel, path: str, module: nn.Module, data: list[Batch], floating: Mapping[str, Tensor]) -> _Moments | None:
    """From both networks over the calibration batches; None where the layer does not run exactly once in each."""
    found: _Moments | None = None
    for inputs, _ in data:
        with _with(model, floating):
            truth = model.calls(path, inputs, floating=True, first=found is not None)  # the first batch has shown that there is one call
        seen = model.calls(path, inputs, floating=False, first=found is not None)
        if len(truth) != 1 or len(seen) != 1:
            return None
        x, z = _rows(module, truth[0][0]), _rows(module, seen[0][0])
        found = found or _Moments.of(x.shape[0], x.shape[2], x.device)
        found.add(x, z)
    if found is not None:
        found.finish()
    return found


def _rows(module: nn.Module, x: Tensor) -> Tensor:
    """(groups, samples, inputs of one output) of a layer's input, so that the layer is a matrix product."""
    x = x.float()
    if isinstance(module, nn.Linear):
        return x.reshape(1, -1, x.shape[-1])
    assert isinstance(module, nn.Conv1d | nn.Conv2d)
    x = x.unsqueeze(0) if x.ndim < module.weight.ndim else x  # inputs may come without a batch
    flat = isinstance(module, nn.Conv1d)
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        x = F.pad(x, module._reversed_padding_repeated_twice, mode="constant" if module.padding_mode == "zeros" else module.padding_mode)
        padding = (0,) * (1 if flat else 2)
    else:
        padding = module.padding

    def square(values: tuple[int, ...], other: int) -> tuple[int, ...]:
        return (other, *values) if flat else values

    columns = F.unfold(
        x.unsqueeze(2) if flat else x,
        square(module.kernel_size, 1), square(module.dilation, 1), square(padding, 0), square(module.stride, 1),
    )  # fmt: skip
    n, size, positions = columns.shape
    groups = module.groups
    return columns.reshape(n, groups, size // groups, positions).permute(1, 0, 3, 2).reshape(groups, n * positions, size // groups)


def _rounded(weight: Tensor, quantizer: Quantizer, number: NumberFormat, moments: _Moments, centred: bool) -> Tensor:
    """The weight on its levels; all groups at once, (groups, outputs, inputs)."""
    groups, size = moments.z.shape
    w = weight.detach().double().reshape(groups, -1, size)
    h, cross = moments.zz.double(), moments.xz.double()
    if centred:  # the mean error is taken away afterwards
        x, z = moments.x.double(), moments.z.double()
        h, cross = h - z[:, :, None] * z[:, None, :], cross - x[:, :, None] * z[:, None, :]
    mean = h.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)
    damping = DAMPING * mean[:, None, None] * torch.eye(size, dtype=h.dtype, device=h.device)
    h = h + damping
    target = torch.linalg.solve(h, (w @ (cross + damping)).mT).mT

    def nearest(column: Tensor) -> Tensor:  # (groups, outputs)
        shaped = column.reshape(-1, *(1,) * (weight.ndim - 1)).to(weight.dtype)
        return quantizer.quantize(shaped, number).reshape(column.shape).double()

    found = _descend(_spread(target, h, nearest), target, h, nearest)
    for _ in range(REFITS):
        smoothed = found @ h
        factors = quantizer.refit((smoothed * target).sum(2).flatten(), (smoothed * found).sum(2).flatten())
        found = _descend(found * factors.to(found.dtype).reshape(groups, -1, 1), target, h, nearest)
    return quantizer.quantize(found.reshape(weight.shape).to(weight.dtype), number)


def _spread(target: Tensor, h: Tensor, nearest: Callable[[Tensor], Tensor]) -> Tensor:
    """GPTQ: columns in order of falling curvature, each one's error spread over those to come."""
    order = h.diagonal(dim1=1, dim2=2).sum(0).argsort(descending=True)
    inverse = torch.linalg.inv(h[:, order][:, :, order])
    upper = torch.linalg.cholesky((inverse + inverse.mT) / 2, upper=True)
    left, found = target[:, :, order].clone(), torch.empty_like(target)
    for k in range(h.shape[1]):
        found[:, :, k] = nearest(left[:, :, k])
        error = (left[:, :, k] - found[:, :, k]) / upper[:, k, k, None]
        left[:, :, k:] -= error[:, :, None] * upper[:, None, k, k:]
    return found[:, :, order.argsort()]


def _descend(start: Tensor, target: Tensor, h: Tensor, nearest: Callable[[Tensor], Tensor]) -> Tensor:
    """Coordinate descent over the levels until nothing moves."""
    found, slope = start.clone(), (start - target) @ h
    for _ in range(SWEEPS):
        moved = False
        for k in range(h.shape[1]):
            change = nearest(found[:, :, k] - slope[:, :, k] / h[:, k, k, None]) - found[:, :, k]
            if change.any():
                moved = True
                slope += change[:, :, None] * h[:, None, k]
                found[:, :, k] += change
        if not moved:
            break
    return found
