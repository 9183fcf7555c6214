"""The quantisers of ADQ (arXiv 2510.19760): adaptive weight codebooks, and non-uniform thresholds on activations.

A non-uniform codebook needs a table look-up on the device; an accelerator's file says whether it has one. Indices have b bits, the
codes behind them 8 (:func:`code_bits`), and :mod:`hwdse.codebook_costs` charges both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .base import MIN_BITS, Quantizer, check_bits
from .uniform import LearntRange

_NONUNIFORM = 8  # widest threshold set; 255 thresholds follow any distribution
_LLOYD = 30  # full-batch adaptation steps at calibration, at most


class _StraightThrough(torch.autograd.Function):
    """The second argument forward, the identity to the first backward."""

    @staticmethod
    def forward(ctx: object, x: Tensor, q: Tensor) -> Tensor:
        return q

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class Codebook(Quantizer):
    """Weights: nearest of 2^b - 1 codes, zero among them; codes follow the weights by exponential moving averages.

    Initialisation: positive and negative weights apart, ``m = 2^(b-1) - 1`` codes a side at the quantiles ``(j - 1/2) / m``.
    Adaptation: ``n_k <- d n_k + (1-d) |k|``, ``m_k <- d m_k + (1-d) sum of the weights at k``, ``c_k = m_k / n_k``; zero stays zero; a code
    that nothing uses is put where the error is largest.

    Args:
        decay: d.
    """

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self._books: dict[int, _Book] = {}  # by width, so that a probe at another width forgets nothing
        self._adapted: int | None = None

    def get_extra_state(self) -> dict[str, list[Tensor]]:
        """Codes, counts and masses by width, for checkpoints."""
        return {str(bits): [book.codes, book.count, book.mass] for bits, book in self._books.items()}

    def set_extra_state(self, state: dict[str, list[Tensor]]) -> None:
        """The inverse of :meth:`get_extra_state`."""
        self._books = {int(bits): _Book(*parts) for bits, parts in state.items()}

    def codes(self, bits: int) -> Tensor:
        """(2^b - 1,) the codes at a width, ascending."""
        return self._books[bits].codes

    def calibrate(self, sample: Tensor, bits: int) -> None:
        """Quantile initialisation on the weight itself, then full steps of adaptation (Lloyd's) until the error settles.

        Quantiles leave the tails of wide codebooks without codes; an even grid is tried too, and the smaller error kept (ours).
        """
        check_bits(bits)
        with torch.no_grad():
            flat = sample.detach().float().flatten()
            self._books[bits] = min((_settled(codes, flat) for codes in _first_codes(flat, bits)), key=lambda book: book.error(flat))

    def adapt(self, x: Tensor, bits: int) -> None:
        """One step of the moving averages on the current weight; at a width just changed to, the codebook is made anew."""
        with torch.no_grad():
            if bits != self._adapted or bits not in self._books:
                self.calibrate(x, bits)
                self._adapted = bits
                return
            flat = x.detach().float().flatten()
            book = self._books[bits]
            count, mass = book.assigned(flat)
            book.count = self.decay * book.count + (1 - self.decay) * count
            book.mass = self.decay * book.mass + (1 - self.decay) * mass
            book.update(flat)

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        """Nearest code; a codebook that the width lacks is made from ``x``."""
        check_bits(bits)
        if bits not in self._books:
            self.calibrate(x, bits)
        book = self._books[bits]
        q = book.stored(bits)[book.nearest(x.detach().float())].to(x.dtype)
        result: Tensor = _StraightThrough.apply(x, q)  # type: ignore[no-untyped-call]  # torch's stub
        return result


def code_bits(bits: int) -> int:
    """Width of the codes behind indices of ``bits``: 8, or the index's own where that is wider (ours: the paper leaves it open)."""
    return max(8, bits)


@dataclass
class _Book:
    """Codes of one width, with the moving averages behind them."""

    codes: Tensor
    count: Tensor
    mass: Tensor

    def nearest(self, x: Tensor) -> Tensor:
        """Index of the nearest code."""
        return torch.bucketize(x, (self.codes[1:] + self.codes[:-1]) / 2)

    def stored(self, bits: int) -> Tensor:
        """The codes as a device holds them: integers of :func:`code_bits` bits, symmetric, with one scale."""
        steps = 2 ** (code_bits(bits) - 1) - 1
        scale = self.codes.abs().max().clamp_min(1e-12) / steps
        stored: Tensor = torch.round(self.codes / scale) * scale
        return stored

    def assigned(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Number of weights at each code, and their sum."""
        nearest = self.nearest(flat)
        mass = torch.zeros_like(self.codes).scatter_add_(0, nearest, flat)
        return torch.bincount(nearest, minlength=len(self.codes)).float(), mass

    def error(self, flat: Tensor) -> float:
        """Mean squared distance to the nearest code."""
        return float((flat - self.codes[self.nearest(flat)]).pow(2).mean()) if flat.numel() else 0.0

    def update(self, flat: Tensor) -> None:
        """Codes from the averages; dead codes (fewer than 1e-3 weights) move to the largest errors; zero stays zero."""
        zero = int((self.codes == 0).nonzero()[0])
        alive = self.count > 1e-3
        codes = torch.where(alive, self.mass / self.count.clamp_min(1e-12), self.codes)
        codes[zero] = 0.0
        dead = (~alive).nonzero().flatten()
        dead = dead[dead != zero]
        if len(dead):
            error = (flat - self.codes[self.nearest(flat)]).abs()
            worst = torch.topk(error, min(len(dead), flat.numel())).indices
            codes[dead[: len(worst)]] = flat[worst]
            self.count[dead], self.mass[dead] = 1.0, codes[dead]
        order = codes.argsort()
        self.codes, self.count, self.mass = codes[order], self.count[order], self.mass[order]


def _first_codes(flat: Tensor, bits: int) -> list[Tensor]:
    """Two starts, each of 2^b - 1 ascending codes with zero in the middle: quantiles of each side, and an even grid."""
    side = 2 ** (bits - 1) - 1
    at = (torch.arange(side, device=flat.device) + 0.5) / side
    zero = torch.zeros(1, device=flat.device)
    halves, grid = [], []
    for part in (flat[flat < 0], flat[flat > 0]):
        empty = not part.numel()
        halves.append(torch.zeros(side, device=flat.device) if empty else _quantiles(part, at))
        edge = zero[0] if empty else part[part.abs().argmax()]
        grid.append(edge * (torch.arange(side, device=flat.device) + 1) / side)
    return [torch.cat([halves[0], zero, halves[1]]), torch.cat([grid[0].flip(0), zero, grid[1]])]


def _settled(codes: Tensor, flat: Tensor) -> _Book:
    """A codebook after Lloyd's steps; counts and masses are those of the last assignment, or the first average would lose the codes."""
    book = _Book(codes, torch.zeros_like(codes), torch.zeros_like(codes))
    for _ in range(_LLOYD):
        before = book.codes
        book.count, book.mass = book.assigned(flat)
        book.update(flat)
        if torch.equal(book.codes, before):
            break
    book.count, book.mass = book.assigned(flat)
    return book


def _quantiles(values: Tensor, at: Tensor) -> Tensor:
    """Quantiles by linear interpolation; torch.quantile refuses more than 2^24 elements."""
    ordered = values.sort().values
    position = at * (len(ordered) - 1)
    low = position.floor().long()
    high = (low + 1).clamp_max(len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


class _N2UQ(torch.autograd.Function):
    """Thresholding forward; generalised straight-through backward: the piecewise linear function through the knots."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, start: Tensor, a: Tensor) -> Tensor:
        n = len(a)
        thresholds = start + torch.cumsum(a, 0) - a / 2  # T_1 = start + a_1/2, T_{i+1} = T_i + (a_i + a_{i+1})/2
        ctx.save_for_backward(x, start, a)
        return torch.bucketize(x, thresholds).to(x.dtype) * (2.0 / n)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, start, a = ctx.saved_tensors  # type: ignore[attr-defined]  # set in forward
        work = torch.promote_types(x.dtype, torch.float32)  # sums over many elements need more than bfloat16
        x, start, a, grad, n = x.to(work), start.to(work), a.to(work), grads[0].to(work), len(a)
        step = 2.0 / n
        knots = start + torch.cumsum(a, 0)
        segment = torch.bucketize(x, knots)  # 0-based; n above the last knot
        inside = (x > start) & (segment < n)
        at = segment.clamp_max(n - 1)
        slope = torch.where(inside, step / a[at], torch.zeros_like(x))
        # h(x) = i D + D (x - k_i) / a_{i+1}: every earlier width and the start shift the segment, its own width also stretches it
        shift = -(grad * slope)
        per_segment = torch.zeros_like(a).scatter_add_(0, at.flatten(), shift.flatten())
        left_knot = torch.where(at > 0, knots[(at - 1).clamp_min(0)], start)
        stretch = torch.where(inside, -grad * step * (x - left_knot) / a[at] ** 2, torch.zeros_like(x))
        own = torch.zeros_like(a).scatter_add_(0, at.flatten(), stretch.flatten())
        later = per_segment.flip(0).cumsum(0).flip(0)  # sum over this segment and all later ones
        return (grad * slope).to(grads[0].dtype), shift.sum().float(), (own + later - per_segment).float()


class N2UQ(Quantizer):
    """Activations: learnt thresholds, uniform levels. Liu et al., "Nonuniform-to-Uniform Quantization", arXiv 2111.14826.

    With ``n = 2^b - 1``, ``D = 2/n``: thresholds from a learnt ``start`` and widths ``a_1 .. a_n`` (started at D, kept >= 1e-3), output
    ``i D``, on the input divided by half its calibrated range (ours: the paper's inputs are normalised already). Every bit-width up
    to 8 has thresholds of its own, so that a change of width and back forgets nothing. Above 8 bits, and for inputs that take
    negative values, which have no non-negative start, :class:`~hwdse.quantizers.uniform.LearntRange` is used (ours).
    """

    def __init__(self) -> None:
        super().__init__()
        self.clip = LearntRange()  # finds sign and range
        self.start = nn.Parameter(torch.zeros(()))
        self.widths = nn.ParameterDict({str(b): nn.Parameter(torch.empty(2**b - 1)) for b in range(MIN_BITS, _NONUNIFORM + 1)})
        self._reset()

    def _reset(self) -> None:
        with torch.no_grad():
            self.start.zero_()
            for widths in self.widths.values():
                widths.fill_(2.0 / len(widths))

    def calibrate(self, sample: Tensor, bits: int) -> None:
        """Finds the range and starts at uniform thresholds."""
        self.clip.calibrate(sample, bits)
        self._reset()

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        """See the class's formula."""
        check_bits(bits)
        if self.clip.is_signed or bits > _NONUNIFORM:
            return self.clip.quantize(x, bits)
        half = (self.clip.range.abs().clamp_min(1e-8) / 2).to(x.dtype)
        out: Tensor = _N2UQ.apply(x / half, self.start, self.widths[str(bits)].clamp_min(1e-3))  # type: ignore[no-untyped-call]  # torch's stub
        return out * half
