"""The quantisers of ADQ (arXiv 2510.19760): adaptive weight codebooks, and non-uniform thresholds on activations.

A non-uniform codebook needs a table look-up on the device: BitOPs at b bits is then an approximation, and an accelerator's file says
whether codebooks are supported.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import Quantizer, check_bits
from .uniform import LearntRange

_LLOYD = 12  # full-batch adaptation steps at calibration; the error had settled by then on every layer tried


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
        self.register_buffer("codes", torch.zeros(1))
        self.register_buffer("count", torch.zeros(1))
        self.register_buffer("mass", torch.zeros(1))
        self.codes: Tensor
        self.count: Tensor
        self.mass: Tensor
        self._weight: Tensor | None = None

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *args: object) -> None:
        for name in ("codes", "count", "mass"):  # their length depends on the width
            if prefix + name in state:
                setattr(self, name, torch.zeros_like(state[prefix + name]))
        super()._load_from_state_dict(state, prefix, *args)  # type: ignore[arg-type]  # passed on unchanged

    def calibrate(self, sample: Tensor, bits: int) -> None:
        """Quantile initialisation on the weight itself, then a few full steps of adaptation (Lloyd's)."""
        check_bits(bits)
        with torch.no_grad():
            flat = sample.detach().float().flatten()
            side = 2 ** (bits - 1) - 1
            at = (torch.arange(side, device=flat.device) + 0.5) / side
            halves = []
            for part in (flat[flat < 0], flat[flat > 0]):
                halves.append(_quantiles(part, at) if part.numel() else torch.zeros(side, device=flat.device))
            self.codes = torch.cat([halves[0], torch.zeros(1, device=flat.device), halves[1]]).sort().values
            for _ in range(_LLOYD):
                self.count, self.mass = self._assigned(flat)
                self._update(flat)
            self.count, self.mass = self._assigned(flat)
            self._weight = sample.detach()  # re-made from it when the width changes

    def _assigned(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Number of weights at each code, and their sum."""
        nearest = self._nearest(flat)
        size = len(self.codes)
        mass = torch.zeros(size, device=flat.device).scatter_add_(0, nearest, flat)
        return torch.bincount(nearest, minlength=size).float(), mass

    def _nearest(self, x: Tensor) -> Tensor:
        return torch.bucketize(x, (self.codes[1:] + self.codes[:-1]) / 2)

    def _update(self, flat: Tensor) -> None:
        """Codes from the averages; dead codes (fewer than 1e-3 weights) move to the largest errors; zero stays zero."""
        zero = int((self.codes == 0).nonzero()[0]) if bool((self.codes == 0).any()) else len(self.codes) // 2
        alive = self.count > 1e-3
        codes = torch.where(alive, self.mass / self.count.clamp_min(1e-12), self.codes)
        codes[zero] = 0.0
        dead = (~alive).nonzero().flatten()
        dead = dead[dead != zero]
        if len(dead):
            error = (flat - self.codes[self._nearest(flat)]).abs()
            worst = torch.topk(error, min(len(dead), flat.numel())).indices
            codes[dead[: len(worst)]] = flat[worst]
            self.count[dead], self.mass[dead] = 1.0, codes[dead]
        order = codes.argsort()
        self.codes, self.count, self.mass = codes[order], self.count[order], self.mass[order]

    def adapt(self, x: Tensor, bits: int) -> None:
        """One step of the moving averages on the current weight."""
        with torch.no_grad():
            if len(self.codes) != 2**bits - 1:
                self.calibrate(x, bits)
                return
            flat = x.detach().float().flatten()
            count, mass = self._assigned(flat)
            self.count = self.decay * self.count + (1 - self.decay) * count
            self.mass = self.decay * self.mass + (1 - self.decay) * mass
            self._update(flat)

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        """Nearest code; the codebook is made anew where the width has changed."""
        check_bits(bits)
        if len(self.codes) != 2**bits - 1:
            self.calibrate(x, bits)
        q = self.codes[self._nearest(x.detach().float())].to(x.dtype)
        result: Tensor = _StraightThrough.apply(x, q)  # type: ignore[no-untyped-call]  # torch's stub
        return result


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
        n, grad = len(a), grads[0]
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
        return grad * slope, shift.sum(), own + later - per_segment


class N2UQ(Quantizer):
    """Activations: learnt thresholds, uniform levels. Liu et al., "Nonuniform-to-Uniform Quantization", arXiv 2111.14826.

    With ``n = 2^b - 1``, ``D = 2/n``: thresholds from a learnt ``start`` and widths ``a_1 .. a_n`` (started at D, kept >= 1e-3), output ``i D``,
    on the input divided by half its calibrated range (ours: the paper's inputs are normalised already). Inputs that take
    negative values have no non-negative start; they use :class:`~hwdse.quantizers.uniform.LearntRange` (ours).
    """

    def __init__(self) -> None:
        super().__init__()
        self.half = LearntRange()  # finds sign and range; quantises signed inputs itself
        self.start = nn.Parameter(torch.zeros(()))
        self.widths = nn.Parameter(torch.full((3,), 2.0 / 3))

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *args: object) -> None:
        if prefix + "widths" in state:  # its length depends on the width
            self.widths.data = torch.zeros_like(state[prefix + "widths"])
        super()._load_from_state_dict(state, prefix, *args)  # type: ignore[arg-type]  # passed on unchanged

    def calibrate(self, sample: Tensor, bits: int) -> None:
        """Finds the range and starts at uniform thresholds."""
        self.half.calibrate(sample, bits)
        self._reset(bits)

    def _reset(self, bits: int) -> None:
        n = 2**bits - 1
        with torch.no_grad():
            self.start.zero_()
            self.widths.data = torch.full((n,), 2.0 / n, device=self.widths.device)
            self.widths.grad = None

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        """See the class's formula."""
        check_bits(bits)
        if self.half._is_signed:
            return self.half.quantize(x, bits)
        if len(self.widths) != 2**bits - 1:
            self._reset(bits)
        half = (self.half.range.abs().clamp_min(1e-8) / 2).to(x.dtype)
        out: Tensor = _N2UQ.apply(x / half, self.start, self.widths.clamp_min(1e-3))  # type: ignore[no-untyped-call]  # torch's stub
        return out * half
